"""Arrays on the stack of a kernel: LLVM sees that they overlap no other, and so compares no addresses."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def on_stack(typing_context: Any, dtype: Any, size: Any) -> Any:
    """Return an array of a constant size, not initialised, that lives as long as the kernel runs."""
    array, count = types.Array(dtype.dtype, 1, "C"), size.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        item, index = context.get_data_type(array.dtype), context.get_value_type(types.intp)
        room = cgutils.alloca_once(builder, ir.ArrayType(item, count))
        room.align = 64
        width = ir.Constant(index, context.get_abi_sizeof(item))
        made = context.make_array(array)(context, builder)
        context.populate_array(
            made,
            data=builder.bitcast(room, item.as_pointer()),
            shape=[ir.Constant(index, count)],
            strides=[width],
            itemsize=width,
            meminfo=None,
        )
        return made._getvalue()

    return array(dtype, size), generate
