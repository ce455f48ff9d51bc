"""One value, rounded once: the scalar functions that every array kernel inlines.

`round_value(x, residual, to, draw)` rounds the exact real x + residual. What code it becomes is settled
by the types: the class of `to` names the algorithm, its dtype (and so x's) the width; classes that hold a
rounder add a step around it. A cast is lowered in contract/, which proves that x + residual is exact, or
that the detour through x is innocuous.

    choice      round_value, and the table from the class of a lowered cast to its algorithm
    nearest     nearest even, by magic number or on the bits
    offset      the other modes on the bits of a float32
    word        every mode, in integers: what is left, and all of float64
    layers      flushing, wrapping, bounds by sign, one zero
    error_free  sums, products, quotients and roots with what they lose
    counting    events
    operations  round(a b) and round(a + b), made of the above

One rounding, from bits to result: a float32 array holds 0.3, and e4m3 is asked for, nearest even.

1. contract/lowering.py: lower_conversion asks for a rounder of any float32. e4m3 has m = 3 stored bits and
   emin = -6, so 1.5 2^(E - m + 23) is a float32 for each E, and the cast becomes
   MagicNearest(max=448, overflow=448, floor=121 << 23, offset=20 << 23 | 0x400000, input_limit=512).
2. elementwise.py: the kernel `cast` is compiled for that type, once. For each element it calls
   limited(x, to), which cuts to +-512 and leaves 0.3 alone, and round_value(x, 0, to, 0). choice.py has put
   the code of `_round_by_magic` (nearest.py) in its place.
3. The bits of 0.3 are 0x3E99999A: sign 0, exponent field 125, E = -2. The quantum there is
   2^(E - m) = 1/32, and 0.3 is 9.6 of them.
4. The field in place is 0x3E800000, above the floor of the subnormals; with the offset it makes
   0x48C00000, the magic number 1.5 2^18 = 393216. Between 2^18 and 2^19 a float32 has steps of 1/32.
5. So 393216 + 0.3 is 393216.3125: the adder has rounded 9.6 quanta to 10. Subtracting gives 0.3125.
6. It is not above 448, its sign comes back, and 0.3125 is the value of the code 0x2A.

Rounded stochastically, the same number meets OffsetStochastic: in offset.py the tail, 0.6 of a quantum,
stands in the low 20 bits of x, the draw is added to it, and the carry decides between 9 and 10.
"""

# Importing a module enters its algorithms in the table of choice.py: all are there before a kernel compiles.
from emunum.kernels.cpu.rounding import layers, nearest, offset, word  # noqa: F401
from emunum.kernels.cpu.rounding.choice import round_value, uses_draw
from emunum.kernels.cpu.rounding.counting import counts_events, note_nan
from emunum.kernels.cpu.rounding.error_free import quotient, root, scaled_quotient, two_product, two_sum
from emunum.kernels.cpu.rounding.operations import limited, product, total, zero_like

__all__ = [
    "counts_events",
    "limited",
    "note_nan",
    "product",
    "quotient",
    "root",
    "round_value",
    "scaled_quotient",
    "total",
    "two_product",
    "two_sum",
    "uses_draw",
    "zero_like",
]
