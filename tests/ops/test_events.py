"""The log of events: entries by place and role, and matrix products beside their float64 shadow."""

from __future__ import annotations

import numpy as np
import pytest
from inputs import F32, cast
from numpy.testing import assert_array_equal
from oracles import assert_same

from emunum.formats import Accumulator, Format
from emunum.kernels.contract import Event
from emunum.kernels.random import Key
from emunum.kernels.windows import Window
from emunum.ops.arithmetic import Arithmetic, bind
from emunum.ops.events import EVENTS, Errors, EventLog, errors_of
from emunum.ops.policy import Role, parse_policy
from emunum.ops.scaling import IntegerAccumulator

E4M3 = cast("e4m3")


def _counts(**events: int) -> list[int]:
    return [events.get(event.name.lower(), 0) for event in Event]


def test_there_is_a_name_for_every_event() -> None:
    assert EVENTS == ("roundings", "overflow", "underflow", "flushed", "absorbed", "tie", "nan", "rounded_up")
    assert [Event[name.upper()] for name in EVENTS] == list(range(8))


def test_entries_are_kept_by_place_and_role_but_not_by_step() -> None:
    log = EventLog()
    first = log.entry(((3, 0), (1, 0)), "weight")
    assert log.entry(((4, 0), (1, 0)), "weight") is first  # another step
    for place, role in [
        (((3, 0), (1, 0)), "error"),
        (((3, 1), (1, 0)), "weight"),
        (((3, 0), (2, 0)), "weight"),
        (((3, 0), (1, 1)), "weight"),
        (((3, 0),), "weight"),
        ((), "weight"),
    ]:
        assert log.entry(place, role) is not first
    assert len(log.entries) == 7


def test_draining_hands_everything_out_once() -> None:
    log = EventLog()
    entry = log.entry(((7, 1), (2, 0)), "weight")
    entry.counts[Event.TIE] += 5
    assert log.drain() == [(((0, 1), (2, 0)), "weight", entry)]
    assert log.drain() == []
    assert log.entry(((8, 1), (2, 0)), "weight") is not entry
    assert not log.entry(((8, 1), (2, 0)), "weight").counts.any()


def test_errors_are_relative_to_the_result_and_to_the_operands() -> None:
    a, b = np.array([[3.0, -2.0], [1.0, 1.0]], F32), np.array([[1.0], [1.0]], F32)
    # exact: 1 and 2; |a||b|: 5 and 2.
    errors = errors_of(a, b, np.array([[1.5], [2.25]], F32), Format.from_name("e5m2"))
    assert errors == Errors(n=2, forward=0.5, backward=0.125, unit_roundoff=0.125)
    assert (errors.worst_case, errors.probabilistic) == (0.25, 2**0.5 / 8)


def test_entries_that_are_not_finite_and_zeros_are_left_out_of_errors() -> None:
    a = np.array([[1.0, 1.0], [np.inf, 1.0], [0.0, 0.0], [1.0, -1.0]], F32)
    b = np.array([[1.0], [1.0]], F32)
    y = np.array([[np.inf], [np.inf], [0.0], [0.5]], F32)
    errors = errors_of(a, b, y, Format.from_name("e4m3"))
    assert (errors.forward, errors.backward) == (0.0, 0.25)
    errors = errors_of(a[:3], b, np.full((3, 1), np.nan, F32), Format.from_name("e4m3"))
    assert (errors.forward, errors.backward) == (0.0, 0.0)


def test_the_worst_of_several_products_is_kept() -> None:
    log = EventLog()
    entry, accumulator = log.entry((), "activation"), Accumulator(cast=E4M3)
    one = np.ones((1, 1), F32)
    for y, terms in [(1.25, 1), (1.5, 1), (1.0, 1), (4.0, 4)]:
        a = np.ones((1, terms), F32)
        log.compare(entry, a, a.T, y * one, accumulator)
    assert (entry.forward, entry.backward, entry.bound) == (0.5, 0.5, 4 / 16)


def _arithmetic(policy: str = "full") -> tuple[Arithmetic, EventLog]:
    log = EventLog()
    return bind(parse_policy(policy, E4M3), Key(1), events=log), log


def test_every_operation_counts_where_it_happens() -> None:
    root, log = _arithmetic()
    arith = root.at(9, 1).at(2)
    place = ((0, 1), (2, 0))
    x = np.array([[17.0, 500.0]], F32)  # a tie that goes down, and an overflow that would have gone up

    def only() -> tuple[str, list[int]]:
        ((where, role, entry),) = log.drain()
        assert where == place
        return role, entry.counts.tolist()

    assert_same(arith.cast(Role.INPUT, x), [[16.0, 448.0]])
    assert only() == ("input", _counts(roundings=2, overflow=1, tie=1, rounded_up=1))
    sixteen, one = np.array([16.0], F32), np.array([1.0], F32)
    arith.add(sixteen, one, Role.ACTIVATION)
    assert only() == ("activation", _counts(roundings=1, absorbed=1, tie=1))
    arith.subtract(-sixteen, one, Role.ERROR)
    assert only() == ("error", _counts(roundings=1, absorbed=1, tie=1))
    arith.scale(2.0**-10, one, Role.UPDATE)  # half the least value goes to zero, the even one
    assert only() == ("update", _counts(roundings=1, underflow=1, tie=1))
    arith.scaled_add(sixteen, 1.0, one)
    assert only() == ("update", _counts(roundings=2, absorbed=1, tie=1))
    arith.column_sum(np.ones((17, 1), F32), Role.GRADIENT)
    assert only() == ("gradient", _counts(roundings=17, absorbed=1, tie=1))
    arith.matmul(np.ones((2, 17), F32), np.ones((17, 3), F32), Role.ACTIVATION)
    assert only() == ("activation", _counts(roundings=2 * 17 * 3 * 2, absorbed=6, tie=6))
    arith.values(x)
    arith.select(x > 17, x)
    assert log.drain() == []


def test_matrix_products_are_compared_with_their_shadow() -> None:
    arith, log = _arithmetic()
    arith.matmul(np.ones((2, 17), F32), np.ones((17, 3), F32), Role.ACTIVATION)
    ((_, _, entry),) = log.drain()
    assert (entry.forward, entry.backward, entry.bound) == (1 / 17, 1 / 17, 17 / 16)


def test_convolutions_are_compared_with_their_shadow() -> None:
    # Seventeen images of one pixel under a window of one weight are a product of vectors: 16 + 1 is 16.
    arith, log = _arithmetic()
    one, window = np.ones((1, 17, 1, 1), F32), Window(kernel=(1, 1))
    arith.convolve(one, one, window, Role.ACTIVATION)  # k runs over 17 channels
    ((_, _, entry),) = log.drain()
    assert (entry.forward, entry.backward, entry.bound) == (1 / 17, 1 / 17, 17 / 16)
    images = np.ones((17, 1, 1, 1), F32)
    arith.convolve_weights(images, images, window, Role.GRADIENT)  # k runs over 17 images
    ((_, _, entry),) = log.drain()
    assert (entry.forward, entry.backward, entry.bound) == (1 / 17, 1 / 17, 17 / 16)


@pytest.mark.parametrize("policy", ["full", "mixed", "output"])
def test_counting_changes_no_bit(policy: str) -> None:
    counted, _ = _arithmetic(policy)
    silent = bind(parse_policy(policy, E4M3), Key(1))
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=shape).astype(F32) for shape in ((6, 9), (9, 4)))
    assert_array_equal(counted.matmul(a, b, Role.ERROR), silent.matmul(a, b, Role.ERROR))
    assert_array_equal(counted.column_sum(a, Role.ERROR), silent.column_sum(a, Role.ERROR))
    assert_array_equal(counted.scaled_add(a, 0.1, a), silent.scaled_add(a, 0.1, a))


def test_int8_products_count_additions_and_what_left_the_range() -> None:
    from emunum.ops.policy import IntegerPolicy
    from emunum.ops.scaling import INT8, Scale

    log = EventLog()
    policy = IntegerPolicy(
        name="int8",
        cast=cast(INT8),
        accumulator=IntegerAccumulator(bits=15),
        scale=Scale.ABSMAX,
        per_channel=False,
        integer_master=False,
    )
    arith = bind(policy, Key(0), events=log)
    x = arith.cast(Role.INPUT, np.ones((2, 3), F32))
    arith.matmul(x, x.T, Role.ACTIVATION)  # 127^2 = 16129: the second and third leave -16384..16383
    found = {role: entry.counts.tolist() for _, role, entry in log.drain()}
    assert found["activation"] == _counts(roundings=12, overflow=8)
    assert arith.overflows == {"activation": 8}  # type: ignore[attr-defined]
