"""emunum reproduce regression: one set of runs, printed, and written as records, tables and figures."""

import csv
import io
import json

import pytest

from emunum.experiments import regression as study
from emunum.report.tables import to_csv

SEEDS = 2
RUNS = 2 * (9 + 6 * SEEDS)


@pytest.fixture(scope="module")
def records():
    """The runs of the study, trained once for this module."""
    return list(study.run(study.configurations(seeds=SEEDS)))


@pytest.fixture
def trained(records, monkeypatch):
    """The command takes these runs in place of its own."""

    def run(configs):
        assert configs == study.configurations(seeds=SEEDS)
        yield from records

    monkeypatch.setattr(study, "run", run)


def reproduce(emunum, *options):
    return emunum("reproduce", "regression", "--seeds", SEEDS, *options)


def test_the_tables_are_printed_with_the_verdict(emunum, trained):
    result = reproduce(emunum)
    assert result.code == 0
    assert "As published: only layer outputs and errors are rounded (policy output)" in result.out
    assert "The same rows with everything rounded (policy full)" in result.out
    assert "Deterministic rows that agree to every printed digit: 9 of 9." in " ".join(result.out.split())
    assert "[" in result.out  # the intervals are not taken for markup


def test_json_is_the_rows_and_nothing_else(emunum, trained, records):
    result = reproduce(emunum, "--json")
    rows = json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert rows == study.rows(records)
    assert len(rows) == 30
    assert [row["agrees"] for row in rows if row["policy"] == "output" and row["runs"] == 1] == [True] * 9


def test_csv_is_the_rows_and_nothing_else(emunum, trained, records):
    assert reproduce(emunum, "--csv").out == to_csv(study.rows(records))


def test_output_has_records_tables_and_figures(emunum, trained, records, folder):
    result = reproduce(emunum, "--csv", "--output", folder / "paper")
    written = {
        str(path.relative_to(folder / "paper")): path.read_bytes()
        for path in (folder / "paper").rglob("*")
        if path.is_file()
    }
    assert sorted(written) == [
        "figures/regression.png",
        "figures/regression.svg",
        "records/regression.jsonl",
        "tables/regression.csv",
        "tables/regression.md",
    ]
    assert written["tables/regression.csv"].decode() == result.out
    assert len(list(csv.DictReader(io.StringIO(result.out)))) == 30
    lines = written["records/regression.jsonl"].decode().splitlines()
    assert [json.loads(line) for line in lines] == records
    assert len(lines) == RUNS
    assert written["tables/regression.md"].decode().count("| toy |") == 10
    again = {name: content for name, content in written.items() if name.startswith("figures")}
    reproduce(emunum, "--csv", "--output", folder / "again")
    assert {name: (folder / "again" / name).read_bytes() for name in again} == again


def test_ctrl_c_is_exit_code_130(emunum, monkeypatch):
    def interrupted(configs):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(study, "run", interrupted)
    result = reproduce(emunum)
    assert (result.code, result.out) == (130, "")
    assert result.err.strip() == "emunum: stopped."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "--csv"], "--json and --csv are two forms of the same rows: give one of them."),
        (["--seeds", "1"], "Invalid value for '--seeds': 1 is not in the range x>=2."),
    ],
    ids=str,
)
def test_wrong_usage_is_one_line(emunum, words, message):
    assert emunum("reproduce", "regression", *words) == (2, "", f"emunum: {message}\n")


def test_output_below_a_file_is_refused_before_anything_is_trained(emunum, folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setattr(study, "run", lambda configs: pytest.fail("trained"))
    result = emunum("reproduce", "regression", "--output", folder / "file" / "below")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"emunum: Not a directory: {folder / 'file' / 'below'}")
    assert result.err.count("\n") == 1
