"""emunum conform: rows, differences, exit codes, files. What the peers do is tests/experiments' matter."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from emunum.experiments.conformance import run as study
from emunum.experiments.conformance.comparison import Comparison, Known
from emunum.report.conformance import to_page

OTHERS = [name for name in study.PEERS if name != "numpy"]


def negating(ours):
    """-x for x = 0, 1, 2, 3, which a peer gets wrong above 1, with a reason from 3 on."""
    return Comparison(
        operation="negate",
        format="float64",
        rounding="-",
        overflow="-",
        operands=lambda sampling: (np.arange(4.0),),
        ours=ours,
        theirs=lambda x: np.where(x > 1, np.nan, -x),
        exact=lambda x: -x,
        known=(Known(title="three", reason="It stops there.", holds=lambda cases: cases.x >= 3),),
    )


@pytest.fixture
def plant(monkeypatch):
    """Let numpy be the only peer, with one comparison in which ours is `ours`."""

    def call(ours):
        peer = study.Peer(name="numpy", version="9.9", comparisons=(negating(ours),))

        def load(name, only=""):
            if name != "numpy":
                raise ImportError(f"{name} is not installed: pip install 'emunum[conform]'")
            return peer

        monkeypatch.setattr(study, "load", load)

    return call


def test_numpy_agrees_and_json_is_the_record_and_nothing_else(emunum):
    result = emunum("conform", "numpy", "--quick", "--only", "float16", "--json")
    record = json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert (result.code, result.err) == (0, "")
    assert record["quick"] is True
    assert record["peers"] == {"numpy": np.__version__}
    assert (record["breaches"], record["unexplained"], record["differences"]) == (0, 0, [])
    assert {row["comparison"] for row in record["rows"]} >= {"decode", "add", "divide", "square root"}
    assert sum(row["cases"] for row in record["rows"]) == record["cases"] > 100_000
    assert {row["format"] for row in record["rows"]} == {"float16"}


def test_the_table_and_the_differences_are_printed(emunum, plant):
    plant(lambda x: -x)
    result = emunum("conform", "numpy")
    shown = " ".join(result.out.split())
    assert result.code == 0
    assert "│ numpy 9.9 │ negate │ float64 │" in shown
    assert "1. numpy 9.9, known: three. 1 cases in 1 comparisons." in shown
    assert "It stops there." in shown
    assert "negate float64 - - of 0x1.8p+1 (3.0): numpy nan, emunum -3.0, exact -3.0." in shown
    assert "4 cases, 0 breaches of the contract by emunum, 1 unexplained mismatches." in shown
    assert result.err == "Warning: 1 mismatches are unexplained.\n"


def test_a_breach_is_exit_code_1(emunum, plant):
    plant(lambda x: np.where(x == 3, 5.0, -x))
    result = emunum("conform", "numpy")
    assert result.code == 1
    assert "numpy 9.9, breach. 1 cases" in " ".join(result.out.split())
    assert result.err.splitlines()[-1] == (
        "emunum: 1 results are not the exact ones rounded once: emunum breaks its contract."
    )


def test_peers_that_are_not_there_are_one_line_each_and_the_others_run(emunum, plant):
    plant(lambda x: -x)
    result = emunum("conform")
    assert result.code == 0
    lines = result.err.splitlines()
    assert [line for line in lines if "pip install" in line] == [
        f"{name} is not installed: pip install 'emunum[conform]'" for name in OTHERS
    ]
    assert "numpy 9.9" in result.out


def test_without_any_peer_nothing_is_compared(emunum, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = emunum("conform", "gfloat")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "gfloat is not installed: pip install 'emunum[conform]'\n"
        "emunum: none of the peers is there: nothing was compared.\n"
    )


def test_output_has_the_record_and_the_page(emunum, plant, folder):
    plant(lambda x: -x)
    result = emunum("conform", "numpy", "--output", "paper", "--json")
    record = json.loads((folder / "paper/records/conformance.json").read_text())
    assert record == json.loads(result.out)
    assert (folder / "paper/tables/conformance.md").read_text() == to_page(record)
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        "paper/records/conformance.json",
        "paper/tables/conformance.md",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gfloot"], f"unknown peer 'gfloot'. Known: {', '.join(study.PEERS)}."),
        (["numpy", "--only", "nothing"], "--only 'nothing' matches no comparison of numpy."),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line(emunum, words, message):
    assert emunum("conform", *words) == (2, "", f"emunum: {message}\n")


def test_output_below_a_file_is_refused_before_anything_is_compared(emunum, folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setattr(study, "run", lambda *peers, **options: pytest.fail("compared"))
    result = emunum("conform", "numpy", "--output", folder / "file" / "below")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("emunum: Not a directory: ")
