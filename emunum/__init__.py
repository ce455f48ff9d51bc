"""Software-emulated numerics: linear algebra and training in any small float format, bit for bit.

    >>> import emunum
    >>> emunum.quantize([0.3, 500.0], "e4m3").tolist()
    [0.3125, 448.0]

Importing emunum loads neither Numba nor scikit-learn: what needs them loads them when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from emunum.formats import Accumulator, Cast, Format, Mode

if TYPE_CHECKING:
    from emunum.formats.blocks import BlockFormat
    from emunum.kernels.cpu.threads import get_threads, set_threads
    from emunum.ops.arrays import (
        decode,
        dot,
        encode,
        from_ml_dtypes,
        matmul,
        matmul_error,
        quantize,
        sum,
        to_ml_dtypes,
    )
    from emunum.ops.block_products import matmul_blocks
    from emunum.ops.blocks import Blocks, dequantize_blocks, quantize_blocks
    from emunum.ops.integers import matmul_int8, quantize_int8

__version__ = "0.1.0"

_HOME = {
    "BlockFormat": "emunum.formats.blocks",
    "Blocks": "emunum.ops.blocks",
    "decode": "emunum.ops.arrays",
    "dequantize_blocks": "emunum.ops.blocks",
    "dot": "emunum.ops.arrays",
    "encode": "emunum.ops.arrays",
    "from_ml_dtypes": "emunum.ops.arrays",
    "get_threads": "emunum.kernels.cpu.threads",
    "matmul": "emunum.ops.arrays",
    "matmul_blocks": "emunum.ops.block_products",
    "matmul_error": "emunum.ops.arrays",
    "matmul_int8": "emunum.ops.integers",
    "quantize": "emunum.ops.arrays",
    "quantize_blocks": "emunum.ops.blocks",
    "quantize_int8": "emunum.ops.integers",
    "set_threads": "emunum.kernels.cpu.threads",
    "sum": "emunum.ops.arrays",
    "to_ml_dtypes": "emunum.ops.arrays",
}

__all__ = [
    "Accumulator",
    "BlockFormat",
    "Blocks",
    "Cast",
    "Format",
    "Mode",
    "decode",
    "dequantize_blocks",
    "dot",
    "encode",
    "from_ml_dtypes",
    "get_threads",
    "matmul",
    "matmul_blocks",
    "matmul_error",
    "matmul_int8",
    "quantize",
    "quantize_blocks",
    "quantize_int8",
    "set_threads",
    "sum",
    "to_ml_dtypes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'emunum' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
