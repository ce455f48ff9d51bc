"""The CUDA source: one text, in the order in which its parts build on each other."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

PARTS = ("words", "philox", "rounding", "elementary", "orders", "operands", "kernels")

COMPILER_OPTIONS = ("-std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
"""Nothing contracted, nothing flushed to zero, quotients and roots as IEEE has them."""


@cache
def source() -> str:
    """Return the text of all the parts."""
    return "\n".join(files(__name__).joinpath(f"{part}.cuh").read_text(encoding="utf-8") for part in PARTS)
