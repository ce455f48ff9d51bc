"""emunum records: listing, filtering, sorting, grouping, exporting."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studies import failed, formats_and_roundings, record, write_sweep

Command = Callable[..., Any]

RUNS = [*formats_and_roundings(seeds=2), failed("no data [here]", format="e2m1", seed=0)]


@pytest.fixture
def sweep(folder: Path) -> Path:
    return write_sweep(folder / "sweep", RUNS)


def listed(text: str) -> list[list[str]]:
    """The cells of a printed table."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]


def test_records_are_listed_with_what_varies_and_what_came_out(emunum: Command, sweep: Path) -> None:
    result = emunum("records", "sweep")
    assert (result.code, result.err) == (0, "")
    header = next(line for line in result.out.splitlines() if "run id" in line)
    assert re.findall(r"┃ ([a-z0-9 ]*[a-z0-9])", header) == [
        "run id", "format", "rounding", "seed", "status", "test mse", "wall s", "weights sha256",
    ]  # fmt: skip
    lines = listed(result.out)
    assert [line[0] for line in lines] == [entry["run_id"] for entry in RUNS]
    assert lines[5][1:6] == ["float8_e4m3fn", "nearest_even", "1", "completed", "0.62"]
    assert lines[-1][1:6] == ["e2m1", "nearest_even", "0", "failed", "-"]


def test_where_sort_and_columns_choose(emunum: Command, sweep: Path) -> None:
    options = ["--where", "format != 'float32' and seed == 1", "--sort", "test_mse"]
    result = emunum("records", "sweep", *options, "--columns", "format,rounding,test_mse", "--csv")
    assert result.out.splitlines() == [
        "format,rounding,test_mse",
        "float8_e4m3fn,nearest_even,0.62",
        "float8_e4m3fn,stochastic,0.67",
        "float8_e5m2,nearest_even,0.73",
        "float8_e5m2,stochastic,0.78",
    ]
    turned = emunum("records", "sweep", *options, "--descending", "--columns", "test_mse", "--json")
    assert [entry["test_mse"] for entry in json.loads(turned.out)] == [0.78, 0.73, 0.67, 0.62]


def test_what_lacks_the_key_comes_last_either_way(emunum: Command, sweep: Path) -> None:
    for more in ([], ["--descending"]):
        result = emunum(
            "records", "sweep", "--sort", "test_mse", *more, "--columns", "status,test_mse", "--csv"
        )
        assert result.out.splitlines()[-1] == "failed,"


def test_json_and_csv_have_every_key_but_no_history(emunum: Command, sweep: Path) -> None:
    entries = json.loads(emunum("records", "sweep", "--json").out)
    assert entries[0]["test_mse"] == RUNS[0]["test_mse"]
    assert entries[0]["events_absorbed"] == 3
    assert "history" not in entries[0]
    rows = list(csv.DictReader(emunum("records", "sweep", "--csv").out.splitlines()))
    assert len(rows) == 13
    assert rows[-1]["reason"] == "no data [here]"
    assert rows[-1]["wall_s"] == ""
    assert rows[0]["events_absorbed"] == "3"


def test_brackets_in_records_are_printed_as_they_stand(emunum: Command, sweep: Path) -> None:
    result = emunum("records", "sweep", "--where", "status == 'failed'", "--columns", "reason")
    assert listed(result.out) == [["no data [here]"]]


def test_groups_have_means_intervals_and_differences(emunum: Command, sweep: Path) -> None:
    result = emunum("records", "sweep", "--group", "--where", "rounding == 'nearest'")
    assert listed(result.out)[0] == ["float32", "2", "0.505", "[0.441, 0.569]", "-", "-"]
    # differences 0.1 and 0.11: 0.105 -+ 12.706 * 0.00707 / sqrt(2) = 0.105 -+ 0.0635
    assert listed(result.out)[1][-2:] == ["+0.105", "[+0.041, +0.169]"]
    rows = json.loads(emunum("records", "sweep", "--group", "--json").out)
    assert [row["runs"] for row in rows] == [2, 2, 2, 2, 2, 2, 1]
    assert rows[2]["test_mse"] == pytest.approx(0.61)


def test_groups_are_compared_in_any_metric_with_any_baseline(emunum: Command, sweep: Path) -> None:
    options = ["--group", "--metric", "wall_s", "--baseline", "rounding == 'nearest'", "--csv"]
    rows = list(csv.DictReader(emunum("records", "sweep", *options).out.splitlines()))
    assert [row["wall_s_pairs"] for row in rows] == ["0", "2", "0", "2", "0", "2", "0"]


def test_a_folder_of_runs_and_a_sweep_can_be_listed_together(
    emunum: Command, sweep: Path, folder: Path
) -> None:
    (folder / "one").mkdir()
    entry = {key: value for key, value in record(0.25, dataset="toy").items() if key != "history"}
    (folder / "one" / "record.json").write_text(json.dumps(entry))
    result = emunum("records", "sweep", "one", "--columns", "dataset", "--csv")
    assert result.out.splitlines()[1:] == ["diabetes"] * 13 + ["toy"]


def test_nothing_that_meets_the_condition_is_no_fault(emunum: Command, sweep: Path) -> None:
    assert emunum("records", "sweep", "--where", "seed == 99", "--columns", "seed", "--csv") == (
        0,
        "seed\n",
        "",
    )
    assert json.loads(emunum("records", "sweep", "--where", "seed == 99", "--json").out) == []
    for more in ([], ["--group"]):
        assert emunum("records", "sweep", "--where", "seed == 99", *more).code == 0


def test_parquet_holds_every_key_with_its_type(emunum: Command, sweep: Path, folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert emunum("records", "sweep", "--parquet", "all.parquet") == (0, "all.parquet\n", "")
    table = parquet.read_table(folder / "all.parquet")
    assert table.num_rows == 13
    kinds = {
        name: str(table.schema.field(name).type)
        for name in ("seed", "test_mse", "shuffle", "hidden", "outer")
    }
    assert kinds == {
        "seed": "int64", "test_mse": "double", "shuffle": "bool", "hidden": "list<element: int64>",
        "outer": "string",
    }  # fmt: skip
    assert table.column("test_mse").to_pylist() == [entry.get("test_mse") for entry in RUNS]
    before = (folder / "all.parquet").read_bytes()
    assert emunum("records", "sweep", "--parquet", "all.parquet").code == 0
    assert (folder / "all.parquet").read_bytes() == before


def test_parquet_of_mixed_values_is_text(emunum: Command, folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_sweep(
        folder / "mixed", [record(0.5), record(0.5, format="e5m2", overflow="ieee", loss_scale="dynamic")]
    )
    assert emunum("records", "mixed", "--parquet", "x.parquet", "--columns", "loss_scale").code == 0
    assert parquet.read_table("x.parquet").to_pydict() == {"loss_scale": ["1.0", "dynamic"]}


def test_without_pyarrow_one_line_says_how_to_get_it(
    emunum: Command, sweep: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = "pyarrow, which writes Parquet, is not installed: pip install 'emunum[parquet]'."
    assert emunum("records", "sweep", "--parquet", "x.parquet") == (1, "", f"emunum: {message}\n")
    assert not (folder / "x.parquet").exists()


def test_the_schema_is_printed(emunum: Command) -> None:
    result = emunum("records", "--schema")
    assert (result.code, result.err) == (0, "")
    assert json.loads(result.out)["title"] == "Record of an emunum run"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--where", "sead == 3"], 2, r"unknown key 'sead'\. Did you mean 'seed'\? Known: .+"),
        (["--where", "exit()"], 2, r"--where cannot say 'exit\(\)': .+"),
        (["--where", "format < 3"], 2, r"--where compares 'float32' with 3: they are in no order\."),
        (["--columns", "format,wall"], 2, "unknown key 'wall'. .+"),
        (["--sort", "when"], 2, "unknown key 'when'. .+"),
        (["--csv", "--json"], 2, r"--csv and --json are two forms of the same records: give one of them\."),
        (["--metric", "test_mse"], 2, "--metric test_mse is for --group."),
        (["--baseline", "seed == 1"], 2, "--baseline seed == 1 is for --group."),
        (["--group", "--baseline", "seed == 1"], 2, "unknown key 'seed'. .+"),
        (["--group", "--metric", "accuracy"], 2, "unknown key 'accuracy'. .+"),
        (["--descending"], 2, "--descending is for --sort KEY."),
        (
            ["--group", "--where", "status == 'failed'"],
            1,
            "no run was completed: there is no result to compare.",
        ),
        (["nowhere"], 2, "Invalid value for 'DIR...': Path 'nowhere' does not exist."),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line(
    emunum: Command, sweep: Path, words: list[str], code: int, message: str
) -> None:
    result = emunum("records", "sweep", *words)
    assert (result.code, result.out) == (code, "")
    assert re.fullmatch(f"emunum: {message}\n", result.err)


def test_a_folder_without_records_is_one_line(emunum: Command, folder: Path) -> None:
    (folder / "empty").mkdir()
    result = emunum("records", "empty")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("emunum: empty holds no records. Give a sweep's directory,")
