"""emunum verify: the same bits again, or what differs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]

TOY = ["run", "--dataset", "toy", "--epochs", "2", "--quiet"]


@pytest.fixture
def runs(emunum: Command, folder: Path) -> Path:
    """Three finished runs, one of which diverged."""
    emunum(*TOY, "--format", "e4m3", "--rounding", "stochastic", "--name", "a")
    emunum(*TOY, "--validation-split", "0.25", "--optimizer", "adam", "--name", "b")
    emunum("run", "--dataset", "toy", "--learning-rate", "1e30", "--name", "c", "--quiet")
    return folder / "runs"


def change(path: Path, **values: Any) -> None:
    """Replace values of a record; None removes the key."""
    record = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not ...}))


def test_records_that_come_out_again_are_the_same(emunum: Command, runs: Path) -> None:
    files = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    result = emunum("verify", "runs/a", "runs/b/record.json", "runs/c")
    assert (result.code, result.err) == (0, "")
    rows = [re.findall(r"[^\s│┃|]+", line) for line in result.out.splitlines()]
    assert [row for row in rows if row and row[0].startswith("runs")] == [
        ["runs/a", "same", "same", "same"],
        ["runs/b/record.json", "same", "same", "same"],
        ["runs/c", "same", "same", "same"],
    ]
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == files


def test_the_lines_of_a_sweep_are_records_too(emunum: Command, folder: Path) -> None:
    sweep = ("--format", "e4m3,e5m2", "--epochs", "2", "--jobs", "1", "--output", "many", "--quiet")
    assert emunum("sweep", "--dataset", "toy", *sweep).code == 0
    result = emunum("verify", "many", "--json")
    assert result.code == 0
    found = [(verdict["record"], verdict["same"]) for verdict in json.loads(result.out)]
    assert found == [("many/records.jsonl:1", True), ("many/records.jsonl:2", True)]
    first, *rest = (folder / "many" / "records.jsonl").read_text().splitlines()
    wrong = json.dumps(json.loads(first) | {"status": "failed"})
    (folder / "many" / "records.jsonl").write_text("\n".join([wrong, *rest]) + "\n")
    result = emunum("verify", "many")
    assert result.code == 1
    assert "many/records.jsonl:1 is the record of a run that failed. Repeat it: emunum sweep." in result.err


def test_lines_of_a_file_are_records_too(emunum: Command, runs: Path, folder: Path) -> None:
    lines = [json.dumps(json.loads((runs / name / "record.json").read_text())) for name in "ab"]
    (folder / "all.jsonl").write_text("\n".join(lines) + "\n")
    result = emunum("verify", "all.jsonl", "--json")
    assert result.code == 0
    assert [(entry["record"], entry["same"], entry["differences"]) for entry in json.loads(result.out)] == [
        ("all.jsonl:1", True, {}),
        ("all.jsonl:2", True, {}),
    ]


def test_other_weights_and_metrics_are_told_with_exit_code_1(emunum: Command, runs: Path) -> None:
    digest = json.loads((runs / "a/record.json").read_text())["weights_sha256"]
    change(runs / "a/record.json", weights_sha256="0" * 64)
    change(runs / "b/record.json", test_mse=0.125)
    result = emunum("verify", "runs/a", "runs/b", "--threads", 1)
    assert result.code == 1
    text = re.sub(r"[\s│┃]+", " ", result.out)
    assert "runs/a different same same" in text
    assert re.search(r"runs/b same same different: test_mse: 0\.125 recorded, \S+ now", text)
    verdicts = json.loads(emunum("verify", "runs/a", "runs/b", "--json").out)
    assert verdicts[0]["differences"] == {"weights_sha256": {"recorded": "0" * 64, "again": digest}}
    assert list(verdicts[1]["differences"]) == ["test_mse"]
    assert emunum("verify", "runs/a", "--quiet") == (1, "", "")


def test_a_record_without_later_keys_is_compared_in_those_it_has(emunum: Command, runs: Path) -> None:
    change(runs / "a/record.json", test_f1=..., test_loss=..., optimizer=..., resumed=..., weight_bytes=...)
    assert emunum("verify", "runs/a", "--quiet").code == 0


REFUSED = [
    ({"epochs": 3}, r"names the run \w{12}, but its options are those of \w{12}: it was changed"),
    (
        {"status": "interrupted"},
        r"is the record of a run that was stopped\. Finish it: emunum run --resume\.",
    ),
    ({"schema_version": 2}, r"is no record of schema version 1\."),
    ({"format": "e4m33"}, r"unknown format 'e4m33'"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=str)
def test_what_cannot_be_run_again_is_one_line(
    emunum: Command, runs: Path, values: dict[str, Any], message: str
) -> None:
    change(runs / "a/record.json", **values)
    result = emunum("verify", "runs/a")
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(rf"emunum: .*{message}.*\n", result.err)


def test_a_directory_without_a_record_is_one_line(emunum: Command, folder: Path) -> None:
    (folder / "empty").mkdir()
    result = emunum("verify", "empty")
    assert (result.code, result.err) == (1, "emunum: No such file or directory: empty/record.json\n")
    (folder / "file.json").write_text("{")
    assert re.fullmatch(r"emunum: file\.json is no record: .+\n", emunum("verify", "file.json").err)


def test_wrong_usage_is_exit_code_2(emunum: Command, runs: Path) -> None:
    for words in ([], ["nowhere"], ["runs/a", "--threads", "0"]):
        result = emunum("verify", *words)
        assert (result.code, result.out) == (2, "")
        assert result.err.count("\n") == 1
