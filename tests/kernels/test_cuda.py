"""The CUDA kernels, compiled for this computer, against the CPU's: the same bits, function by function.

The functions are those of kernels/cuda, with their sizes, strides, tiles and barriers: only the compiler, and
the device that would run them, are others. `pytest --backend host` and `--backend cuda` run every test so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from host_device import HostDevice, compiler
from inputs import F32, FIXED, FLUSHED, NEW_FAMILIES, ODD_WIDTHS, P3109, cast, values
from oracles import assert_same
from swapped import unswapped as cpu

from emunum.formats import MODES, NAMED, Accumulator, Cast, Format, parse_accumulator
from emunum.kernels import contract, cuda
from emunum.kernels.contract import Extent
from emunum.kernels.cpu.philox import philox_block
from emunum.kernels.cuda import devices
from emunum.kernels.cuda.structs import lowered_struct
from emunum.kernels.random import Key
from emunum.kernels.windows import Window

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler is installed")

KEY = Key(0x299F31D0A4093822)
RNG = np.random.default_rng
SAME = Window(kernel=(3, 3), padding=(1, 1))


@pytest.fixture(scope="module", autouse=True)
def somewhere(request: pytest.FixtureRequest) -> Iterator[None]:
    """On the GPU where the tests are run for it, else on this computer."""
    before = devices._device
    if request.config.getoption("--backend") != "cuda":
        devices.use(HostDevice())
    yield
    devices.use(before)


def _long(case: Any) -> Any:
    """A case whose kernels take long to compile: the exhaustive tests have it."""
    values = case if isinstance(case, tuple) and len(case) == 2 else (case,)
    return pytest.param(*values, marks=pytest.mark.exhaustive)


def host(x: Any) -> np.ndarray:
    assert not isinstance(x, np.ndarray)
    return np.asarray(cuda.host(x))


def normal(shape: tuple[int, ...], to: Cast, seed: int) -> np.ndarray:
    return cpu.cast(RNG(seed).normal(size=shape).astype(F32), to, KEY)


# ------------------------------------------------------------------------------------------------------------
# Elementwise
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_all_pairs_of_8_bit_numbers_are_added_multiplied_and_divided_as_on_the_cpu(
    name: str, mode: str
) -> None:
    numbers, to = values(NAMED[name]), cast(name, mode)
    a, b = np.repeat(numbers, numbers.size), np.tile(numbers, numbers.size)
    for function in ("add", "subtract", "multiply", "divide"):
        assert_same(host(getattr(cuda, function)(a, b, to, KEY)), getattr(cpu, function)(a, b, to, KEY))
    assert_same(host(cuda.square_root(numbers, to, KEY)), cpu.square_root(numbers, to, KEY))


@pytest.mark.parametrize("mode", ["nearest_even", "toward_zero", "stochastic", "stochastic_c"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float16", "bfloat16", "float32"])
def test_random_float32_are_cast_as_on_the_cpu(name: str, mode: str) -> None:
    """10^7 bit patterns in all, of every exponent, NaN and infinities too."""
    x = RNG(7).integers(0, 1 << 32, 625_000, np.uint32).view(F32)
    to = cast(name, mode)
    assert_same(host(cuda.cast(x, to, KEY)), cpu.cast(x, to, KEY))


@pytest.mark.parametrize(
    "mode",
    ["nearest_even", "down", "stochastic_b", *(_long(m) for m in ("nearest_away", "to_odd", "stochastic"))],
)
@pytest.mark.parametrize(
    "names", [ODD_WIDTHS, P3109[::4], FIXED[:3], FLUSHED[:4], _long(NEW_FAMILIES)], ids=lambda n: n[0]
)
def test_every_family_of_formats_is_rounded_as_on_the_cpu(names: tuple[str, ...], mode: str) -> None:
    x = RNG(3).integers(0, 1 << 32, 3000, np.uint32).view(F32)
    x[::2] = np.ldexp(RNG(4).normal(size=1500), RNG(5).integers(-12, 9, 1500))
    with np.errstate(invalid="ignore"):  # a signalling NaN
        wide = x.astype(np.float64)
    wide *= 1 + RNG(6).normal(size=x.size) * 2.0**-30
    for name in names:
        to = cast(name, mode)
        assert_same(host(cuda.cast(x, to, KEY)), cpu.cast(x, to, KEY))
        assert_same(host(cuda.cast(wide, to, KEY)), cpu.cast(wide, to, KEY))
        own = cpu.cast(x, to, KEY)
        assert_same(host(cuda.add(own, own[::-1], to, KEY)), cpu.add(own, own[::-1], to, KEY))


def test_fixed_point_that_wraps_a_scale_and_few_or_many_random_bits() -> None:
    x = np.ldexp(RNG(8).normal(size=2000), RNG(9).integers(-20, 20, 2000)).astype(F32)
    for to in (
        cast("q4.4", "nearest", "wrap"),
        cast("q4.4", "stochastic", "wrap"),
        cast("float8_e8m0fnu"),
        cast("e4m3", "stochastic", random_bits=1),
        cast("e4m3", "stochastic", random_bits=32),
        cast("float32", "stochastic_b", random_bits=20),
    ):
        assert_same(host(cuda.cast(x, to, KEY)), cpu.cast(x, to, KEY))


def test_operands_are_broadcast_and_moved_and_need_not_be_contiguous() -> None:
    to = cast("e5m2", "stochastic")
    a, b = normal((5, 7, 3), to, 1), normal((7, 1), to, 2)
    row = b.reshape(7, 1, 1)
    assert_same(host(cuda.add(a, b, to, KEY)), cpu.add(a, b, to, KEY))
    assert_same(host(cuda.multiply(F32(0.3), a, to, KEY)), cpu.multiply(np.asarray(F32(0.3)), a, to, KEY))
    there = cuda.resident(a)
    assert_same(
        host(cuda.subtract(there.swapaxes(0, 1), row, to, KEY)), cpu.subtract(a.swapaxes(0, 1), row, to, KEY)
    )
    assert_same(host(cuda.scaled_add(there, F32(-0.1), a, to, KEY)), cpu.scaled_add(a, F32(-0.1), a, to, KEY))
    assert_same(
        host(cuda.move(there, F32(0.1), a[::-1], to, KEY)), cpu.move(a, F32(0.1), a[::-1].copy(), to, KEY)
    )
    assert host(cuda.add(a[:0], a[:0], to, KEY)).shape == (0, 7, 3)


def test_integers_are_rescaled_as_on_the_cpu() -> None:
    to = cast("int8", "stochastic")
    x, scales = RNG(1).integers(-(1 << 30), 1 << 30, (9, 50), np.int32), RNG(2).random((9, 1)) * 2.0**-20
    divisor = scales.astype(F32).astype(np.float64)
    for args in ((x, np.float64(1), np.float64(0.37)), (x, scales, divisor), (x.astype(F32), 1.0, divisor)):
        args = tuple(np.asarray(arg) for arg in args)
        assert_same(host(cuda.rescale(*args, to, KEY)), cpu.rescale(*args, to, KEY))


def test_exp_and_log_have_the_bits_of_the_cpus() -> None:
    x = np.concatenate(
        [RNG(1).normal(size=20_000) * 300, RNG(2).integers(0, 1 << 63, 20_000).view(np.float64)]
    )
    x = np.concatenate([x, -x, [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 710.0, -745.2]])
    assert_same(host(cuda.exp(x)), cpu.exp(x))
    assert_same(host(cuda.log(x)), cpu.log(x))


def test_philox_gives_the_known_answers_and_the_cpus_words() -> None:
    """Random123's known answers, then counters and keys at random."""
    counters = np.array(
        [[0] * 4, [0xFFFFFFFF] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]], np.uint32
    )
    keys = np.array([[0] * 2, [0xFFFFFFFF] * 2, [0xA4093822, 0x299F31D0]], np.uint32)
    answers = [
        [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8],
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ]
    counters = np.concatenate([counters, RNG(1).integers(0, 1 << 32, (500, 4), np.uint32)])
    keys = np.concatenate([keys, RNG(2).integers(0, 1 << 32, (500, 2), np.uint32)])
    device = devices.current()
    out = device.empty(counters.shape, np.uint32)
    device.launch(
        "philox_each", 2, (device.asarray(counters), device.asarray(keys), out, np.uint64(len(keys)))
    )
    assert host(out)[:3].tolist() == answers
    of_cpu = np.empty_like(counters)
    for n, (counter, key) in enumerate(zip(counters, keys, strict=True)):
        philox_block(counter, key, of_cpu[n])
    assert np.array_equal(host(out), of_cpu)


def test_masks_are_the_cpus() -> None:
    for shape, rate in (((), 0.5), ((77,), 0.0), ((5, 13, 3), 0.3), ((1000,), 1 - 2.0**-32)):
        assert np.array_equal(host(cuda.keep(shape, rate, KEY)), cpu.keep(shape, rate, KEY))
    x = RNG(1).normal(size=(6, 5)).astype(F32)
    for numbers in (x, (x * 9).astype(np.int8), (x * 99).astype(np.int32), np.full((6, 5), np.nan, F32)):
        assert_same(host(cuda.select(x > 0, numbers)), cpu.select(x > 0, numbers))
    assert np.array_equal(host(cuda.select(x[:1] > 0, x)), cpu.select(x[:1] > 0, x))


@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "e2m1", "float16", "e5m2_ftz", "binary8p3ue", "q4.4", "float32"]
)
def test_codes_go_both_ways_as_on_the_cpu(name: str) -> None:
    format = Format.from_name(name)
    dtype = contract.code_dtype(format)
    codes = np.arange(min(format.code_count, 1 << 16)).astype(dtype)
    decoded = cpu.decode(codes, format)
    assert_same(host(cuda.decode(codes, format)), decoded)
    assert np.array_equal(host(cuda.encode(decoded, format)), cpu.encode(decoded, format))


def test_a_value_without_a_code_is_named() -> None:
    with pytest.raises(ValueError, match=r"0\.3\d* \(element 2\) is not a value of"):
        cuda.encode(np.array([1, 2, 0.3, 0.7], F32), NAMED["float8_e4m3fn"])


def test_extents_are_the_cpus() -> None:
    for x in (
        np.zeros(3, F32),
        normal((999,), cast("e4m3"), 1),
        np.array([np.nan, np.inf, 2.0**-149, 3], F32),
    ):
        assert cuda.measure(x) == cpu.measure(x)


# ------------------------------------------------------------------------------------------------------------
# Products
# ------------------------------------------------------------------------------------------------------------

ORDERS = ("sequential", "chunked:5", "pairwise", "kahan", "exact")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("e4m3", "nearest"),
        ("e4m3", "stochastic"),
        _long(("e5m2", "down")),
        _long(("float16", "stochastic_b")),
        _long(("e4m3fnuz", "up")),
    ],
)
def test_products_in_every_order_are_the_cpus(name: str, mode: str, order: str) -> None:
    to = cast(name, mode)
    accumulator = parse_accumulator(order, to)
    for rows, terms, columns in ((3, 1, 2), (1, 37, 20), (35, 70, 4), (2, 0, 3)):
        a, b = normal((rows, terms), to, 1), normal((terms, columns), to, 2)
        assert_same(host(cuda.matmul(a, b, to, accumulator, KEY)), cpu.matmul(a, b, to, accumulator, KEY))
    a[:1], b[:] = -0.0, 0.0
    assert_same(host(cuda.matmul(a, b, to, accumulator, KEY)), cpu.matmul(a, b, to, accumulator, KEY))


@pytest.mark.parametrize(
    "order", [*ORDERS, "tensor_core:h100", "tensor_core:h100_fp8:128", "tensor_core:v100:6"]
)
def test_exact_products_are_added_as_on_the_cpu(order: str) -> None:
    accumulator = parse_accumulator(order, cast("float32"))
    narrow, wide = cast("float16"), cast("float32")
    for to in (narrow, wide) if order != "tensor_core:h100" else (narrow,):
        a, b = normal((5, 150), to, 1), normal((150, 6), to, 2)
        assert_same(host(cuda.matmul(a, b, None, accumulator, KEY)), cpu.matmul(a, b, None, accumulator, KEY))
    a[0, 3], a[1, 4], b[7, 0] = np.inf, np.nan, -np.inf
    assert_same(host(cuda.matmul(a, b, None, accumulator, KEY)), cpu.matmul(a, b, None, accumulator, KEY))


@pytest.mark.parametrize("tile", [4, 2, 1])
def test_every_tile_has_the_bits_of_the_others(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes that fill no tile, operands that are transposed, an outer format, an origin and a result."""
    from emunum.kernels.cuda import products

    tiles = [entry for entry in products._TILES if entry[0] == tile]
    monkeypatch.setattr(products, "_TILES", tuple((*entry[:2], 0) for entry in tiles))
    monkeypatch.setattr(products, "_most_outputs", lambda order, summation: tile)
    to, result = cast("e4m3", "stochastic"), cast("bfloat16", "stochastic")
    accumulator = Accumulator(cast=to)
    a, b = normal((70, 43), to, 1), normal((71, 43), to, 2).T
    options = {"result": result, "origin": (5, 1000)}
    ours = cuda.matmul(cuda.resident(a.T).T, cuda.resident(b.T).T, to, accumulator, KEY, **options)
    assert_same(host(ours), cpu.matmul(a, b, to, accumulator, KEY, **options))
    chunks = parse_accumulator("chunked:8", cast("e5m2"), cast("float32"))
    assert_same(host(cuda.matmul(a, b, to, chunks, KEY)), cpu.matmul(a, b, to, chunks, KEY))


def test_column_sums_are_the_cpus() -> None:
    for mode in ("nearest", "stochastic"):
        to = cast("e4m3", mode)
        x = normal((33, 19), to, 1)
        assert_same(host(cuda.column_sum(x, to, KEY)), cpu.column_sum(x, to, KEY))
        assert_same(host(cuda.column_sum(cuda.resident(x).T, to, KEY)), cpu.column_sum(x.T, to, KEY))


WINDOWS = {
    "padded": (Window(kernel=(3, 3), padding=(1, 1)), (3, 2, 6, 5)),
    "stride": (Window(kernel=(3, 2), stride=(2, 3), padding=(0, 1)), (2, 3, 9, 8)),
    "one": (Window(kernel=(1, 1)), (2, 4, 3, 3)),
}


@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize(
    ("product", "order", "sums"),
    [("e4m3", "sequential", "e4m3"), ("e4m3 stochastic", "sequential", "e4m3 stochastic"),
     ("", "sequential", "float32"), ("e5m2 stochastic", "chunked:4", "e6m9 stochastic")],
)  # fmt: skip
def test_convolutions_and_their_gradients_are_the_cpus(
    product: str, order: str, sums: str, case: str
) -> None:
    window, shape = WINDOWS[case]
    to = cast(*product.split()) if product else None
    accumulator = parse_accumulator(order, cast(*sums.split()))
    operand = to or cast("e4m3")
    x, w = normal(shape, operand, 1), normal((4, shape[1], *window.kernel), operand, 2)
    y = cpu.convolve(x, w, window, to, accumulator, KEY)
    assert_same(host(cuda.convolve(x, w, window, to, accumulator, KEY)), y)
    dy = normal(y.shape, operand, 3)
    ours = cuda.convolve_weights(dy, x, window, to, accumulator, KEY)
    assert_same(host(ours), cpu.convolve_weights(dy, x, window, to, accumulator, KEY))
    ours = cuda.convolve_input(dy, w, window, shape, to, accumulator, KEY)
    assert_same(host(ours), cpu.convolve_input(dy, w, window, shape, to, accumulator, KEY))


def test_gradients_in_slabs_have_the_random_bits_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from emunum.kernels.cuda import convolutions

    to, (window, shape) = cast("e4m3", "stochastic"), WINDOWS["padded"]
    dy, w = normal((3, 4, 6, 5), to, 1), normal((4, 2, 3, 3), to, 2)
    monkeypatch.setattr(convolutions, "_SLAB", 1)
    ours = cuda.convolve_input(dy, w, window, shape, to, Accumulator(cast=to), KEY)
    assert_same(host(ours), cpu.convolve_input(dy, w, window, shape, to, Accumulator(cast=to), KEY))


@pytest.mark.parametrize(("bits", "wraps"), [(32, False), (12, False), (12, True)])
def test_integer_products_and_their_overflows_are_the_cpus(bits: int, wraps: bool) -> None:
    window, shape = WINDOWS["padded"]
    x, w, dy = (
        RNG(n).integers(-127, 128, s, np.int8) for n, s in enumerate((shape, (4, 2, 3, 3), (3, 4, 6, 5)))
    )
    a, b = x.reshape(6, -1), x.reshape(6, -1).T
    for ours, of_cpu in (
        (cuda.matmul_integers(a, b, bits, wraps), cpu.matmul_integers(a, b, bits, wraps)),
        (cuda.convolve_integers(x, w, window, bits, wraps), cpu.convolve_integers(x, w, window, bits, wraps)),
        (
            cuda.convolve_weights_integers(dy, x, window, bits, wraps),
            cpu.convolve_weights_integers(dy, x, window, bits, wraps),
        ),
        (
            cuda.convolve_input_integers(dy, w, window, shape, bits, wraps),
            cpu.convolve_input_integers(dy, w, window, shape, bits, wraps),
        ),
    ):
        assert np.array_equal(host(ours[0]), of_cpu[0])
        assert ours[0].dtype == of_cpu[0].dtype
        assert ours[1] == of_cpu[1]
    assert (ours[1] > 0) == (bits == 12)


POOLS = {
    "halves": Window(kernel=(2, 2), stride=(2, 2)),
    "overlapping": Window(kernel=(3, 2), stride=(2, 1), padding=(1, 0)),
    "apart": Window(kernel=(2, 2), stride=(3, 3)),
}


@pytest.mark.parametrize("case", POOLS)
def test_pooling_and_its_way_back_are_the_cpus(case: str) -> None:
    window, x = POOLS[case], RNG(1).integers(-3, 4, (2, 3, 7, 6)).astype(F32)
    x[0, 0, 3], x[1, 2, 2, 2] = -0.0, np.nan
    for numbers in (x, RNG(2).integers(-5, 6, x.shape, np.int8)):
        (y, winners), (own, own_winners) = cuda.max_pool(numbers, window), cpu.max_pool(numbers, window)
        assert np.array_equal(host(y), own, equal_nan=numbers.dtype == F32)
        assert np.array_equal(host(winners), own_winners)
        assert winners.dtype == own_winners.dtype
        assert np.array_equal(
            host(cuda.window_terms(numbers, window)),
            cpu.window_terms(numbers, window),
            equal_nan=numbers.dtype == F32,
        )
        dy = RNG(3).integers(-9, 10, own.shape).astype(numbers.dtype)
        for chosen in (None, own_winners):
            ours = cuda.pixel_terms(dy, chosen, window, x.shape)
            assert np.array_equal(host(ours), cpu.pixel_terms(dy, chosen, window, x.shape))


# ------------------------------------------------------------------------------------------------------------
# What is around the kernels
# ------------------------------------------------------------------------------------------------------------


def test_a_lowered_cast_is_the_class_of_the_same_name_with_the_same_numbers() -> None:
    any32 = Extent.of(NAMED["float32"])
    clamped = lowered_struct(
        contract.lower_product(cast("e4m3"), *[Extent.of(NAMED["float8_e4m3fn"])] * 2, zero_sign=False)
    )
    assert clamped.type == "MagicClamped"
    assert clamped.fields.tolist() == [(448.0, (127 - 6) << 23, (23 - 3) << 23 | 0x400000)]
    assert (
        lowered_struct(contract.lower_sum(cast("e5m2", "stochastic"), any32, any32)).type
        == "TwoSum<OffsetStochastic<true>>"
    )
    assert (
        lowered_struct(contract.lower_conversion(cast("q4.4", "nearest", "wrap"), None)).type
        == "OneZero<Wrapped<WordDeterministic<double>>>"
    )


def test_events_are_refused_by_name() -> None:
    x, to = np.ones(3, F32), cast("e4m3")
    with pytest.raises(
        ValueError, match=r"events are counted on the CPU alone\. Leave --events or --backend out"
    ):
        cuda.add(x, x, to, KEY, counts=np.zeros(8, np.int64))
