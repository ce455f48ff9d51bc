"""emunum run: orders, outer sums, int8 and events, as a person asks for them on the command line."""

import json
import re

import pytest

from emunum.experiments.config import RunConfig
from emunum.experiments.records import read_record
from emunum.experiments.training.train import Training

TOY = ["run", "--dataset", "toy", "--epochs", "2"]
QUIET = [*TOY, "--quiet", "--json"]


def digest(**options):
    training = Training(RunConfig(dataset="toy", epochs=2, **options))
    for _ in training.epochs():
        pass
    return training.weights_sha256


RUNS = [
    (["--format", "e5m2", "--order", "pairwise"], {"format": "e5m2", "order": "pairwise"}),
    (
        ["--format", "e4m3", "--order", "chunked:2", "--outer", "float16"],
        {"format": "e4m3", "order": "chunked:2", "outer": "float16"},
    ),
    (
        ["--format", "e5m2", "--policy", "mixed", "--order", "tensor_core:h100_fp8:128"],
        {"format": "e5m2", "policy": "mixed", "order": "tensor_core:h100_fp8:128"},
    ),
    (["--policy", "int8", "--rounding", "stochastic"], {"policy": "int8", "rounding": "stochastic"}),
    (
        ["--policy", "int8", "--scale", "power_of_two", "--per-channel", "--master", "int8"],
        {"policy": "int8", "scale": "power_of_two", "per_channel": True, "master": "int8"},
    ),
    (
        ["--policy", "int8", "--accumulator", "int12", "--overflow", "wrap"],
        {"policy": "int8", "accumulator": "int12", "overflow": "wrap"},
    ),
    (["--policy", "int8", "--per-channel", "--per-tensor"], {"policy": "int8"}),
]


@pytest.mark.parametrize(("words", "options"), RUNS, ids=[" ".join(words) for words, _ in RUNS])
def test_an_option_reaches_the_run_and_its_record(emunum, folder, words, options):
    result = emunum(*QUIET, *words, "--name", "a")
    assert (result.code, result.err) == (0, "")
    record = json.loads(result.out)
    assert record == read_record(folder / "runs" / "a")
    assert record["weights_sha256"] == digest(**options)
    settled = RunConfig(dataset="toy", epochs=2, **options).as_dict()
    assert {name: record[name] for name in settled} == settled
    assert json.loads((folder / "runs" / "a" / "config.json").read_text()) == settled


def test_the_table_of_a_run_says_its_accumulator_and_order(emunum):
    result = emunum(*TOY, "--format", "e4m3", "--accumulator", "float16", "--order", "kahan")
    assert result.code == 0
    assert "full, accumulator float16, order kahan" in re.sub(r"\s+", " ", result.out)


def test_accuracy_is_shown_for_digits_alone(emunum):
    assert "test accuracy" not in emunum(*TOY, "--format", "e4m3").out
    words = ["--dataset", "digits", "--policy", "int8", "--epochs", "1", "--learning-rate", "0.1"]
    result = emunum("run", *words)
    assert result.code == 0
    assert re.search(r"test accuracy\W+0\.\d+", result.out)
    assert "digits in int8 (max 127)" in result.out


# ----------------------------------------------------------------------------------------------------
# Events
# ----------------------------------------------------------------------------------------------------


def test_events_are_printed_as_a_table_and_kept_in_the_history(emunum, folder):
    words = [*TOY, "--format", "e4m3", "--name", "a"]
    silent = emunum(*words)
    result = emunum(*words, "--events")
    assert (silent.code, result.code) == (0, 0)
    for column in ("layer", "pass", "roundings", "overflow", "underflow", "absorbed", "rounded", "backward"):
        assert column in result.out
    assert "absorbed" not in silent.out
    rows = [re.findall(r"[^\s│┃|]+", line) for line in result.out.splitlines()]
    found = {
        (row[0], row[1]): row
        for row in rows
        if len(row) > 3 and row[1] in ("forward", "backward", "update", "initial")
    }
    assert set(found) == {
        ("0.Linear", "forward"),
        ("0.Linear", "backward"),
        ("0.Linear", "update"),
        ("0.Linear", "initial"),
        ("loss", "forward"),
        ("loss", "backward"),
    }
    # Two epochs of one step over 8 samples: 32 activations and 2 weights; 16 inputs.
    assert found["0.Linear", "forward"][2] == str(2 * (32 + 2))
    assert found["loss", "forward"][2] == str(2 * 16)
    history = [
        json.loads(line) for line in (folder / "runs" / "a" / "history.jsonl").read_text().splitlines()
    ]
    total = sum(row["roundings"] for line in history for row in line["events"])
    assert total == sum(int(row[2]) for row in found.values())


def test_events_leave_the_record_and_the_weights_as_they_are(emunum):
    words = [*QUIET, "--format", "e5m2", "--rounding", "stochastic"]
    silent, counted = emunum(*words), emunum(*words, "--events")
    assert (silent.code, counted.code, counted.err) == (0, 0, "")
    one, other = json.loads(silent.out), json.loads(counted.out)  # --json prints the record alone
    assert one["weights_sha256"] == other["weights_sha256"]
    assert set(one) == set(other)
    assert emunum(*TOY, "--quiet", "--events", "--format", "e5m2").out == ""


# ----------------------------------------------------------------------------------------------------
# Wrong values: exit code 2, one line
# ----------------------------------------------------------------------------------------------------

WRONG = [
    (["--order", "pairwse"], "unknown order 'pairwse'. Did you mean 'pairwise'?"),
    (["--order", "chunked:0"], "unknown order 'chunked:0'"),
    (["--policy", "mixed", "--order", "tensor_core:h200"], "unknown tensor core 'h200'"),
    (["--order", "tensor_core:h100"], "Choose --policy mixed."),
    (["--outer", "float32"], "only sums of chunks have one"),
    (["--order", "chunked:4", "--outer", "e4m33"], "unknown format 'e4m33'"),
    (["--scale", "power_of_two"], "--scale 'power_of_two' is for --policy int8"),
    (["--per-channel"], "--per-channel True is for --policy int8"),
    (["--master", "int8"], "--master 'int8' is for --policy int8"),
    (["--policy", "int8", "--scale", "absmx"], "unknown scale 'absmx'. Did you mean 'absmax'?"),
    (["--policy", "int8", "--master", "int4"], "unknown master 'int4'"),
    (["--policy", "int8", "--format", "e4m3"], "--format"),
    (["--policy", "int8", "--accumulator", "e4m3"], "--accumulator 'e4m3'"),
    (["--policy", "int8", "--accumulator", "int64"], "int2 to int32 exist"),
    (["--policy", "int8", "--order", "exact"], "--order and --outer are for float sums"),
    (["--policy", "int8", "--random-bits", "33"], "random_bits 33 is out of range"),
    (["--events", "yes"], "yes"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_values_are_one_line_and_leave_nothing(emunum, folder, words, message):
    result = emunum(*TOY, *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert result.err.startswith("emunum: ")
    assert message in result.err
    assert list(folder.iterdir()) == []


def test_the_help_names_every_new_option(emunum):
    text = emunum("run", "--help").out
    for option in ("--order", "--outer", "--scale", "--per-channel", "--master", "--events"):
        assert option in text
