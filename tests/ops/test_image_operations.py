"""Sums over windows and channels, pooling, masks: bit for bit those of scalar rational arithmetic."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from inputs import cast
from numpy.testing import assert_array_equal
from oracles import assert_same
from twins import Scalars, Unrounded

from emunum.formats import Accumulator, Cast, Mode, Overflow
from emunum.kernels.random import Key
from emunum.kernels.windows import Window
from emunum.ops.arithmetic import Arithmetic, IntegerArithmetic
from emunum.ops.policy import IntegerPolicy, Policy, Role
from emunum.ops.scaling import INT8, IntegerAccumulator, Scale, Scaled, quantize_int8
from emunum.ops.strict import Guarded

F32 = np.float32
SEED = 0x0123456789ABCDEF
HALVES = Window(kernel=(2, 2), stride=(2, 2))
OVERLAPPING = Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1))
WINDOWS = [HALVES, OVERLAPPING, Window(kernel=(2, 3), stride=(1, 2), padding=(0, 1))]


def policy(mode):
    return Policy(
        name="distinct",
        product=cast("e5m4", mode),
        accumulator=Accumulator(cast=cast("e6m5", mode)),
        elementwise=cast("e6m4", mode),
        roles=dict.fromkeys(Role, cast("e4m3", mode)),
    )


@pytest.fixture(params=["nearest", "toward_zero", "stochastic"])
def both(request):
    """The arithmetic of a place, and its twin."""
    chosen = policy(request.param)
    return Arithmetic(policy=chosen, key=Key(SEED)).at(3, 1), Scalars(chosen, SEED).at(3, 1)


def images(seed, *shape):
    """Numbers of e5m6: sums of them round in e6m5."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-127, 128, shape) * 2.0 ** rng.integers(-3, 3, shape)).astype(F32)


def test_a_channel_sum_adds_samples_then_rows_then_columns(both):
    arith, twin = both
    x = images(1, 3, 4, 5, 2)
    assert_same(arith.channel_sum(x, Role.GRADIENT, 2), twin.channel_sum(x, Role.GRADIENT, 2))
    expected = twin.column_sum([[x[n, c, h, w] for c in range(4)] for n in range(3) for h in range(5)
                                for w in range(2)], Role.GRADIENT, 2)  # fmt: skip
    assert_same(arith.channel_sum(x, Role.GRADIENT, 2), expected)
    assert_same(arith.channel_sum(x[:, :, 0, 0], Role.ERROR), twin.column_sum(x[:, :, 0, 0], Role.ERROR))


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_a_window_sum_adds_its_numbers_in_index_order(both, window):
    arith, twin = both
    x = images(2, 2, 2, 5, 6)
    assert_same(
        arith.window_sum(x, window, Role.ACTIVATION, 1), twin.window_sum(x, window, Role.ACTIVATION, 1)
    )


@pytest.mark.parametrize("winners_only", [True, False])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_a_pixel_sums_what_its_windows_hand_back_in_index_order(both, window, winners_only):
    arith, twin = both
    x = images(3, 2, 2, 5, 6)
    y, winners = arith.max_pool(x, window)
    dy = images(4, *y.shape)
    winners = winners if winners_only else None
    reshaped = None if winners is None else winners.reshape(y.shape)
    expected = twin.window_scatter(dy, reshaped, window, x.shape, Role.ERROR, 1)
    assert_same(arith.window_scatter(dy, winners, window, x.shape, Role.ERROR, 1), expected)


def test_where_windows_do_not_overlap_the_way_back_rounds_nothing(both):
    arith, _ = both
    x = np.random.default_rng(5).normal(size=(2, 3, 4, 6)).astype(F32)  # in no narrow format
    y, winners = arith.max_pool(x, HALVES)
    assert np.isin(y, x).all()
    dx = arith.window_scatter(y, winners, HALVES, x.shape, Role.ERROR)
    assert_same(dx, np.where(np.isin(x, y), x, 0))


def test_max_pool_is_that_of_the_twin(both):
    arith, twin = both
    x = images(6, 2, 3, 5, 6)
    for window in WINDOWS:
        y, _ = arith.max_pool(x, window)
        assert_same(y, twin.max_pool(x, window)[0])


def test_a_mask_follows_from_place_role_and_part(both):
    arith, twin = both
    for role, part in [(Role.ACTIVATION, 0), (Role.ACTIVATION, 1), (Role.ERROR, 0)]:
        assert_array_equal(arith.keep((3, 50), 0.3, role, part), twin.keep((3, 50), 0.3, role, part))
    masks = {arith.at(place).keep((200,), 0.5, Role.ACTIVATION).tobytes() for place in range(4)}
    assert len(masks) == 4


def test_small_integers_are_summed_as_mathematics_has_it():
    arith = Arithmetic(
        policy=Policy(
            name="float32",
            product=cast("float32"),
            accumulator=Accumulator(cast=cast("float32")),
            elementwise=cast("float32"),
            roles=dict.fromkeys(Role, cast("float32")),
        ),
        key=Key(0),
    )
    twin = Unrounded()
    x = np.random.default_rng(7).integers(-50, 50, (4, 3, 9, 8)).astype(F32)
    assert_same(arith.channel_sum(x, Role.ERROR), x.sum(axis=(0, 2, 3)))
    for window in WINDOWS:
        total = arith.window_sum(x, window, Role.ERROR)
        assert_same(total, twin.window_sum(x, window, Role.ERROR))
        back = arith.window_scatter(total, None, window, x.shape, Role.ERROR)
        assert_same(back, twin.window_scatter(total, None, window, x.shape, Role.ERROR))
        # <window_sum(x), dy> = <x, its transpose(dy)>
        assert (total * total).sum() == (back * x).sum()


def test_strict_results_are_guarded_and_the_same():
    loose = Arithmetic(policy=policy("stochastic"), key=Key(1))
    strict = replace(loose, strict=True)
    x = images(8, 2, 2, 6, 6)
    guarded = strict.cast(Role.INPUT, x)
    found = []
    for arith, given in ((loose, loose.cast(Role.INPUT, x)), (strict, guarded)):
        y, winners = arith.max_pool(given, OVERLAPPING)
        found.append(
            [
                y,
                arith.channel_sum(given, Role.ERROR),
                arith.window_sum(given, OVERLAPPING, Role.ERROR),
                arith.window_scatter(y, winners, OVERLAPPING, x.shape, Role.ERROR),
                arith.rearrange(lambda x: x[:, ::-1], given),
            ]
        )
    for plain, guarded in zip(*found, strict=True):
        assert type(plain) is np.ndarray
        assert type(guarded) is Guarded
        assert_same(guarded.view(np.ndarray), plain)


# ----------------------------------------------------------------------------------------------------
# Integers with a scale
# ----------------------------------------------------------------------------------------------------


def integers(**options):
    chosen = {
        "name": "int8",
        "cast": Cast(format=INT8, mode=Mode.NEAREST_EVEN),
        "accumulator": IntegerAccumulator(),
        "scale": Scale.ABSMAX,
        "per_channel": False,
        "integer_master": False,
    }
    return IntegerArithmetic(policy=IntegerPolicy(**chosen | options), key=Key(SEED))


def scaled(seed, *shape):
    x = np.random.default_rng(seed).normal(size=shape).astype(F32)
    return quantize_int8(x, Cast(format=INT8), Key(0))


def test_integer_sums_are_those_of_the_codes():
    arith, twin, x = integers(), Unrounded(), scaled(1, 3, 2, 5, 6)
    total = arith.channel_sum(x, Role.GRADIENT)
    assert_array_equal(total.codes, x.codes.astype(int).sum(axis=(0, 2, 3)))
    assert total.scale.reshape(-1).tolist() == [float(x.scale)]
    for window in WINDOWS:
        total = arith.window_sum(x, window, Role.ACTIVATION)
        assert_array_equal(total.codes, twin.window_sum(x.codes.astype(int), window, Role.ACTIVATION))
        y, winners = arith.max_pool(x, window)
        best, places = twin.max_pool(x.codes.astype(float), window)
        assert_array_equal(y.codes, best)
        assert y.codes.dtype == np.int8
        assert float(y.scale) == float(total.scale) == float(x.scale)
        dy = scaled(2, *y.shape)
        for who, taken in ((None, None), (winners, places)):
            dx = arith.window_scatter(dy, who, window, x.shape, Role.ERROR)
            expected = twin.window_scatter(dy.codes.astype(int), taken, window, x.shape, Role.ERROR)
            assert_array_equal(dx.codes, expected)
            assert float(dx.scale) == float(dy.scale)


def test_integer_sums_leave_a_narrow_accumulator_and_are_counted():
    accumulator = IntegerAccumulator(bits=9, overflow=Overflow.SATURATE)
    arith = integers(accumulator=accumulator)
    x = Scaled(codes=np.full((5, 1, 2, 2), 127, np.int8), scale=np.asarray(0.5))
    assert arith.channel_sum(x, Role.GRADIENT).codes.tolist() == [255]
    assert arith.overflows["gradient"] == 18  # 127, 254, and then every sum of twenty


def test_float_sums_beside_integers_are_those_of_float32():
    arith = integers()
    x = np.random.default_rng(3).normal(size=(4, 3, 2, 5)).astype(F32)
    total = arith.channel_sum(x, Role.GRADIENT)
    expected = [0.0] * 3
    for c in range(3):
        for v in x[:, c].reshape(-1).tolist():
            expected[c] = float(F32(Fraction(expected[c]) + Fraction(v)))
    assert_same(total, expected)


def test_numbers_of_several_scales_are_refused_where_they_would_be_compared():
    rows = Scaled(codes=np.ones((2, 1, 2, 2), np.int8), scale=np.ones((2, 1, 1, 1)))
    with pytest.raises(ValueError, match="several scales"):
        integers().max_pool(rows, HALVES)
