"""emunum compare: what differs between two runs, however they are named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studies import record, write_sweep

from emunum.experiments.results.comparison import compare

Command = Callable[..., Any]

ONE = record(0.5, losses=[1.0, 0.75, 0.5], seed=1)
OTHER = record(0.75, losses=[1.0, 0.875, 0.5], seed=1, format="e4m3") | {
    "wall_s": 2.0,
    "weights_sha256": "0" * 64,
}


@pytest.fixture(autouse=True)
def sweep(folder: Path) -> Path:
    return write_sweep(folder / "sweep", [ONE, OTHER])


def name(entry: dict[str, Any], digits: int = 6) -> str:
    return f"sweep:{entry['run_id'][:digits]}"


def test_the_differences_are_those_of_options_results_and_surroundings(emunum: Command) -> None:
    result = emunum("compare", name(ONE), name(OTHER), "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert found == {
        "configuration": {
            "run_id": [ONE["run_id"], OTHER["run_id"]],
            "format": ["float32", "float8_e4m3fn"],
            "format_max": [3.4028234663852886e38, 448.0],
            "overflow_applied": ["ieee", "saturate"],
        },
        "result": {
            "test_mse": [0.5, 0.75],
            "weights_sha256": [ONE["weights_sha256"], "0" * 64],
        },
        "surroundings": {"wall_s": [0.5, 2.0]},
        "first_epoch": 2,
    }


def test_the_tables_have_both_values_and_their_difference(emunum: Command) -> None:
    result = emunum("compare", name(ONE), name(OTHER))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.out.splitlines()]
    assert ["format", "float32", "float8_e4m3fn", ""] in lines
    assert ["test_mse", "0.5", "0.75", "+0.25 (+50 %)"] in lines
    assert "The histories part in epoch 2." in result.out


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [([1.0, 0.75, 0.5], None), ([2.0], 1), ([1.0, 0.5, 0.75], 2), ([1.0, 0.75], 3), ([], None)],
    ids=str,
)
def test_histories_part_in_the_first_epoch_that_differs_or_that_one_lacks(
    losses: list[float], epoch: int | None
) -> None:
    assert compare(ONE, record(0.5, losses=losses, seed=1)).first_epoch == epoch


def test_a_run_beside_itself_is_the_same_in_everything(emunum: Command, folder: Path) -> None:
    entry = {key: value for key, value in ONE.items() if key != "history"}
    for place in ("a", "b"):
        (folder / place).mkdir()
        (folder / place / "record.json").write_text(json.dumps(entry | {"wall_s": 9.0}))
    assert emunum("compare", "a", "b/record.json").out == "The same in configuration and in result.\n"
    assert "The same in configuration and in result." in emunum("compare", "a", name(ONE)).out


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("nowhere", "nowhere does not exist. RUN is a run's directory, its record.json, or DIR:RUN_ID."),
        ("nowhere:12", "nowhere does not exist. .+"),
        ("sweep:zzz", "sweep has no run 'zzz'. 'emunum records sweep' lists those there are."),
        ("sweep", r"sweep means 2 runs \(\w{12}, \w{12}\)\. Name one: sweep:\w{6}, say\."),
        ("sweep:", "sweep: means 2 runs .+"),
    ],
)
def test_what_is_not_one_run_is_one_line(emunum: Command, run: str, message: str) -> None:
    result = emunum("compare", run, name(ONE))
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(f"emunum: {message}\n", result.err)


def test_a_run_alone_is_wrong_usage(emunum: Command) -> None:
    assert emunum("compare", "sweep").code == 2
