"""Rows of events: one for each layer, pass and role, whatever lies inside a layer."""

from __future__ import annotations

from emunum.experiments.training.counting import Phase, drained, merged
from emunum.kernels.contract import Event
from emunum.ops.events import EVENTS, EventLog


def counted() -> EventLog:
    """Roundings in step 7: two places inside layer 1, one in layer 0, one in the loss, one in a test."""
    log = EventLog()
    for place, role, roundings, backward in (
        (((7, Phase.TRAIN), (1, 0), (0, 0)), "activation", 3, 0.5),
        (((7, Phase.TRAIN), (1, 0), (2, 0)), "activation", 4, 0.25),
        (((7, Phase.TRAIN), (0, 0)), "error", 5, 0.0),
        (((7, Phase.TRAIN),), "input", 6, 0.0),
        (((7, Phase.TEST_ON_TEST + 16), (0, 0)), "activation", 100, 1.0),
        (((7, Phase.VALIDATION), (0, 0)), "activation", 100, 1.0),
    ):
        entry = log.entry(place, role)
        entry.counts[Event.ROUNDINGS] = roundings
        entry.backward = backward
    return log


def test_places_inside_a_layer_are_one_row_and_measurements_none() -> None:
    log = counted()
    rows = merged(drained(log, lambda index: f"{index}.Layer"))
    found = {
        (row["layer"], row["pass"], row["role"]): (row["roundings"], row["backward_error"]) for row in rows
    }
    assert found == {
        ("1.Layer", "forward", "activation"): (7, 0.5),
        ("0.Layer", "backward", "error"): (5, 0.0),
        ("loss", "forward", "input"): (6, 0.0),
    }
    assert drained(log, str) == []


def test_rows_of_several_steps_add_up() -> None:
    once = drained(counted(), str)
    twice = merged([*merged(once), *merged(drained(counted(), str))])
    for one, two in zip(merged(once), twice, strict=True):
        assert [two[event] for event in EVENTS] == [2 * int(one[event]) for event in EVENTS]
        assert two["backward_error"] == one["backward_error"]
