"""Quotients and square roots rounded once: rational arithmetic, MPFR, NumPy, ml_dtypes, and a proof."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import pytest
from inputs import thinned
from oracles import DIVIDE, RESCALE, SQUARE_ROOT, assert_same

from emunum.formats import MODES, NAMED, Cast, Format
from emunum.formats.exact import decode_exact, divide_exact, round_exact, sqrt_exact
from emunum.kernels import cpu
from emunum.kernels.contract import lower_quotient
from emunum.kernels.cpu.rounding import quotient, root, round_value, scaled_quotient
from emunum.kernels.random import Key, philox4x32

gmpy2 = pytest.importorskip("gmpy2", reason="MPFR is one of the oracles")
ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is one of the oracles")

F32 = np.float32
DIRECTED = {
    "nearest_even": gmpy2.RoundToNearest,
    "toward_zero": gmpy2.RoundToZero,
    "up": gmpy2.RoundUp,
    "down": gmpy2.RoundDown,
}
EIGHT_BIT = [name for name, format in NAMED.items() if format.bits == 8 and format.signed]
ANY = [
    "float32",
    "float16",
    "bfloat16",
    "e4m3",
    "float8_e5m2fnuz",
    "e2m23",
    "e8m20",
    "e5m0",
    "bfloat16_ftz",
    "q4.4",
    "q1.15",
    "int8",
    "binary8p4se",
    "binary8p1uf",
    "binary16p9sf",
]


def values(format: Format) -> np.ndarray:
    return np.array([decode_exact(code, format) for code in range(format.code_count)], F32)


def draws(count: int, to: Cast, key: int, operation: int) -> np.ndarray:
    """R of each element of a flat array, from the layout in kernels/contract/counters.py."""
    if not to.stochastic:
        return np.zeros(count, np.int64)
    width = 16 if to.random_bits <= 16 else 32
    per_call = 128 // width
    calls: dict[int, tuple[int, ...]] = {}
    found = np.empty(count, np.int64)
    for n in range(count):
        call, index = n // (16 * per_call) * 16 + n % 16, n % (16 * per_call) // 16
        if call not in calls:
            calls[call] = philox4x32((call, 0, 0, operation), (key, 0))
        word = calls[call][index * width // 32]
        found[n] = (word >> index * width % 32) % 2**width >> width - to.random_bits
    return found


def operands(format: Format, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 pairs whose quotients lie around a format: anywhere, at midpoints, beside them, specials."""
    rng = np.random.default_rng(seed)
    m = format.mantissa_bits
    high = format.emax + 2
    exponents = rng.integers(format.emin - m - 2, high, count)
    # q is S + 1/2 quanta or S quanta; b has so few bits that q b is a float32; a is q b or next to it.
    halves = rng.integers(1 << m, 2 << m, count) * 2 + rng.integers(0, 2, count)
    q = np.ldexp(halves.astype(np.float64), exponents - m - 1)
    kept = max(1, 24 - (m + 2))
    b = np.ldexp(
        rng.integers(1 << (kept - 1), 1 << kept, count).astype(np.float64), rng.integers(-40, 20, count)
    )
    with np.errstate(over="ignore", under="ignore"):
        a = (q * b).astype(F32)
        beside = np.nextafter(a, rng.choice([-np.inf, np.inf], count).astype(F32))
    a = np.where(rng.random(count) < 0.5, a, beside)
    b = b.astype(F32)
    anywhere = rng.integers(0, 2**32, (2, count), np.uint32).view(F32)
    anywhere = np.where(np.isnan(anywhere), F32(np.nan), anywhere)
    wild = rng.random(count) < 0.1
    a, b = np.where(wild, anywhere[0], a), np.where(wild, anywhere[1], b)
    specials = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0], F32)
    a, b = a * rng.choice([-1, 1], count).astype(F32), b * rng.choice([-1, 1], count).astype(F32)
    grid = np.meshgrid(specials, specials)
    return np.concatenate([grid[0].ravel(), a]), np.concatenate([grid[1].ravel(), b])


def divided(a: np.ndarray, b: np.ndarray, to: Cast, key: int) -> list[float]:
    """The rational reference, with each element's draw."""
    of = draws(a.size, to, key, DIVIDE).tolist()
    return [divide_exact(x, y, to, r) for x, y, r in zip(a.tolist(), b.tolist(), of, strict=True)]


# ----------------------------------------------------------------------------------------------------
# Rational arithmetic
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", thinned(ANY, 4))
def test_a_quotient_is_rounded_once(name: str, mode: str) -> None:
    for overflow, bits in [("auto", 16), ("saturate", 30)]:
        to = Cast.from_names(name, mode, overflow, bits)
        a, b = operands(to.format, 250, bits)
        assert_same(cpu.divide(a, b, to, Key(4)), divided(a, b, to, 4), a, b)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ANY)
def test_a_root_is_rounded_once(name: str, mode: str) -> None:
    for overflow, bits in [("auto", 16), ("ieee", 32)]:
        to = Cast.from_names(name, mode, overflow, bits)
        # Squares of values and of midpoints, as far as a float32 holds them, and their neighbours.
        q, b = operands(to.format, 50, bits)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            x = np.square((q / b).astype(np.float64)).astype(F32)
            x = np.concatenate([x, np.nextafter(x, F32(0)), np.nextafter(x, F32(np.inf)), q[:7]])
        of = draws(x.size, to, 4, SQUARE_ROOT).tolist()
        expected = [sqrt_exact(float(v), to, r) for v, r in zip(x, of, strict=True)]
        assert_same(cpu.square_root(x, to, Key(4)), expected, x)


def all_pairs(format: Format) -> tuple[np.ndarray, np.ndarray]:
    every = values(format)
    a, b = np.meshgrid(every, every, indexing="ij")
    return a.ravel(), b.ravel()


@pytest.mark.parametrize("mode", ["nearest_even", "stochastic"])
@pytest.mark.parametrize("name", [*EIGHT_BIT, "binary8p3se", "binary8p1se", "q4.4"])
def test_all_pairs_of_codes(name: str, mode: str) -> None:
    # Quotients of numbers of at most 8 bits that a float64 cannot tell apart are equal: two of them differ
    # by 2^-16 of themselves. So each quotient, with each draw, is divided once by the reference.
    to = Cast.from_names(name, mode, random_bits=2)
    a, b = all_pairs(to.format)
    of = draws(a.size, to, 9, DIVIDE)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = a.astype(np.float64) / b
    plain = np.isfinite(q) & (q != 0) & np.isfinite(b)
    expected = np.empty(a.size)
    for n in np.flatnonzero(~plain):
        expected[n] = divide_exact(float(a[n]), float(b[n]), to, int(of[n]))
    number = np.unique(q[plain], return_inverse=True)[1] * 4 + of[plain]
    _, first, which = np.unique(number, return_index=True, return_inverse=True)
    pairs = zip(a[plain][first].tolist(), b[plain][first].tolist(), of[plain][first].tolist(), strict=True)
    expected[plain] = np.array([divide_exact(x, y, to, r) for x, y, r in pairs])[which]
    assert_same(cpu.divide(a, b, to, Key(9)), expected, a, b)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*EIGHT_BIT, "binary8p3se", "binary8p1ue", "float6_e3m2fn"])
def test_roots_of_all_codes(name: str, mode: str) -> None:
    to = Cast.from_names(name, mode, random_bits=5)
    x = values(to.format)
    of = draws(x.size, to, 2, SQUARE_ROOT).tolist()
    expected = [sqrt_exact(float(v), to, r) for v, r in zip(x, of, strict=True)]
    assert_same(cpu.square_root(x, to, Key(2)), expected, x)


# ----------------------------------------------------------------------------------------------------
# MPFR, NumPy and ml_dtypes
# ----------------------------------------------------------------------------------------------------


def mpfr_context(format: Format, mode: str) -> Any:
    """IEEE-like formats in MPFR: significands are below 1, so its exponents are one larger."""
    p = format.precision
    return gmpy2.context(
        precision=p,
        emin=format.emin - p + 2,
        emax=format.emax + 1,
        subnormalize=True,
        round=DIRECTED[mode],
    )


@pytest.mark.parametrize("mode", DIRECTED)
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e5m2", "float32", "e6m9", "e3m20"])
def test_quotients_are_mpfrs(name: str, mode: str) -> None:
    to = Cast.from_names(name, mode)
    a, b = operands(to.format, 4000, 1)
    with gmpy2.context(precision=53):
        pairs = [(gmpy2.mpfr(x), gmpy2.mpfr(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    with mpfr_context(to.format, mode):
        expected = [float(x / y) for x, y in pairs]
    assert_same(cpu.divide(a, b, to, Key(0)), expected, a, b)


@pytest.mark.parametrize("mode", DIRECTED)
@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e5m2"])
def test_roots_of_all_codes_are_mpfrs(name: str, mode: str) -> None:
    to = Cast.from_names(name, mode)
    codes = np.arange(to.format.max_code + 1)
    x = cpu.decode(codes.astype(np.uint16 if to.format.bits == 16 else np.uint8), to.format)
    with gmpy2.context(precision=53):
        exact = [gmpy2.mpfr(v) for v in x.tolist()]
    with mpfr_context(to.format, mode):
        expected = [float(gmpy2.sqrt(v)) for v in exact]
    assert_same(cpu.square_root(x, to, Key(0)), expected, x)


def test_a_million_float16_quotients_are_numpys() -> None:
    # NumPy divides in float32 and rounds again, which is innocuous: 24 >= 2 * 11 bits.
    a, b = np.random.default_rng(0).integers(0, 2**16, (2, 2**20), np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        expected = a / b
        left, right = a.astype(F32), b.astype(F32)
    assert_same(cpu.divide(left, right, Cast.from_names("float16"), Key(0)), expected, left, right)


def test_a_million_bfloat16_quotients_are_ml_dtypes() -> None:
    # Divided in float32 and rounded again: 24 >= 2 * 8 bits; among subnormals a quotient of 8-bit numbers
    # is 2^-142 away from a tie that it does not hit, and float32 has the multiples of 2^-149.
    a, b = np.random.default_rng(1).integers(0, 2**16, (2, 2**20), np.uint16).view(ml_dtypes.bfloat16)
    with np.errstate(all="ignore"):
        expected = (a / b).astype(F32)
        left, right = a.astype(F32), b.astype(F32)
    assert_same(cpu.divide(left, right, Cast.from_names("bfloat16"), Key(0)), expected, left, right)


@pytest.mark.parametrize("name", EIGHT_BIT)
def test_all_pairs_of_8_bit_codes_are_ml_dtypes(name: str) -> None:
    to = Cast.from_names(name, overflow="ieee")
    every = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, name))
    a, b = np.meshgrid(every, every, indexing="ij")
    with np.errstate(all="ignore"):
        expected = (a / b).astype(F32)
        left, right = a.astype(F32), b.astype(F32)
    assert_same(cpu.divide(left, right, to, Key(0)), expected, left, right)


def test_float32_quotients_and_roots_are_the_processors() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 2**32, (2, 2**20), np.uint32).view(F32)
    a, b = np.where(np.isnan(a), F32(np.nan), a), np.where(np.isnan(b), F32(np.nan), b)
    with np.errstate(all="ignore"):
        quotients, roots = a / b, np.sqrt(a)
    assert_same(cpu.divide(a, b, Cast.from_names("float32"), Key(0)), quotients, a, b)
    assert_same(cpu.square_root(a, Cast.from_names("float32"), Key(0)), roots, a)


# ----------------------------------------------------------------------------------------------------
# By hand
# ----------------------------------------------------------------------------------------------------

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("mode", MODES)
def test_division_by_zero_and_by_infinity(mode: str) -> None:
    a = np.array([1, -1, 1, -1, 0, 0, INF, INF, -INF, INF, 1, -1, 0, NAN, 1, INF, 0], F32)
    b = np.array([0, 0, -0.0, -0.0, 0, -0.0, INF, -INF, 2, 0, INF, INF, -3, 1, NAN, -0.0, INF], F32)
    ieee = [INF, -INF, -INF, INF, NAN, NAN, NAN, NAN, -INF, INF, 0, -0.0, -0.0, NAN, NAN, -INF, 0]
    assert_same(cpu.divide(a, b, Cast.from_names("float16", mode), Key(0)), ieee)
    # P3109: a finite number over zero is NaN, and there is no -0.
    p3109 = [NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, -INF, INF, 0, 0, 0, NAN, NAN, -INF, 0]
    assert_same(cpu.divide(a, b, Cast.from_names("binary8p4se", mode), Key(0)), p3109)
    # Without infinities 1/0 is the largest value, or NaN where overflow is not to saturate.
    top = [448, -448, -448, 448, NAN, NAN, NAN, NAN, -448, 448, 0, -0.0, -0.0, NAN, NAN, -448, 0]
    assert_same(cpu.divide(a, b, Cast.from_names("e4m3", mode), Key(0)), top)
    lost = [x if x == 0 else NAN for x in top]
    assert_same(cpu.divide(a, b, Cast.from_names("e4m3", mode, "ieee"), Key(0)), lost)


@pytest.mark.parametrize("mode", MODES)
def test_roots_of_zeros_infinities_and_negative_numbers(mode: str) -> None:
    x = np.array([0.0, -0.0, -1.0, -(2.0**-149), INF, -INF, NAN, 1.0, 4.0, 2.25], F32)
    expected = [0.0, -0.0, NAN, NAN, INF, NAN, NAN, 1.0, 2.0, 1.5]
    assert_same(cpu.square_root(x, Cast.from_names("float16", mode), Key(0)), expected)
    expected = [0.0, 0.0, NAN, NAN, 240.0, NAN, NAN, 1.0, 2.0, 1.5]
    assert_same(cpu.square_root(x, Cast.from_names("e4m3fnuz", mode), Key(0)), expected)


def test_quotients_and_roots_beside_a_midpoint_go_their_way() -> None:
    # e4m3 has 1, 1.125, 1.25: the middle 1.0625 of the first two goes to 1, one float32 ulp more to 1.125.
    to = Cast.from_names("e4m3")
    b = np.array([3, 5, 7, 2.0**-30, 2.0**30 * 3], F32)
    tie = F32(1.0625) * b
    assert (tie / b == F32(1.0625)).all()
    assert_same(cpu.divide(tie, b, to, Key(0)), np.ones(5))
    assert_same(cpu.divide(np.nextafter(tie, F32(INF)), b, to, Key(0)), np.full(5, 1.125))
    assert_same(cpu.divide(-np.nextafter(tie, F32(INF)), b, to, Key(0)), np.full(5, -1.125))
    assert_same(cpu.divide(np.nextafter(tie, F32(0)), b, to, Key(0)), np.ones(5))
    square = F32(1.0625**2)
    x = np.array([square, np.nextafter(square, F32(2)), np.nextafter(square, F32(0))])
    assert_same(cpu.square_root(x, to, Key(0)), [1, 1.125, 1])
    up, down = Cast.from_names("e4m3", "up"), Cast.from_names("e4m3", "down")
    assert_same(cpu.square_root(np.array([1, 1 + 2.0**-23], F32), up, Key(0)), [1, 1.125])
    assert_same(cpu.square_root(np.array([1, 1 - 2.0**-24], F32), down, Key(0)), [1, 0.9375])


def test_quotients_below_the_smallest_subnormal() -> None:
    # float16's is 2^-24; half of it is a tie to zero.
    a = np.array([2.0**-24, 3 * 2.0**-25, 2.0**-25, 2.0**-25 * (1 + 2.0**-23), -(2.0**-25), 2.0**-126], F32)
    one, large = np.ones(6, F32), np.full(6, 2.0**20, F32)
    to = Cast.from_names("float16")
    assert_same(cpu.divide(a, one, to, Key(0)), [2.0**-24, 2.0**-23, 0, 2.0**-24, -0.0, 0])
    assert_same(cpu.divide(a, large, to, Key(0)), [0, 0, 0, 0, -0.0, 0])
    up = Cast.from_names("float16", "up")
    assert_same(cpu.divide(a, large, up, Key(0)), [2.0**-24] * 4 + [-0.0, 2.0**-24])
    float32 = Cast.from_names("float32", "up")
    tiny = np.array([2.0**-149], F32)
    assert_same(cpu.divide(tiny, np.array([3.0e38], F32), float32, Key(0)), [2.0**-149])
    assert_same(cpu.divide(tiny, np.array([-3.0e38], F32), float32, Key(0)), [-0.0])


@pytest.mark.parametrize("name", ["q4.4", "int8"])
def test_quotients_and_roots_do_not_wrap(name: str) -> None:
    to, one = Cast.from_names(name, overflow="wrap"), np.ones(2, F32)
    with pytest.raises(ValueError, match="quotients and roots do not wrap"):
        cpu.divide(one, one, to, Key(0))
    with pytest.raises(ValueError, match="quotients and roots do not wrap"):
        cpu.square_root(one, to, Key(0))


def test_operands_are_broadcast_and_any_layout_will_do() -> None:
    to = Cast.from_names("e4m3", "stochastic")
    a = np.linspace(-3, 3, 24, dtype=F32).reshape(4, 6)
    b = np.array([1.5, 2.5, -3.5, 4.5, 5.5, 7.0], F32)
    whole = cpu.divide(a, np.broadcast_to(b, (4, 6)).copy(), to, Key(3))
    assert_same(cpu.divide(a, b, to, Key(3)), whole)
    assert_same(cpu.divide(np.asfortranarray(a), b, to, Key(3)), whole)
    assert_same(cpu.divide(a, F32(3.0) * np.ones((), F32), to, Key(3)).shape, (4, 6))
    assert cpu.divide(a[:0], b, to, Key(3)).shape == (0, 6)
    roots = cpu.square_root(np.asfortranarray(abs(a)), to, Key(3))
    assert_same(cpu.square_root(abs(a), to, Key(3)), roots)


@pytest.mark.usefixtures("threads")
def test_threads_decide_nothing() -> None:
    to = Cast.from_names("float16", "stochastic", random_bits=20)
    a, b = np.random.default_rng(3).uniform(1, 2, (2, 100_000)).astype(F32)
    found = []
    for threads in (1, 2, 3):
        cpu.set_threads(threads)
        found.append((cpu.divide(a, b, to, Key(1)), cpu.square_root(a, to, Key(1))))
    for quotients, roots in found[1:]:
        assert_same(quotients, found[0][0])
        assert_same(roots, found[0][1])


# ----------------------------------------------------------------------------------------------------
# Every draw, and what `quotient` and `root` are believed to hand to the rounder
# ----------------------------------------------------------------------------------------------------


@numba.njit
def _quotients(a: Any, b: Any, to: Any, of: Any, out: Any) -> None:
    for n in range(out.size):
        q, rest = quotient(a, b)
        out[n] = round_value(q, rest, to, of[n])


@numba.njit
def _roots(x: Any, to: Any, of: Any, out: Any) -> None:
    for n in range(out.size):
        s, rest = root(x)
        out[n] = round_value(s, rest, to, of[n])


@numba.njit
def _root_parts(x: Any, s: Any, rest: Any) -> None:
    for n in range(x.size):
        s[n], rest[n] = root(x[n])


def _threshold(exact: Fraction, to: Cast) -> list[int]:
    """Draws around the one from which |exact| is rounded up, by bisection on the rational reference."""
    low, high, below = 0, 2**to.random_bits, round_exact(exact, to, 0)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if round_exact(exact, to, middle) == below else (low, middle)
    return [r for r in range(low - 2, low + 3) if 0 <= r < 2**to.random_bits]


@pytest.mark.parametrize("mode", ["stochastic", "stochastic_b", "stochastic_c"])
@pytest.mark.parametrize(("name", "bits"), [("float32", 32), ("float16", 32), ("float32", 7), ("e4m3", 3)])
def test_the_draw_from_which_a_quotient_goes_up_is_exact(name: str, bits: int, mode: str) -> None:
    to = Cast.from_names(name, mode, random_bits=bits)
    lowered = lower_quotient(to)
    rng = np.random.default_rng(bits)
    for _ in range(40):
        a, b = (float(F32(x)) for x in rng.uniform(1, 2, 2))
        of = np.array(_threshold(Fraction(a) / Fraction(b), to), np.uint32)
        out = np.empty(of.size, F32)
        _quotients(a, b, lowered, of, out)
        assert_same(out, [divide_exact(a, b, to, r) for r in of.tolist()])


@pytest.mark.parametrize("mode", ["stochastic", "stochastic_b", "stochastic_c"])
@pytest.mark.parametrize(("name", "bits"), [("float32", 32), ("float16", 32), ("float32", 7), ("e4m3", 3)])
def test_the_draw_from_which_a_root_goes_up_is_exact(name: str, bits: int, mode: str) -> None:
    to = Cast.from_names(name, mode, random_bits=bits)
    lowered = lower_quotient(to)
    for x in np.random.default_rng(bits).uniform(1, 4, 40).astype(F32).tolist():
        wide = math.isqrt(int(Fraction(x) * 2**400))  # an approximation that lies on the right side
        of = np.array(_threshold(Fraction(2 * wide + 1, 2**201), to), np.uint32)
        out = np.empty(of.size, F32)
        _roots(x, lowered, of, out)
        assert_same(out, [sqrt_exact(x, to, r) for r in of.tolist()])


# What the rounder needs of a root. With s = fl(sqrt(x)) in [1, 2), it takes the rest in units of 2^-62
# (2^-10 ulp(s)) and uses two facts: the floor of the rest, and whether it is an integer. `root` computes
# rho = x - s^2, exactly, and returns fl(rho / 2s) for the rest t = rho / (s + sqrt(x)). As
# s + sqrt(x) = 2s + t and |t| <= 2^-53, that is t (1 + t / 2s) (1 + e) with |e| <= 2^-53: wrong by less than
# 2^-52 of itself. The rest is at most 2^9 units, so it is wrong by less than 2^-43 of a unit; where it is 0
# it is right. Hence the claim: for no x in [1, 4) of 24 bits whose root is irrational is 2^62 sqrt(x)
# within 2^-43 of an integer. (Powers of 4 scale everything, so this is every float32.) Exact roots have
# rest 0. The closest root there is, 2^-26 of a unit away, leaves a factor of 2^17.

NEEDED, FOUND = 2**43, 2**26


def _check_roots(significands: range) -> tuple[int, int]:
    """Prove the claim, and what `root` returns, for x = n 2^-23 and n 2^-22; (exact roots, closest one).

    k = floor(2^62 sqrt(x)) and r = x 2^124 - k^2. The fraction f of 2^62 sqrt(x) solves f (2k + f) = r, so
    f > r / (2k + 1), and 1 - f = (2k + 1 - r) / (2k + 1 + f) > (2k + 1 - r) / (2k + 2). `closest` is a bound
    on 1 / distance from these.
    """
    x = np.arange(significands.start, significands.stop, dtype=np.float64)
    exact, closest = 0, 1
    for scale, shift in ((2.0**-23, 101), (2.0**-22, 102)):
        s, rest = np.empty_like(x), np.empty_like(x)
        _root_parts(x * scale, s, rest)
        units = rest * 2.0**62  # exact: rest is a normal float64 or 0
        floors = np.floor(units)
        whole = (s * 2.0**52).astype(np.int64)
        integral = (floors == units).tolist()
        for n, high, low, is_integer in zip(
            significands, whole.tolist(), floors.astype(np.int64).tolist(), integral, strict=True
        ):
            k, r = gmpy2.isqrt_rem(gmpy2.mpz(n) << shift)
            assert (high << 10) + low == k, (n, shift)
            assert is_integer == (r == 0), (n, shift)
            if r == 0:
                exact += 1
            else:
                distance = r if r <= k else 2 * k + 1 - r
                closest = max(closest, int((2 * k + 2) // distance) + 1)
    return exact, closest


def test_a_root_is_far_enough_from_what_decides_its_rounding() -> None:
    rng = np.random.default_rng(0)
    starts = [2**23, 2**24 - 4096, *rng.integers(2**23, 2**24 - 512, 40).tolist()]
    for start in starts:
        _, closest = _check_roots(range(start, start + (4096 if start % 4096 == 0 else 512)))
        assert closest < NEEDED


@pytest.mark.exhaustive
def test_every_root_is_far_enough_from_what_decides_its_rounding() -> None:
    found = [_check_roots(range(at, at + 2**18)) for at in range(2**23, 2**24, 2**18)]
    # j / 2^11 for j in [2^11, 2^12): a root of 13 bits or more has a square of 25 or more.
    assert sum(exact for exact, _ in found) == 2**11
    assert max(closest for _, closest in found) < FOUND < NEEDED


def _assert_floor_roots(n: np.ndarray, shift: int) -> None:
    """float32 roots toward zero and up of n 2^-23 2^shift: r^2 <= x < (r + ulp)^2, exact in float64."""
    x = (n * 2.0 ** (shift - 23)).astype(F32)
    low = cpu.square_root(x, Cast.from_names("float32", "toward_zero"), Key(0)).astype(np.float64)
    high = cpu.square_root(x, Cast.from_names("float32", "up"), Key(0)).astype(np.float64)
    assert (low * low <= x).all()
    assert ((low + 2.0**-23) ** 2 > x).all()  # 48 bits: exact
    assert_same(high, np.where(low * low == x, low, low + 2.0**-23))
    near = cpu.square_root(x, Cast.from_names("float32"), Key(0))
    assert_same(near, np.sqrt(x))


def test_directed_roots_of_float32_bracket_the_real_one() -> None:
    n = np.random.default_rng(5).integers(2**23, 2**24, 2**18).astype(np.float64)
    _assert_floor_roots(n, 0)
    _assert_floor_roots(n, 1)


@pytest.mark.exhaustive
def test_every_directed_root_of_float32_brackets_the_real_one() -> None:
    for at in range(2**23, 2**24, 2**21):
        n = np.arange(at, at + 2**21, dtype=np.float64)
        _assert_floor_roots(n, 0)
        _assert_floor_roots(n, 1)


# ----------------------------------------------------------------------------------------------------
# Rescaling
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["int8", "q4.4", "e4m3", "float32"])
def test_rescaling_is_rounded_once(name: str, mode: str) -> None:
    to = Cast.from_names(name, mode, random_bits=8)
    rng = np.random.default_rng(7)
    count = 600
    divisor = rng.integers(1, 2**24, count).astype(np.float64)
    scale = rng.integers(2**47, 2**48, count) * 2.0**-47
    x = np.rint(rng.uniform(-300, 300, count) * divisor / scale)
    x = np.clip(x, -(2**31) + 1, 2**31 - 1)
    # Half of them n / 6 with n a multiple of 3 or beside one: wholes and halves, or close to them.
    beside = rng.integers(-500, 500, count) * 3 + rng.integers(-1, 2, count)
    ties = rng.random(count) < 0.5
    x, scale, divisor = np.where(ties, (beside, np.ones(count), np.full(count, 6.0)), (x, scale, divisor))
    of = draws(count, to, 6, RESCALE).tolist()
    expected = [
        round_exact(Fraction(v) * Fraction(s) / Fraction(d), to, r) if v else 0.0
        for v, s, d, r in zip(x.tolist(), scale.tolist(), divisor.tolist(), of, strict=True)
    ]
    assert_same(cpu.rescale(x, scale, divisor, to, Key(6)), expected, x, scale, divisor)


@numba.njit
def _rescaled(x: Any, scale: Any, divisor: Any, to: Any, of: Any, out: Any) -> None:
    for n in range(out.size):
        q, rest = scaled_quotient(x, scale, divisor)
        out[n] = round_value(q, rest, to, of[n])


@pytest.mark.parametrize("mode", ["stochastic", "stochastic_b", "stochastic_c"])
@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("int8", 16),
        ("float32", 5),
        ("float32", 32),
    ],
)
def test_the_draw_from_which_a_rescaled_number_goes_up_is_exact(name: str, bits: int, mode: str) -> None:
    # Products just above a power of two over a divisor just above it have the longest rests: those of the
    # product and of the quotient together, up to 3/2 ulp.
    to = Cast.from_names(name, mode, random_bits=bits)
    lowered = lower_quotient(to)
    rng = np.random.default_rng(1)
    for _ in range(60):
        x = int(rng.integers(2**30, 2**31))
        divisor = int(rng.integers(2**23, 2**23 + 2**19))
        scale = int((2**47 + int(rng.integers(0, 2**42))) * 2**30 / x) * 2.0**-51
        exact = Fraction(x) * Fraction(scale) / divisor
        of = np.array(_threshold(exact, to), np.uint32)
        out = np.empty(of.size, F32)
        _rescaled(float(x), scale, float(divisor), lowered, of, out)
        assert_same(out, [round_exact(exact, to, r) for r in of.tolist()])
