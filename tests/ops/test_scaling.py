"""int8 with a scale: q = clip(round(x / s), -127, 127) of the exact quotient, and s by its definition."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from inputs import F32, MODES
from numpy.testing import assert_array_equal
from oracles import element_draws

from emunum.formats import Cast, Format, Mode, Overflow
from emunum.formats.exact import round_exact
from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.ops.scaling import INT8, IntegerAccumulator, Scale, Scaled, matmul_int8, quantize_int8

RESCALE = 11  # paper/numerics.md, section 8
WIDE = Format.from_name("q24.0")
SCALES = tuple(Scale)


def _to(mode: Mode, random_bits: int = 16) -> Cast:
    return Cast(format=INT8, mode=mode, random_bits=random_bits)


def _draws(size: int, to: Cast, key: int) -> list[int]:
    if not to.stochastic:
        return [0] * size
    as_a = Cast(format=INT8, mode=Mode.STOCHASTIC, random_bits=to.random_bits)  # all variants share a layout
    return [int(draw) for draw in element_draws(size, as_a, key, RESCALE)]


def _by_definition(quotients: list[Fraction], to: Cast, key: int) -> list[int]:
    """Each exact quotient rounded once to an integer, then cut to -127..127."""
    wide = Cast(format=WIDE, mode=to.mode, random_bits=to.random_bits)
    draws = _draws(len(quotients), to, key)
    rounded = [round_exact(x, wide, draw) for x, draw in zip(quotients, draws, strict=True)]
    return [int(min(max(x, -127), 127)) for x in rounded]


def _exact(x: Scaled) -> list[Fraction]:
    scales = np.broadcast_to(x.scale, x.shape).reshape(-1).tolist()
    return [Fraction(q) * Fraction(s) for q, s in zip(x.codes.reshape(-1).tolist(), scales, strict=True)]


def _scale_by_definition(largest: Fraction, scale: Scale) -> Fraction:
    if largest == 0:
        return Fraction(1)
    if scale is Scale.ABSMAX:
        return Fraction(round_exact(largest / 127, Cast(format=Format.from_name("float32"))))
    exponent = -200
    while Fraction(2) ** exponent * 127 < largest:
        exponent += 1
    return Fraction(2) ** exponent


def _near_ties(s: float, dtype: type, count: int = 60) -> np.ndarray:
    """Numbers at and beside (n + 1/2) s, the largest of them 127 s."""
    rng = np.random.default_rng(3)
    middle = (rng.integers(-127, 127, count) + 0.5) * s
    x = np.concatenate([middle, rng.uniform(-127, 127, 40) * s, [0.0, -0.0, 127 * s]]).astype(dtype)
    beside = [np.nextafter(x, dtype(np.inf)), np.nextafter(x, dtype(-np.inf))]
    return np.clip(np.concatenate([x, *beside]), -127 * s, 127 * s).astype(dtype)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_are_the_exact_quotients_rounded_once(dtype: type, mode: Mode, scale: Scale) -> None:
    for s, random_bits in [(1.0, 16), (0.1, 5), (float(F32(3e-5)), 24)]:
        to = _to(mode, random_bits)
        x = _near_ties(s, dtype)
        q = quantize_int8(x, to, Key(9), scale=scale)
        quotients = [Fraction(v) / Fraction(float(q.scale)) for v in x.tolist()]
        assert q.codes.dtype == np.int8
        assert_array_equal(q.codes, _by_definition(quotients, to, 9))


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_requantisation_is_one_rounding_of_the_integer_times_its_scale(mode: Mode) -> None:
    rng = np.random.default_rng(4)
    to = _to(mode, 13)
    for own in (np.float64(F32(0.0173)) * np.float64(F32(0.00411)), np.float64(2.0**-9)):
        codes = np.concatenate([rng.integers(-(2**31), 2**31, 80), rng.integers(-300, 300, 80)])
        for part in (codes[:80].astype(np.int32), codes[80:].astype(np.int32)):
            x = Scaled(codes=part, scale=np.asarray(own))
            for scale in SCALES:
                q = quantize_int8(x, to, Key(7), scale=scale)
                s = Fraction(float(q.scale))
                assert_array_equal(q.codes, _by_definition([v / s for v in _exact(x)], to, 7))


def test_a_requantised_tie_goes_to_the_even_code() -> None:
    # Sums in units of 1: 254 sets s = 2, and 3, 5, 7 are 1.5, 2.5 and 3.5 of these.
    x = Scaled(codes=np.array([254, 3, 5, 7, -3, -5], np.int32), scale=np.asarray(1.0))
    q = quantize_int8(x, _to(Mode.NEAREST_EVEN), Key(0))
    assert float(q.scale) == 2.0
    assert q.codes.tolist() == [127, 2, 2, 4, -2, -2]


LARGEST = [
    1.0,
    127.0,
    math.nextafter(127.0, 128),
    math.nextafter(127.0, 0),
    254.0,
    0.3,
    127 * 2.0**-20,
    2.0**-126,
    127 * 2.0**-149,
    2.0**-142,
    float(np.finfo(F32).max),
]


def test_a_quotient_beyond_127_is_cut_on_both_sides() -> None:
    # Where s is max|x| / 127 rounded down, max|x| / s lies above 127: away from zero is 128, or -128.
    rng = np.random.default_rng(2)
    found = [
        x
        for x in rng.uniform(1, 2, 50).astype(F32)
        if Fraction(float(F32(x / np.float64(127)))) * 127 < float(x)
    ]
    assert len(found) > 10
    for x in found:
        pair = np.array([x, -x], F32)
        for mode in (Mode.UP, Mode.DOWN):
            q = quantize_int8(pair, _to(mode), Key(0))
            assert abs(Fraction(float(x)) / Fraction(float(q.scale))) > 127
            assert q.codes.tolist() == [127, -127]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("largest", LARGEST)
def test_the_scale_follows_from_the_largest_magnitude(largest: float, scale: Scale) -> None:
    for dtype in (np.float32, np.float64):
        x = np.array([largest / 3, -largest, 0.0], dtype)
        q = quantize_int8(x, _to(Mode.NEAREST_EVEN), Key(0), scale=scale)
        expected = _scale_by_definition(max(abs(Fraction(v)) for v in x.tolist()), scale)
        assert Fraction(float(q.scale)) == expected
        assert q.scale.dtype == np.float64
        if scale is Scale.POWER_OF_TWO:
            assert 64 <= -q.codes[1] <= 127


def test_absmax_scales_of_random_tensors_are_rounded_once() -> None:
    rng = np.random.default_rng(8)
    for x in np.ldexp(rng.uniform(1, 2, 200), rng.integers(-40, 40, 200)).tolist():
        for value in (x, float(F32(x))):
            q = quantize_int8(np.array([value]), _to(Mode.NEAREST_EVEN), Key(0))
            assert Fraction(float(q.scale)) == _scale_by_definition(Fraction(value), Scale.ABSMAX)


@pytest.mark.parametrize("scale", [Scale.ABSMAX, Scale.POWER_OF_TWO])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (0, 4)])
def test_zeros_have_scale_one(shape: tuple[int, ...], scale: Scale) -> None:
    q = quantize_int8(np.zeros(shape, F32), _to(Mode.UP), Key(0), scale=scale)
    assert float(q.scale) == 1.0
    assert (q.shape, q.size) == (shape, math.prod(shape))
    assert not np.any(q.codes)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_every_channel_has_the_scale_and_codes_it_has_alone(axis: int, scale: Scale) -> None:
    rng = np.random.default_rng(5)
    x = (rng.normal(size=(3, 4, 5)) * 10.0 ** rng.integers(-3, 3, (3, 4, 5))).astype(F32)
    x[(slice(None),) * (axis % 3) + (1,)] = 0
    q = quantize_int8(x, _to(Mode.NEAREST_EVEN), Key(0), scale=scale, axis=axis)
    shape = [1, 1, 1]
    shape[axis] = x.shape[axis]
    assert q.scale.shape == tuple(shape)
    for n in range(x.shape[axis]):
        alone = quantize_int8(np.take(x, n, axis), _to(Mode.NEAREST_EVEN), Key(0), scale=scale)
        assert np.take(q.scale, n, axis).item() == alone.scale.item()
        assert_array_equal(np.take(q.codes, n, axis), alone.codes)


def test_draws_belong_to_places_of_the_whole_tensor() -> None:
    x = np.random.default_rng(6).normal(size=(7, 40)).astype(F32)
    for axis in (None, 0):
        to = _to(Mode.STOCHASTIC)
        q = quantize_int8(x, to, Key(3), axis=axis)
        scales = np.broadcast_to(q.scale, x.shape).reshape(-1).tolist()
        quotients = [Fraction(v) / Fraction(s) for v, s in zip(x.reshape(-1).tolist(), scales, strict=True)]
        assert_array_equal(q.codes.reshape(-1), _by_definition(quotients, to, 3))


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(strange: float) -> None:
    for axis in (None, 1):
        for dtype in (np.float32, np.float64):
            x = np.array([[1, 2], [3, strange]], dtype)
            with pytest.raises(ValueError, match="cannot hold NaN or infinities"):
                quantize_int8(x, _to(Mode.NEAREST_EVEN), Key(0), axis=axis)


def test_values_are_codes_times_scale() -> None:
    x = Scaled(codes=np.array([[127, -3], [0, 1]], np.int8), scale=np.array([[0.5], [2.0**-149]]))
    assert_array_equal(x.values(), np.array([[63.5, -1.5], [0, 2.0**-149]], F32))
    assert x.values().dtype == F32
    assert_array_equal(x.T.values(), x.values().T)
    assert_array_equal(x <= 0, [[False, True], [True, False]])
    with pytest.raises(ValueError, match="compares with 0 alone"):
        x <= 1  # noqa: B015


# ----------------------------------------------------------------------------------------------------
# Products
# ----------------------------------------------------------------------------------------------------


def _scaled(shape: tuple[int, int], seed: int, scale: object = 1.0) -> Scaled:
    codes = np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)
    return Scaled(codes=codes, scale=np.asarray(scale, np.float64))


def test_a_product_is_exact_and_has_the_product_of_the_scales() -> None:
    s_a, s_b = F32(0.013), F32(0.0007)
    rows, columns = np.array([[0.5], [2], [3]]), np.array([[1, 2, 4, 8.0]])
    for a, b in [
        (_scaled((3, 6), 1, s_a), _scaled((6, 4), 2, s_b)),
        (_scaled((3, 6), 1, rows), _scaled((6, 4), 2, columns)),
        (_scaled((3, 1), 1, rows), _scaled((1, 4), 2, s_b)),
    ]:
        y, overflows = matmul_int8(a, b, IntegerAccumulator())
        assert_array_equal(y.codes, a.codes.astype(np.int64) @ b.codes.astype(np.int64))
        assert_array_equal(y.scale, np.asarray(a.scale * b.scale))
        assert overflows == 0


def test_narrow_accumulators_saturate_or_wrap_and_say_how_often() -> None:
    a, b = _scaled((1, 2), 0), _scaled((2, 1), 0)
    a.codes[:], b.codes[:] = 10, 10
    for rule, expected in ((Overflow.SATURATE, 127), (Overflow.WRAP, 200 - 256)):
        y, overflows = matmul_int8(a, b, IntegerAccumulator(bits=8, overflow=rule))
        assert (y.codes.item(), overflows) == (expected, 1)


def test_a_scale_along_the_summed_axis_is_refused() -> None:
    flat, rows, columns = _scaled((3, 3), 1), np.ones((3, 1)), np.ones((1, 3))
    for a, b in [
        (_scaled((3, 3), 1, columns), flat),
        (_scaled((3, 3), 1, np.ones(3)), flat),
        (flat, _scaled((3, 3), 1, rows)),
        (flat, _scaled((3, 3), 1, np.ones((3, 3)))),
    ]:
        with pytest.raises(ValueError, match="cannot be taken out of the sum"):
            matmul_int8(a, b, IntegerAccumulator())


@pytest.mark.parametrize("bits", [-1, 0, 1, 33, 64])
def test_accumulators_have_2_to_32_bits(bits: int) -> None:
    with pytest.raises(ValueError, match=f"{bits} bits is out of range: int2 to int32 exist"):
        IntegerAccumulator(bits=bits)


@pytest.mark.parametrize("rule", [Overflow.IEEE, Overflow.AUTO, Overflow.PROPAGATE])
def test_integers_saturate_or_wrap(rule: Overflow) -> None:
    with pytest.raises(ValueError, match=f"{rule} is none of integers: choose saturate or wrap"):
        IntegerAccumulator(overflow=rule)


# ----------------------------------------------------------------------------------------------------
# The rescaling kernel
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_rescaling_rounds_x_times_scale_over_divisor_once(mode: Mode) -> None:
    rng = np.random.default_rng(11)
    to = Cast(format=WIDE, mode=mode, random_bits=17)
    x = rng.integers(-(2**30), 2**30, 150)
    scale = rng.integers(1, 2**24, 150).astype(float) * rng.integers(1, 2**24, 150) * 2.0**-40
    divisor = rng.integers(1, 2**24, 150) * 2.0**15
    divisor[:50] = 2.0**30  # many quotients within reach of a tie
    scale[:50] = 2.0**10 + 2.0**-37
    draws = _draws(150, to, 5)
    quotients = [
        Fraction(int(n)) * Fraction(s) / Fraction(d)
        for n, s, d in zip(x, scale.tolist(), divisor.tolist(), strict=True)
    ]
    expected = [round_exact(v, to, draw) for v, draw in zip(quotients, draws, strict=True)]
    assert_array_equal(cpu.rescale(x, scale, divisor, to, Key(5)), expected)


def test_rescaling_broadcasts_and_threads_decide_nothing(threads: None) -> None:
    x = np.random.default_rng(12).integers(-(2**20), 2**20, (300, 200))
    to = Cast(format=WIDE, mode=Mode.STOCHASTIC)
    cpu.set_threads(1)
    expected = cpu.rescale(x, np.full((1, 200), 0.37), np.full((300, 1), 3.0), to, Key(5))
    cpu.set_threads(3)
    assert expected.shape == (300, 200)
    assert_array_equal(cpu.rescale(x, np.float64(0.37), np.float64(3), to, Key(5)), expected)


# ----------------------------------------------------------------------------------------------------
# Where the definition is not met yet
# ----------------------------------------------------------------------------------------------------


def test_the_smallest_numbers_are_not_lost() -> None:
    q = quantize_int8(np.array([2.0**-149, 2.0**-145], F32), _to(Mode.NEAREST_EVEN), Key(0))
    assert q.codes.any()


def test_numbers_beyond_float32_have_a_scale_or_are_refused() -> None:
    x = np.array([1e300, 1e299])
    try:
        with np.errstate(over="ignore"):
            q = quantize_int8(x, _to(Mode.NEAREST_EVEN), Key(0))
    except ValueError:
        return
    assert np.isfinite(q.scale)


@pytest.mark.parametrize("axis", [2, -3, 5])
def test_an_axis_out_of_range_is_refused(axis: int) -> None:
    with pytest.raises(ValueError, match="axis"):
        quantize_int8(np.ones((2, 3), F32), _to(Mode.NEAREST_EVEN), Key(0), axis=axis)


def _just_beyond(scale: Scale) -> Scaled:
    """An int32 code times a 48-bit scale, just beyond where the scale changes, by less than a float64 shows.

    The product is T + e with T = M 2^k: 127 times a midpoint of float32's, or 127 times a power of two.
    """
    rng = np.random.default_rng(1)
    for _ in range(100_000):
        c = int(rng.integers(2**30, 2**31)) | 1
        m = 127 * (int(rng.integers(2**23, 2**24)) * 2 + 1) if scale is Scale.ABSMAX else 127
        k = 78 - m.bit_length()
        t = m << k
        if scale is Scale.ABSMAX and (m // 127) % 4 == 3:
            continue  # the tie would go up anyway
        s = -(-t // c)
        if 0 < s * c - t < 1 << 23 and s < 1 << 48:
            return Scaled(codes=np.array([c], np.int32), scale=np.asarray(float(s) * 2.0**-78))
    raise AssertionError("no such product")


@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_of_a_requantised_sum_is_taken_from_the_exact_one(scale: Scale) -> None:
    x = _just_beyond(scale)
    q = quantize_int8(x, _to(Mode.NEAREST_EVEN), Key(0), scale=scale)
    assert Fraction(float(q.scale)) == _scale_by_definition(_exact(x)[0], scale)
