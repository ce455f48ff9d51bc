"""emunum report of many runs: which files it writes, and one line where it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studies import failed, formats_and_roundings, record, write_sweep

Command = Callable[..., Any]

NAMES = [
    "report.html",
    "summary.md",
    "summary.tex",
    "summary.csv",
    "results.png",
    "results.svg",
    "results.pdf",
]


@pytest.fixture
def sweep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep, and figures that nobody has to wait for: tests/report draws them."""
    svg = b'<svg viewBox="0 0 20 10"><path id="a" d="M0 0"/></svg>'
    figures = {"results": {"png": b"png", "svg": svg, "pdf": b"pdf"}}
    monkeypatch.setattr("emunum.report.sweep.page.figures_of", lambda study: figures)
    return write_sweep(folder / "sweep", formats_and_roundings(seeds=2))


def test_a_page_with_its_tables_and_figures_is_written_beside_the_sweep(emunum: Command, sweep: Path) -> None:
    before = (sweep / "records.jsonl").read_bytes()
    result = emunum("report", "sweep")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [f"sweep/report/{name}" for name in NAMES]
    assert sorted(path.name for path in (sweep / "report").iterdir()) == sorted(NAMES)
    assert (sweep / "records.jsonl").read_bytes() == before
    assert "<h1>diabetes: format × rounding</h1>" in (sweep / "report" / "report.html").read_text()


def test_where_baseline_metric_title_and_output_choose(emunum: Command, sweep: Path, folder: Path) -> None:
    options = ["--where", "format != 'e5m2'", "--baseline", "format == 'e4m3'", "--metric", "wall_s"]
    result = emunum("report", "sweep", *options, "--title", "Bits & <bytes>", "--output", "a/b", "--json")
    assert json.loads(result.out) == [f"a/b/{name}" for name in NAMES]
    page = (folder / "a/b/report.html").read_text()
    assert "<h1>Bits &amp; &lt;bytes&gt;</h1>" in page
    assert "4 configurations, 8 runs" in page
    assert "difference to baseline" in page
    assert "wall time (s)" in page
    assert "float8_e5m2" not in page
    assert not (sweep / "report").exists()


def test_a_folder_of_runs_is_reported_as_one(emunum: Command, sweep: Path, folder: Path) -> None:
    for seed in range(2):
        directory = folder / "runs" / f"run-{seed}"
        directory.mkdir(parents=True)
        entry = {key: value for key, value in record(0.5, seed=seed).items() if key != "history"}
        (directory / "record.json").write_text(json.dumps(entry))
    assert emunum("report", "runs").code == 0
    assert "1 configuration, 2 runs" in (folder / "runs" / "report" / "report.html").read_text()
    assert emunum("report", "runs").code == 0  # what was written there is no run


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--where", "sead == 3"], 2, "unknown key 'sead'. .+"),
        (["--where", "seed == 99"], 1, "no run in sweep meets --where 'seed == 99'."),
        (["--baseline", "seed == 0"], 2, "unknown key 'seed'. .+"),
        (["--baseline", "seed="], 2, "--baseline 'seed=' is no condition. .+"),
        (["--metric", "accuracy"], 2, "unknown key 'accuracy'. .+"),
        (["--seed", "1"], 2, "--seed is for a single one, and sweep holds many runs."),
        (["--errors"], 2, "--errors is for a single one, and sweep holds many runs."),
        (["--data-dir", "x"], 2, "--data-dir is for a single one, and sweep holds many runs."),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(
    emunum: Command, sweep: Path, words: list[str], code: int, message: str
) -> None:
    result = emunum("report", "sweep", *words)
    assert (result.code, result.out) == (code, "")
    assert re.fullmatch(f"emunum: {message}\n", result.err)
    assert not (sweep / "report").exists()


def test_options_of_many_runs_are_refused_for_one(emunum: Command, folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "config.json").write_text("{}")
    result = emunum("report", "run", "--title", "x")
    assert result == (2, "", "emunum: --title is for many, and run is a single run.\n")


def test_runs_of_which_none_was_completed_are_one_line(emunum: Command, folder: Path) -> None:
    write_sweep(folder / "sweep", [failed("no data")])
    result = emunum("report", "sweep")
    assert result == (1, "", "emunum: no run was completed: there is no result to compare.\n")
