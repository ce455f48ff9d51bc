"""What every backend computes: casts lowered to plain numbers, and the frozen random-counter layout.

Two questions are settled here, before any kernel runs:

1. *How to round*: a `Cast` becomes a named tuple of numbers whose class says the algorithm and whose
   dtype says the word it works in.
2. *How wide to compute* before rounding, so that each result is the rounding of the exact real one. The
   answer comes from the `Extent` of the operands: the significand bits and exponents they can have.

    counters   which random bits an operation draws, and where
    extents    what the values of a format, products and sums of them can be
    lowered    the named tuples: one class for each algorithm, and for each layer around one
    rounders   question 1: the algorithm, the word and the layers of a cast
    lowering   question 2: conversions, products, sums and quotients, each rounded once
    summation  a matrix product: the two questions for each of its roundings
    codes      the bit layout of a format

Each imports from those above it. `cpu/rounding/` computes what the named tuples say.
"""

from emunum.kernels.contract.codes import CodeLayout, code_dtype, lower_codes
from emunum.kernels.contract.counters import LANES, RESULT_BLOCK, Operation, draw_bits, drop_bits
from emunum.kernels.contract.extents import Extent, slices_of
from emunum.kernels.contract.lowered import (
    LAYERS,
    RANDOM,
    BitsNearest,
    Counted,
    Event,
    Flushed,
    Lowered,
    MagicClamped,
    MagicNearest,
    MagicScaled,
    OffsetDeterministic,
    OffsetLots,
    OffsetStochastic,
    OneZero,
    Ranged,
    TwoSum,
    Unrounded,
    Watched,
    WordDeterministic,
    WordStochastic,
    Wrapped,
    ZeroDown,
)
from emunum.kernels.contract.lowering import (
    counted,
    lower_conversion,
    lower_product,
    lower_quotient,
    lower_sum,
    require_arithmetic,
    watched,
)
from emunum.kernels.contract.summation import Summation, lower_summation

__all__ = [
    "LANES",
    "LAYERS",
    "RANDOM",
    "RESULT_BLOCK",
    "BitsNearest",
    "CodeLayout",
    "Counted",
    "Event",
    "Extent",
    "Flushed",
    "Lowered",
    "MagicClamped",
    "MagicNearest",
    "MagicScaled",
    "OffsetDeterministic",
    "OffsetLots",
    "OffsetStochastic",
    "OneZero",
    "Operation",
    "Ranged",
    "Summation",
    "TwoSum",
    "Unrounded",
    "Watched",
    "WordDeterministic",
    "WordStochastic",
    "Wrapped",
    "ZeroDown",
    "code_dtype",
    "counted",
    "draw_bits",
    "drop_bits",
    "lower_codes",
    "lower_conversion",
    "lower_product",
    "lower_quotient",
    "lower_sum",
    "lower_summation",
    "require_arithmetic",
    "slices_of",
    "watched",
]
