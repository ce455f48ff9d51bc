"""What roundings did, counted: every event by hand, and all of them against a rational ledger."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from inputs import F32, MODES, cast, label
from numpy.testing import assert_array_equal
from oracles import assert_same, matmul_draw

from emunum.formats import Accumulator, Cast, Order, Overflow, parse_accumulator
from emunum.formats.exact import round_exact
from emunum.formats.rounding import Stochastic
from emunum.kernels import cpu
from emunum.kernels.contract import Event
from emunum.kernels.random import Key

INF, NAN = math.inf, math.nan
TINY = 2.0**-9  # the least value of e4m3
WRAPPING = cast("q3.3", "nearest_away", "wrap")


def _new() -> np.ndarray:
    return np.zeros(len(Event), np.int64)


def _named(counts: np.ndarray) -> dict[str, int]:
    """The events that happened, but for the number of roundings."""
    return {e.name.lower(): int(counts[e]) for e in Event if e is not Event.ROUNDINGS and counts[e]}


def _array(*x: float) -> np.ndarray:
    return np.array(x, F32)


# ----------------------------------------------------------------------------------------------------
# By hand
# ----------------------------------------------------------------------------------------------------

# operation, format, overflow, operands, result, events. One number is rounded once, and `scaled_add` twice.
ONE_BY_ONE: list[tuple[str, str, str, tuple[float, ...], float, str]] = [
    ("cast", "e4m3", "auto", (16.0,), 16.0, ""),
    ("cast", "e4m3", "auto", (-0.0,), -0.0, ""),
    ("cast", "e4m3", "auto", (17.0,), 16.0, "tie"),
    ("cast", "e4m3", "auto", (19.0,), 20.0, "tie rounded_up"),
    ("cast", "e4m3", "auto", (-19.0,), -20.0, "tie rounded_up"),  # away from zero
    ("cast", "e4m3", "auto", (16.5,), 16.0, ""),
    ("cast", "e4m3", "auto", (17.5,), 18.0, "rounded_up"),
    ("cast", "e4m3", "auto", (464.0,), 448.0, "tie"),  # 448 is even
    ("cast", "e4m3", "auto", (484.0,), 448.0, "overflow"),  # 480 without an end
    ("cast", "e4m3", "auto", (-1e30,), -448.0, "overflow rounded_up"),  # 12.6 times 2^96
    ("cast", "e4m3", "auto", (INF,), 448.0, ""),  # no finite value
    ("cast", "e4m3", "ieee", (484.0,), NAN, "overflow nan"),
    ("cast", "e4m3", "ieee", (-INF,), NAN, "nan"),
    ("cast", "e4m3", "ieee", (NAN,), NAN, ""),
    ("cast", "e4m3", "auto", (TINY / 2,), 0.0, "underflow tie"),
    ("cast", "e4m3", "auto", (-TINY / 4,), -0.0, "underflow"),
    ("cast", "e4m3", "auto", (TINY * 0.75,), TINY, "rounded_up"),
    ("cast", "e4m3", "auto", (1e-45,), 0.0, "underflow"),
    ("cast", "e5m2", "auto", (61440.0,), INF, "overflow tie rounded_up"),
    ("cast", "e5m2", "auto", (61439.0,), 57344.0, ""),
    ("cast", "e5m2", "auto", (INF,), INF, ""),
    ("cast", "float16_ftz", "auto", (2.0**-15,), 0.0, "flushed"),
    ("cast", "float16_ftz", "auto", (-(2.0**-15) - 2.0**-26,), -0.0, "flushed"),
    ("cast", "float16_ftz", "auto", (3 * 2.0**-26,), 0.0, "flushed rounded_up"),
    ("cast", "float16_ftz", "auto", (2.0**-26,), 0.0, "underflow"),
    ("cast", "float16_ftz", "auto", (2.0**-14 - 2.0**-30,), 2.0**-14, "rounded_up"),
    ("cast", "int8", "auto", (127.5,), 127.0, "overflow tie rounded_up"),
    ("cast", "int8", "auto", (-128.5,), -128.0, "tie"),
    ("cast", "int8", "auto", (-129.0,), -128.0, "overflow"),
    ("cast", "int8", "auto", (0.5,), 0.0, "underflow tie"),
    ("add", "e4m3", "auto", (16.0, 1.0), 16.0, "absorbed tie"),
    ("add", "e4m3", "auto", (1.0, 16.0), 16.0, "tie"),  # it is 1 that was added to
    ("add", "e4m3", "auto", (16.0, 0.0), 16.0, ""),
    ("add", "e4m3", "auto", (16.0, -0.25), 16.0, "absorbed rounded_up"),
    ("add", "e4m3", "auto", (448.0, 16.0), 448.0, "absorbed tie"),
    ("add", "e4m3", "auto", (448.0, 448.0), 448.0, "absorbed overflow"),
    ("add", "e4m3", "auto", (INF, -INF), NAN, "nan"),
    ("add", "e4m3", "auto", (NAN, 1.0), NAN, ""),
    ("add", "e5m2", "auto", (57344.0, 8192.0), INF, "overflow"),
    ("add", "e5m2", "auto", (INF, 1.0), INF, ""),
    ("add", "float16_ftz", "auto", (2.0**-14, -(2.0**-15)), 0.0, "flushed"),
    ("add", "float32", "auto", (1.0, 2.0**-24), 1.0, "absorbed tie"),
    ("add", "float32", "auto", (1.0, 2.0**-60), 1.0, "absorbed"),  # beyond a float64: the residual's
    ("add", "float32", "auto", (1.0, -(2.0**-60)), 1.0, "absorbed rounded_up"),
    ("add", "float32", "auto", (1 + 2.0**-23, 2.0**-24), 1 + 2.0**-22, "tie rounded_up"),
    ("subtract", "e4m3", "auto", (-16.0, 1.0), -16.0, "absorbed tie"),
    ("subtract", "e4m3", "auto", (19.0, 0.0), 20.0, "tie rounded_up"),
    ("subtract", "e5m2", "auto", (INF, INF), NAN, "nan"),
    ("multiply", "e5m2", "auto", (0.0, INF), NAN, "nan"),
    ("multiply", "e5m2", "auto", (NAN, INF), NAN, ""),
    ("multiply", "e5m2", "auto", (2.0**-8, 2.0**-9), 0.0, "underflow tie"),
    ("multiply", "e5m2", "auto", (300.0, -300.0), -INF, "overflow"),
    ("multiply", "e4m3", "auto", (300.0, -300.0), -448.0, "overflow rounded_up"),  # 11 * 2^13 = 90112
    ("multiply", "float16_ftz", "auto", (2.0**-7, 2.0**-8), 0.0, "flushed"),
    ("divide", "e5m2", "auto", (1.0, 3.0), 0.3125, ""),
    ("divide", "e5m2", "auto", (5.0, 3.0), 1.75, "rounded_up"),
    ("divide", "e5m2", "auto", (9.0, 8.0), 1.0, "tie"),
    ("divide", "e5m2", "auto", (57344.0, 0.5), INF, "overflow"),
    ("divide", "e5m2", "auto", (1.0, 0.0), INF, ""),  # exact, IEEE 754 says, and no overflow
    ("divide", "e5m2", "auto", (2.0**-16, 4.0), 0.0, "underflow"),
    ("divide", "e4m3", "ieee", (1.0, 0.0), NAN, "nan"),
    ("square_root", "e4m3", "auto", (4.0,), 2.0, ""),
    ("square_root", "e4m3", "auto", (2.0,), 1.375, ""),
    ("square_root", "e4m3", "auto", (3.0,), 1.75, "rounded_up"),
    ("square_root", "e4m3", "auto", (1.0625**2,), 1.0, "tie"),
    ("square_root", "e4m3", "auto", (2.0**-20,), 0.0, "underflow tie"),
    ("square_root", "e4m3", "auto", (1e30,), 448.0, "overflow"),  # 1e15 is 14.2 times 2^46
    ("scaled_add", "e4m3", "auto", (16.0, 1.0, 1.0), 16.0, "absorbed tie"),
    ("scaled_add", "e4m3", "auto", (16.0, 1.0, 17.0), 32.0, "tie"),
    ("scaled_add", "e4m3", "auto", (448.0, 2.0, 384.0), 448.0, "absorbed overflow overflow"),
    ("scaled_add", "e4m3", "auto", (1.0, TINY / 4, 1.0), 1.0, "underflow"),
]


def _run(operation: str, x: Sequence[np.ndarray], to: Cast, counts: np.ndarray | None) -> np.ndarray:
    if operation == "scaled_add":
        return cpu.scaled_add(x[0], F32(x[1].flat[0]), x[2], to, Key(0), counts=counts)
    return getattr(cpu, operation)(*x, to, Key(0), counts=counts)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("operation", "format", "overflow", "operands", "result", "events"),
    ONE_BY_ONE,
)
def test_each_event_is_counted_where_it_happens(
    operation: str, format: str, overflow: str, operands: tuple[float, ...], result: float, events: str
) -> None:
    to, counts = cast(format, overflow=overflow), _new()
    arrays = [_array(x) for x in operands]
    assert_same(_run(operation, arrays, to, counts), [result])
    assert _named(counts) == Counter(events.split())
    assert counts[Event.ROUNDINGS] == (2 if operation == "scaled_add" else 1)


OPERATIONS = ("cast", "add", "subtract", "multiply", "divide", "square_root", "scaled_add")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_counts_add_up_over_elements_and_calls(operation: str) -> None:
    rows = [row for row in ONE_BY_ONE if row[:3] == (operation, "e4m3", "auto")]
    if operation == "scaled_add":  # its factor is a constant
        rows = [row for row in rows if row[3][1] == 1.0]
    rows = rows or [row for row in ONE_BY_ONE if row[:3] == (operation, "e5m2", "auto")]
    to, counts = cast(rows[0][1]), _new()
    arrays = [_array(*column) for column in zip(*(row[3] for row in rows), strict=True)]
    expected = Counter[str]()
    for row in rows:
        expected.update(row[5].split())
    for times in (1, 2):
        assert_same(_run(operation, arrays, to, counts), [row[4] for row in rows])
        assert _named(counts) == {event: times * count for event, count in expected.items()}
        assert counts[Event.ROUNDINGS] == times * len(rows) * (2 if operation == "scaled_add" else 1)


def test_a_float64_is_looked_at_as_it_is() -> None:
    # 17 + 2^-40 is no tie; as a float32 it would be one.
    counts = _new()
    assert_same(cpu.cast(np.array([17 + 2.0**-40, 17.0]), cast("e4m3"), Key(0), counts=counts), [18.0, 16.0])
    assert _named(counts) == {"tie": 1, "rounded_up": 1}


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_values_of_the_format_meet_nothing(mode: Any) -> None:
    values, counts = np.concatenate([np.arange(-16, 17), [448, -448, TINY, -0.0]]).astype(F32), _new()
    assert_same(cpu.cast(values, cast("e4m3", mode), Key(1), counts=counts), values)
    assert counts.tolist() == [values.size, *[0] * 7]


# order, roundings and events of 24 ones in e4m3, where sums from 16 on are even: 16 + 1 is a tie.
TWENTY_FOUR_ONES = [
    ("sequential", 24 + 24, {"absorbed": 8, "tie": 8}),
    ("chunked:8", 24 + 24 + 3, {}),
    ("chunked:20", 24 + 24 + 2, {"absorbed": 4, "tie": 4}),  # 16 after 20 terms; 16 + 4
    ("pairwise", 24 + 24 + 23, {}),
    ("exact", 24 + 1, {}),
]


@pytest.mark.parametrize(("order", "roundings", "events"), TWENTY_FOUR_ONES)
def test_sums_of_ones_by_hand(order: str, roundings: int, events: dict[str, int]) -> None:
    to, counts = cast("e4m3"), _new()
    ones = np.ones((24, 40), F32)
    accumulator = parse_accumulator(order, to)
    cpu.matmul(ones[:, :3].T, ones, to, accumulator, Key(0), counts=counts)  # 3 rows, 40 columns
    assert counts[Event.ROUNDINGS] == 120 * roundings
    assert _named(counts) == {event: 120 * count for event, count in events.items()}
    counts = _new()
    cpu.column_sum(ones, accumulator, Key(0), counts=counts)
    assert counts[Event.ROUNDINGS] == 40 * (roundings - 24)
    assert _named(counts) == {event: 40 * count for event, count in events.items()}


def test_the_rounding_of_the_result_is_counted_too() -> None:
    counts = _new()
    ones = np.ones((17, 2), F32)
    out = cpu.matmul(ones.T, ones, None, cast("float32"), Key(0), result=cast("e4m3"), counts=counts)
    assert_same(out, np.full((2, 2), 16.0))
    assert _named(counts) == {"tie": 4}
    assert counts[Event.ROUNDINGS] == 4 * 18


def test_nan_is_born_once_in_a_sum() -> None:
    counts, e5m2 = _new(), cast("e5m2")
    a = np.array([[40000.0, 40000.0, -INF, 1.0, 1.0]], F32)  # Inf, then Inf - Inf
    out = cpu.matmul(a, np.ones((5, 1), F32), e5m2, e5m2, Key(0), counts=counts)
    assert np.isnan(out[0, 0])
    assert (counts[Event.NAN], counts[Event.OVERFLOW]) == (1, 1)
    counts = _new()
    cpu.matmul(_array(INF, 1, 2)[None], _array(0, 1, 1)[:, None], e5m2, e5m2, Key(0), counts=counts)
    assert counts[Event.NAN] == 1  # 0 Inf, a product


# ----------------------------------------------------------------------------------------------------
# The ledger
# ----------------------------------------------------------------------------------------------------


class Ledger:
    """Sums in rational arithmetic, every rounding of which is looked at."""

    def __init__(self) -> None:
        self.counts = _new()

    def round(self, x: Fraction | float, to: Cast, draw: int = 0, *, of_numbers: bool = True) -> float:
        rounded = round_exact(x, to, draw)
        self.counts[Event.ROUNDINGS] += 1
        self.counts[Event.NAN] += math.isnan(rounded) and of_numbers
        if isinstance(x, float) and not math.isfinite(x):
            return rounded
        exact, format = abs(Fraction(x)), to.format
        wraps = to.rule is Overflow.WRAP  # fixed point without an end: its quantum stays
        exponent = format.emin if wraps else max(_exponent(exact), format.emin)
        quantum = Fraction(2) ** (exponent - format.mantissa_bits)
        s, tail = divmod(exact / quantum, 1)
        rule = to.mode.rule
        if isinstance(rule, Stochastic):
            up = rule.increments(tail, to.random_bits, draw)
        else:
            up = rule.increments(tail, s % 2 == 1, x < 0)
        whole = (s + up) * quantum
        signed = -whole if x < 0 else whole
        self.counts[Event.OVERFLOW] += not Fraction(format.min) <= signed <= Fraction(format.max)
        self.counts[Event.UNDERFLOW] += exact > 0 and whole == 0
        self.counts[Event.FLUSHED] += not format.subnormals and 0 < whole < Fraction(2) ** format.emin
        self.counts[Event.TIE] += tail == Fraction(1, 2)
        self.counts[Event.ROUNDED_UP] += whole > exact
        return rounded

    def multiply(self, a: float, b: float, to: Cast, draw: int = 0) -> float:
        numbers = not (math.isnan(a) or math.isnan(b))
        if math.isfinite(a) and math.isfinite(b) and a and b:
            return self.round(Fraction(a) * Fraction(b), to, draw)
        return self.round(a * b, to, draw, of_numbers=numbers)

    def add(self, s: float, term: Fraction | float, to: Cast, draw: int = 0) -> float:
        finite = math.isfinite(s) and (isinstance(term, Fraction) or math.isfinite(term))
        exact = Fraction(s) + Fraction(term) if finite else s + float(term)
        if exact == 0:
            exact = s + float(term)  # with its sign
        numbers = not (math.isnan(s) or math.isnan(term))
        total = self.round(exact, to, draw, of_numbers=numbers)
        self.counts[Event.ABSORBED] += term != 0 and total == s and math.isfinite(s)
        return total

    def sum(self, terms: Sequence[Any], how: Accumulator, draw: Callable[[int, int], int]) -> float:
        to = how.cast

        def fold(terms: Sequence[Any], to: Cast, first: int = 0) -> float:
            s = 0.0
            for k, term in enumerate(terms, first):
                s = self.add(s, term, to, draw(k, 1))
            return s

        match how.order:
            case Order.SEQUENTIAL:
                return fold(terms, to)
            case Order.CHUNKED:
                n = how.chunk or 1
                return fold([fold(terms[at : at + n], to, at) for at in range(0, len(terms), n)], how.last)
            case Order.PAIRWISE:
                level = [self.add(0.0, term, to) for term in terms]
                while len(level) > 1:
                    pairs = [self.add(*level[at : at + 2], to) for at in range(0, len(level) - 1, 2)]
                    level = pairs + level[2 * len(pairs) :]
                return level[0] if level else 0.0
            case Order.KAHAN:
                s = c = 0.0
                for term in terms:
                    y = self.add(-c, term, to)
                    u = self.add(s, y, to)
                    c = self.add(self.add(u, -s, to), -y, to)
                    s = u
                return s
            case Order.EXACT:
                if all(map(math.isfinite, terms)):
                    return self.round(sum(map(Fraction, terms), Fraction(0)), to)
                of_numbers = not any(map(math.isnan, terms))
                return self.round(sum(map(float, terms)), to, of_numbers=of_numbers)
            case Order.TENSOR_CORE:
                raise ValueError("a tensor core takes operands")

    def exact_product(self, a: float, b: float) -> Fraction | float:
        if math.isfinite(a) and math.isfinite(b):
            return Fraction(a) * Fraction(b)
        self.counts[Event.NAN] += math.isnan(a * b) and not (math.isnan(a) or math.isnan(b))
        return a * b

    def core(self, a: Sequence[float], b: Sequence[float], how: Accumulator) -> float:
        """A dot product by tensor core: chunks of blocks, added in their outer format."""
        assert how.core is not None
        n, size = how.core.terms, how.chunk or max(len(a), 1)
        total = 0.0
        for start in range(0, len(a), size):
            c = 0.0
            for at in range(start, min(start + size, len(a)), n):
                end = min(at + n, start + size)
                c = self.block(c, a[at:end], b[at:end], how)
            total = c if how.outer is None else self.add(total, c, how.outer)
        return total

    def block(self, c: float, a: Sequence[float], b: Sequence[float], how: Accumulator) -> float:
        assert how.core is not None
        pairs = list(zip(a, b, strict=True))
        terms = [c, *(self.exact_product(x, y) for x, y in pairs)]
        if not all(map(math.isfinite, terms)):
            of_numbers = not any(map(math.isnan, terms))
            return self.round(sum(map(float, terms)), how.cast, of_numbers=of_numbers)
        sizes = [_exponent(abs(Fraction(c)))]
        sizes += [_exponent(abs(Fraction(x))) + _exponent(abs(Fraction(y))) for x, y in pairs]
        largest = max([size for size, term in zip(sizes, terms, strict=True) if term], default=0)
        unit = Fraction(2) ** (largest - how.core.fraction_bits)
        return self.round(sum(math.trunc(Fraction(term) / unit) for term in terms) * unit, how.cast)

    def matmul(
        self, a: np.ndarray, b: np.ndarray, product: Cast | None, how: Accumulator, key: int
    ) -> np.ndarray:
        out = np.zeros((a.shape[0], b.shape[1]))
        for i, row in enumerate(a.tolist()):
            for j, column in enumerate(b.T.tolist()):
                draw = matmul_draw(i, j, key, product, how.cast)
                if how.core is not None:
                    out[i, j] = self.core(row, column, how)
                    continue
                pairs = list(enumerate(zip(row, column, strict=True)))
                if product is None:
                    terms: list[Any] = [self.exact_product(x, y) for _, (x, y) in pairs]
                else:
                    terms = [self.multiply(x, y, product, draw(k, 0)) for k, (x, y) in pairs]
                out[i, j] = self.sum(terms, how, draw)
        return out


def _exponent(x: Fraction) -> int:
    if x == 0:
        return -(10**6)
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess if x >= Fraction(2) ** guess else guess - 1


def _matrix(shape: tuple[int, int], kind: int, seed: int) -> np.ndarray:
    """Values of e4m3: near each other, so that sums tie and cancel; small ones; large ones."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-15, 16, shape) * 2.0 ** rng.integers(-3, 1, shape)
    x = [x, x * 2.0**-6, x * 16][kind]
    return np.where(rng.random(shape) < 0.1, 0.0, x).astype(F32)


ORDERS = ("sequential", "chunked:4", "pairwise", "kahan", "exact")
SHAPES = [(3, 9, 4), (5, 6, 2), (2, 13, 3), (1, 1, 1), (2, 0, 3)]


def _check(product: Cast | None, how: Accumulator) -> None:
    for seed, (m, terms, n) in enumerate(SHAPES):
        for kind in range(3):
            a, b = _matrix((m, terms), kind, seed), _matrix((terms, n), kind, seed + 50)
            ledger, counts = Ledger(), _new()
            expected = ledger.matmul(a, b, product, how, seed)
            out = cpu.matmul(a, b, product, how, Key(seed), counts=counts)
            assert_array_equal(out, expected)  # signs of zero have their own tests
            assert_array_equal(counts, ledger.counts)


@pytest.mark.parametrize("mode", [mode for mode in MODES if not mode.stochastic], ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_counters_are_the_ledgers_in_every_mode_and_order(order: str, mode: Any) -> None:
    to = cast("e4m3", mode)
    _check(to, parse_accumulator(order, to))


@pytest.mark.parametrize("order", ORDERS)
def test_counters_are_the_ledgers_beside_exact_products(order: str) -> None:
    _check(None, parse_accumulator(order, cast("e4m3")))


@pytest.mark.parametrize(
    ("product", "to"),
    [
        (cast("e4m3", "stochastic", random_bits=3), cast("e4m3", "stochastic", random_bits=5)),
        (cast("e4m3", "stochastic_b", random_bits=9), cast("e4m3", "stochastic_c", random_bits=20)),
        (None, cast("e5m2")),
        (cast("e5m2", overflow="saturate"), cast("e5m2")),
        (cast("float16_ftz"), cast("e5m2_ftz")),
        (cast("e4m3fnuz"), cast("e4m3fnuz")),
        (cast("q4.4"), cast("q6.2")),
        (cast("q4.4", overflow="wrap"), cast("q3.2", overflow="wrap")),
        (None, cast("q2.3", "stochastic", overflow="wrap", random_bits=2)),
        (cast("float32"), cast("float32")),
    ],
    ids=label,
)
def test_counters_are_the_ledgers_in_other_formats(product: Cast | None, to: Cast) -> None:
    _check(product, Accumulator(cast=to))


def test_the_outer_sum_has_its_own_format_in_the_ledger() -> None:
    _check(cast("e4m3"), parse_accumulator("chunked:3", cast("e4m3"), cast("e5m2")))


@pytest.mark.parametrize("to", [cast("float32"), cast("float16")], ids=label)
@pytest.mark.parametrize("core", ["v100", "v100:6", "h100_fp8", "h100_fp8:5"])
def test_counters_of_tensor_cores_are_the_ledgers(core: str, to: Cast) -> None:
    _check(None, parse_accumulator(f"tensor_core:{core}", to))
    how = parse_accumulator("tensor_core:h100_fp8:5", to, cast("e5m2", "up"))
    _check(None, how)


def _with_specials(x: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(x.shape) < 0.25, rng.choice([INF, -INF, NAN, 0.0, 57344.0], x.shape), x)


@pytest.mark.parametrize(
    ("product", "how"),
    [
        *((x, parse_accumulator(order, cast("e5m2"))) for x in (None, cast("e5m2")) for order in ORDERS),
        (cast("e4m3", overflow="ieee"), parse_accumulator("exact", cast("e4m3", overflow="ieee"))),
        (None, parse_accumulator("tensor_core:v100", cast("float32"))),
        (None, parse_accumulator("tensor_core:v100:4", cast("float16"))),
    ],
    ids=lambda x: label(x) if isinstance(x, Cast) else getattr(x, "order", None),
)
def test_every_nan_of_a_product_is_the_ledgers(product: Cast | None, how: Accumulator) -> None:
    born = 0
    for seed in range(4):
        a, b = (
            _with_specials(_matrix(s, 2, seed), seed + n).astype(F32) for n, s in ((0, (4, 7)), (9, (7, 5)))
        )
        ledger, counts = Ledger(), _new()
        with np.errstate(invalid="ignore"):
            expected = ledger.matmul(a, b, product, how, seed)
        assert_array_equal(cpu.matmul(a, b, product, how, Key(seed), counts=counts), expected)
        assert_array_equal(counts, ledger.counts)
        born += counts[Event.NAN]
    assert born > 0


def test_elementwise_counters_are_the_ledgers() -> None:
    rng = np.random.default_rng(3)
    x, y = (rng.integers(-40, 41, 300) * 2.0 ** rng.integers(-10, 5, 300) for _ in range(2))
    x, y = x.astype(F32), y.astype(F32)
    for to in (cast("e4m3"), cast("float16_ftz", "up"), WRAPPING):
        for operation in ("cast", "add", "subtract", "multiply"):
            ledger, counts = Ledger(), _new()
            _run(operation, [x] if operation == "cast" else [x, y], to, counts)
            for a, b in zip(x.tolist(), y.tolist(), strict=True):
                match operation:
                    case "cast":
                        ledger.round(a, to)
                    case "add":
                        ledger.add(a, b, to)
                    case "subtract":
                        ledger.add(a, -b, to)
                    case "multiply":
                        ledger.multiply(a, b, to)
            assert_array_equal(counts, ledger.counts, err_msg=f"{operation} {label(to)}")


def test_a_tensor_core_rounds_once_a_block() -> None:
    how = parse_accumulator("tensor_core:v100", cast("float32"))
    counts, a = _new(), np.ones((2, 9), F32)
    cpu.matmul(a, a.T, None, how, Key(0), counts=counts)
    assert counts.tolist() == [2 * 2 * 3, *[0] * 7]  # blocks of 4, 4 and 1
    counts, x = _new(), np.array([[65504.0] * 4], F32)
    half = parse_accumulator("tensor_core:v100", cast("float16"))
    cpu.matmul(x, np.ones((4, 1), F32), None, half, Key(0), counts=counts)
    assert _named(counts) == {"overflow": 1}


# ----------------------------------------------------------------------------------------------------
# The same bits
# ----------------------------------------------------------------------------------------------------


def quick(mode: Any) -> Any:
    """The mode, as an exhaustive case unless it is one of two: each has to be compiled in every order.

    What the others compute while they count is compared with the ledgers above.
    """
    always = str(mode) in ("nearest_even", "stochastic")
    return mode if always else pytest.param(mode, marks=pytest.mark.exhaustive)


@pytest.mark.parametrize("order", [*ORDERS, "tensor_core:v100"])
@pytest.mark.parametrize("mode", [quick(mode) for mode in MODES], ids=str)
def test_counting_changes_no_bit_of_a_product(mode: Any, order: str) -> None:
    to = cast("e4m3", mode)
    core = order.startswith("tensor")
    how = parse_accumulator(order, cast("float32") if core else to)
    product, result = None if core else to, to if order == "sequential" or core else None
    for shape in ((4, 9, 5), (40, 7, 3)):
        for kind in range(3):
            a, b = _matrix(shape[:2], kind, 1), _matrix(shape[1:], kind, 2)
            silent = cpu.matmul(a, b, product, how, Key(3), result=result)
            counted = cpu.matmul(a, b, product, how, Key(3), result=result, counts=_new())
            assert_array_equal(counted.view(np.uint32), silent.view(np.uint32))


FORMATS = ("q4.4",)
MORE = ("float32", "binary8p4se", "e4m3", "e5m2", "e4m3fnuz", "float16_ftz", "bfloat16")
"""Formats whose kernels take long to compile, and differ little from those of FORMATS."""


@pytest.mark.parametrize(
    "name", [*FORMATS, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in MORE)]
)
def test_counting_changes_no_bit_of_an_elementwise_operation(name: str) -> None:
    rng = np.random.default_rng(4)
    x, y = (rng.integers(-40, 41, 700) * 2.0 ** rng.integers(-10, 5, 700) for _ in range(2))
    x, y = (np.concatenate([v, [0.0, -0.0, INF, -INF, NAN, 1e38]]).astype(F32) for v in (x, y[::-1]))
    for mode in MODES if name == "e4m3" else [MODES[0], MODES[4], MODES[6]]:
        to = cast(name, mode, random_bits=7)
        for operation in OPERATIONS if name == "e4m3" else ("cast", "add", "multiply"):
            arrays = {"cast": [x], "square_root": [x], "scaled_add": [x, _array(0.37), y]}.get(
                operation, [x, y]
            )
            assert_same(_run(operation, arrays, to, _new()), _run(operation, arrays, to, None))


# ----------------------------------------------------------------------------------------------------
# Before the rounding, and beyond the range
# ----------------------------------------------------------------------------------------------------


def _nan_by_exact_product(counts: np.ndarray) -> Any:
    return cpu.matmul(_array(INF)[None], _array(0.0)[:, None], None, cast("e5m2"), Key(0), counts=counts)


def _nan_in_exact_sum(counts: np.ndarray) -> Any:
    how = parse_accumulator("exact", cast("e5m2"))
    return cpu.matmul(_array(INF, INF)[None], _array(1, -1)[:, None], None, how, Key(0), counts=counts)


def _nan_in_tensor_core(counts: np.ndarray) -> Any:
    how = parse_accumulator("tensor_core:v100", cast("float32"))
    return cpu.matmul(_array(INF, INF)[None], _array(1, -1)[:, None], None, how, Key(0), counts=counts)


@pytest.mark.parametrize(
    "operation",
    [
        _nan_by_exact_product,
        _nan_in_exact_sum,
        _nan_in_tensor_core,
        lambda counts: cpu.divide(_array(0.0), _array(0.0), cast("e5m2"), Key(0), counts=counts),
        lambda counts: cpu.divide(_array(INF), _array(INF), cast("e5m2"), Key(0), counts=counts),
        lambda counts: cpu.divide(_array(1.0), _array(0.0), cast("binary8p4se"), Key(0), counts=counts),
        lambda counts: cpu.square_root(_array(-1.0), cast("e5m2"), Key(0), counts=counts),
    ],
    ids=["0Inf-fused", "Inf-Inf-exact", "Inf-Inf-core", "0/0", "Inf/Inf", "1/0-p3109", "sqrt(-1)"],
)
def test_every_nan_of_numbers_is_counted(operation: Callable[[np.ndarray], Any]) -> None:
    counts = _new()
    assert np.isnan(operation(counts)).all()
    assert counts[Event.NAN] == 1


def test_what_wraps_is_rounded_to_whole_quanta_first() -> None:
    # q8.0: 257 is exact; 256.5 is a tie to 256; 4097.5 one to 4098; 4097.25 goes down to 4097.
    counts = _new()
    x = _array(257.0, 256.5, 4097.5, 4097.25)
    out = cpu.cast(x, cast("q8.0", overflow="wrap"), Key(0), counts=counts)
    assert_same(out, [1.0, 0.0, 2.0, 1.0])
    assert _named(counts) == {"overflow": 4, "tie": 2, "rounded_up": 1}


def test_a_sum_that_wraps_is_looked_at_beyond_a_float64() -> None:
    # 2^40 + 2^-20 needs 61 bits: its tail is 2^-20. 1/2 and 3/2 after 2^60 are ties, to 0 and to 2.
    counts, to = _new(), cast("q8.0", overflow="wrap")
    x, y = _array(2.0**40, 2.0**60, 2.0**60, -(2.0**60)), _array(2.0**-20, 0.5, 1.5, -1.75)
    assert_same(cpu.add(x, y, to, Key(0), counts=counts), [0.0, 0.0, 2.0, -2.0])
    assert _named(counts) == {"overflow": 4, "tie": 2, "rounded_up": 2}


def test_casts_to_a_scale_are_counted() -> None:
    counts = _new()
    x = _array(3.0, 2.5, 2.0, 0.0, -0.0, -3.0, INF, NAN, 1e-45, 1.75 * 2.0**127)
    least, most = 2.0**-127, 2.0**127
    out = cpu.cast(x, cast("e8m0fnu"), Key(0), counts=counts)
    assert_same(out, [4.0, 2.0, 2.0, NAN, NAN, NAN, most, NAN, least, most])
    assert counts[Event.ROUNDINGS] == x.size
    # 3 is a tie between 2 and 4; 0, -0 and -3 have no scale; 1e-45 would be 0, and 1.75 2^127 be 2^128.
    assert _named(counts) == {"tie": 1, "nan": 3, "underflow": 1, "overflow": 1, "rounded_up": 2}
    silent = cpu.cast(x, cast("e8m0fnu"), Key(0))
    assert_same(out, silent)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("product", [None, cast("e5m2")], ids=["exact", "rounded"])
def test_a_nan_that_travels_on_is_counted_where_it_was_born(product: Cast | None, order: str) -> None:
    # 1 + 0 Inf + 1 + 1: the product is NaN, and so is every sum from there on.
    counts, how = _new(), parse_accumulator(order, cast("e5m2"))
    a, b = _array(1, INF, 1, 1)[None], _array(1, 0, 1, 1)[:, None]
    assert np.isnan(cpu.matmul(a, b, product, how, Key(0), counts=counts)).all()
    assert counts[Event.NAN] == 1


@pytest.mark.parametrize("operation", ["divide", "square_root"])
def test_a_nan_operand_is_no_birth(operation: str) -> None:
    counts, x = _new(), _array(NAN, NAN)
    operands = [x, _array(0.0, INF)] if operation == "divide" else [x]
    assert np.isnan(_run(operation, operands, cast("e5m2"), counts)).all()
    assert counts.tolist() == [2, *[0] * 7]


def test_division_by_zero_in_a_p3109_format_is_one_birth() -> None:
    # Saturating or not, with infinities (se) or without (sf): 1/0 and 0/0 are NaN, NaN/0 was.
    x, y = _array(1.0, -1.0, 0.0, NAN), np.zeros(4, F32)
    for name in ("binary8p4se", "binary8p4sf"):
        for overflow in ("ieee", "saturate"):
            counts = _new()
            assert np.isnan(cpu.divide(x, y, cast(name, overflow=overflow), Key(0), counts=counts)).all()
            assert (counts[Event.ROUNDINGS], counts[Event.NAN]) == (4, 3)
