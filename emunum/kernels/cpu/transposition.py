"""Transposition of float32 matrices, in squares of 16 x 16 that fit the registers of a vector unit."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from emunum.kernels.cpu.compile import compiled, widest_vectors

_SIDE = 16


@compiled
def transpose(a: Any, out: Any, first: Any) -> None:
    """out[k, i] = a[first + i, k]; both C-contiguous."""
    widest_vectors()
    terms, rows = out.shape
    whole_terms, whole_rows = terms - terms % _SIDE, rows - rows % _SIDE
    for k0 in range(0, whole_terms, _SIDE):
        for i0 in range(0, whole_rows, _SIDE):
            _transpose_square(a, first + i0, k0, out, k0, i0)
        for k in range(k0, k0 + _SIDE):
            for i in range(whole_rows, rows):
                out[k, i] = a[first + i, k]
    for k in range(whole_terms, terms):
        for i in range(rows):
            out[k, i] = a[first + i, k]


@intrinsic  # type: ignore[untyped-decorator]
def _transpose_square(
    typing_context: Any, a: Any, a_row: Any, a_column: Any, out: Any, row: Any, column: Any
) -> Any:
    """out[row + j, column + i] = a[a_row + i, a_column + j] for i, j below 16.

    Sixteen rows are loaded, and for s = 1, 2, 4, 8 the lanes of bit s of rows r and r + s change places:
    in the end lane and row have changed places in every bit, after 64 shuffles for 256 numbers.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        index = types.intp
        source, row0, column0, target, row1, column1 = (
            value if isinstance(kind, types.Array) else context.cast(builder, value, kind, index)
            for kind, value in zip(signature.args, arguments, strict=True)
        )
        rows = [
            builder.load(place, align=4)
            for place in _row_places(context, builder, signature.args[0], source, row0, column0)
        ]
        step = 1
        while step < _SIDE:
            for r in range(_SIDE):
                if not r & step:
                    upper, lower = rows[r], rows[r + step]
                    rows[r] = _shuffle(builder, upper, lower, lambda lane, s=step: lane & ~s, step)
                    rows[r + step] = _shuffle(builder, upper, lower, lambda lane, s=step: lane | s, step)
            step *= 2
        for value, place in zip(
            rows, _row_places(context, builder, signature.args[3], target, row1, column1), strict=True
        ):
            builder.store(value, place, align=4)
        return context.get_dummy_value()

    return types.void(a, a_row, a_column, out, row, column), generate


def _row_places(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> list[Any]:
    """Pointers to 16 vectors of 16: rows of an array from (row, column) on."""
    data = context.make_array(kind)(context, builder, array)
    stride, _ = cgutils.unpack_tuple(builder, data.strides)
    first = builder.gep(builder.bitcast(data.data, ir.IntType(8).as_pointer()), [builder.mul(row, stride)])
    first = builder.gep(first, [builder.mul(column, ir.Constant(column.type, 4))])
    vector = ir.VectorType(ir.FloatType(), _SIDE).as_pointer()
    return [
        builder.bitcast(builder.gep(first, [builder.mul(stride, ir.Constant(stride.type, r))]), vector)
        for r in range(_SIDE)
    ]


def _shuffle(builder: Any, upper: Any, lower: Any, lane_of: Any, step: int) -> Any:
    """Lane l takes lane lane_of(l) of the upper row, or of the lower one where bit `step` of l is set."""
    lanes = [lane_of(lane) + (_SIDE if lane & step else 0) for lane in range(_SIDE)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), _SIDE), lanes)
    return builder.shuffle_vector(upper, lower, mask)
