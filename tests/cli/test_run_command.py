"""emunum run: what it prints, what it writes, how it refuses, how it is stopped."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emunum.experiments.config import RunConfig
from emunum.experiments.records import read_record
from emunum.experiments.training.train import Training

TOY = ["run", "--dataset", "toy", "--format", "e4m3", "--epochs", "3"]
QUIET = [*TOY, "--quiet", "--json"]
COMMAND = [sys.executable, "-m", "emunum_cli"]
FILES = ["config.json", "history.jsonl", "record.json", "weights.npz"]
DIGEST = re.compile("[0-9a-f]{64}")


def digest(**options):
    training = Training(RunConfig(**options))
    for _ in training.epochs():
        pass
    return training.weights_sha256


def strictly(text):
    """Parse JSON that has no NaN and no Inf."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


# ----------------------------------------------------------------------------------------------------
# What a run leaves
# ----------------------------------------------------------------------------------------------------


def test_a_run_prints_its_result_and_says_where_it_is_saved(emunum):
    result = emunum(*TOY, "--rounding", "stochastic", "--random-bits", 8)
    [path] = Path("runs").iterdir()
    record = read_record(path)
    assert result.code == 0
    for shown in (
        "toy in float8_e4m3fn (max 448)",
        "stochastic, 8 random bits, saturate",
        "full, linear",
        "completed, 3 of 3 epochs",
        f"{record['final_step_mse']:.6g}",
        f"{record['train_mse']:.6g}",
        f"{record['test_mse']:.6g}",
        f"{record['test_rmse']:.6g}",
        f"{record['wall_s']:.2f} s on {record['threads']} threads",
    ):
        assert shown in result.out


def test_the_printed_digest_and_path_are_whole_in_a_narrow_terminal(emunum):
    result = emunum(*TOY)
    [path] = Path("runs").iterdir()
    printed = re.sub(r"[\s│]", "", result.out)
    assert read_record(path)["weights_sha256"] in printed
    assert str(path) in printed


def test_a_run_that_goes_well_leaves_standard_error_empty_where_it_is_no_terminal(emunum):
    assert emunum(*TOY).err == ""


def test_the_directory_has_four_files_and_a_telling_name(emunum, folder):
    emunum(*TOY, "--quiet")
    run_id = RunConfig(dataset="toy", format="e4m3", epochs=3).run_id
    [path] = (folder / "runs").iterdir()
    assert path.name == f"toy-float8_e4m3fn-nearest_even-full-{run_id[:8]}"
    assert sorted(file.name for file in path.iterdir()) == FILES


def test_json_is_the_record_and_nothing_else(emunum, folder):
    result = emunum(*TOY, "--json", "--output", "here", "--name", "mine")
    record = strictly(result.out)
    assert record == read_record(folder / "here" / "mine")
    for key in ("dataset", "format", "rounding", "policy", "seed", "status", "final_step_mse", "train_mse"):
        assert key in record
    assert DIGEST.fullmatch(record["weights_sha256"])
    assert record["test_mse"] > 0
    assert record["wall_s"] > 0
    assert (record["format"], record["policy"], record["seed"]) == ("float8_e4m3fn", "full", 42)


def test_quiet_prints_nothing(emunum):
    assert emunum(*TOY, "--quiet") == (0, "", "")


def test_quiet_json_prints_json_only(emunum):
    result = emunum(*QUIET)
    assert strictly(result.out)["status"] == "completed"
    assert result.err == ""


def test_every_option_reaches_the_configuration(emunum):
    options = {
        "dataset": "boston",
        "format": "e5m2",
        "rounding": "stochastic",
        "overflow": "saturate",
        "random-bits": 8,
        "policy": "mixed",
        "accumulator": "e6m9",
        "model": "mlp",
        "hidden": "6,4",
        "epochs": 1,
        "learning-rate": 0.5,
        "momentum": 0.5,
        "weight-decay": 0.001,
        "batch-size": 64,
        "test-split": 0.25,
        "loss-scale": 1024.0,
        "validation-split": 0.125,
        "patience": 2,
        "schedule": "step:2:0.5",
        "loss": "mse",
        "init": "he",
        "seed": 7,
        "rounding-seed": 8,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    record = strictly(emunum("run", *words, "--no-shuffle", "--nesterov", "--quiet", "--json").out)
    config = RunConfig(
        **{name.replace("-", "_"): value for name, value in options.items()}
        | {"hidden": (6, 4), "shuffle": False, "nesterov": True}
    )
    assert {key: record[key] for key in config.as_dict()} == config.as_dict()


def test_the_defaults_of_the_command_are_those_of_a_configuration(emunum):
    record = strictly(emunum("run", "--epochs", 1, "--quiet", "--json").out)
    defaults = RunConfig(epochs=1).as_dict()
    assert {key: record[key] for key in defaults} == defaults


@pytest.mark.parametrize(
    ("precision", "name"), [("float8", "e5m2"), ("float16", "e6m9"), ("float32", "float32")]
)
def test_a_precision_of_the_published_study_is_a_format(emunum, precision, name):
    words = ["run", "--dataset", "toy", "--epochs", 3, "--quiet", "--json"]
    study = strictly(emunum(*words, "--precision", precision, "--name", "study").out)
    ours = strictly(emunum(*words, "--format", name, "--name", "ours").out)
    assert study["run_id"] == ours["run_id"]
    assert study["weights_sha256"] == ours["weights_sha256"]


def test_asking_twice_for_any_number_of_threads_gives_the_same_weights(emunum):
    words = ["run", "--format", "e4m3", "--rounding", "stochastic", "--epochs", 2, "--quiet", "--json"]
    wide = ["--model", "mlp", "--hidden", "128", "--batch-size", 512]
    found = [strictly(emunum(*words, *wide, "--threads", count).out) for count in (1, 2, 1)]
    assert [record["threads"] for record in found] == [1, 2, 1]
    assert len({record["weights_sha256"] for record in found}) == 1


def test_a_process_of_its_own_gives_the_same_weights(process):
    result = process(*QUIET, "--rounding", "stochastic")
    assert (result.code, result.err) == (0, "")
    expected = digest(dataset="toy", format="e4m3", epochs=3, rounding="stochastic")
    assert strictly(result.out)["weights_sha256"] == expected


def test_a_diverged_run_is_a_plain_sentence_and_no_failure(emunum):
    words = ["run", "--dataset", "toy", "--learning-rate", "1e30"]
    result = emunum(*words, "--json")
    record = strictly(result.out)
    assert (result.code, record["status"], record["final_step_mse"]) == (0, "diverged", None)
    assert " ".join(result.err.split()) == f"The run diverged: {record['reason']}. The record says so too."
    assert "diverged, " in emunum(*words).out
    assert emunum(*words, "--quiet") == (0, "", "")


def test_names_with_brackets_are_printed_as_they_are(emunum):
    result = emunum(*TOY, "--name", "a[b]c", "--output", "out[red]")
    assert result.code == 0
    assert "out[red]/a[b]c" in re.sub(r"[\s│]", "", result.out)


def test_a_terminal_sees_the_loss_while_the_run_goes_on(folder):
    ours, theirs = pytest.importorskip("pty", reason="terminals are POSIX's").openpty()
    words = ["run", "--dataset", "toy", "--epochs", "1000", "--learning-rate", "0.001"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=theirs) as child:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            shown += piece
        assert child.stdout is not None
        table = child.stdout.read().decode()
    os.close(ours)
    losses = re.findall(
        rb"epoch (\d+)/1000, step 1/1 loss ([0-9.e-]+), [0-9,]+ samples/s [0-9:]+ left",
        re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown),
    )
    assert child.returncode == 0
    assert len({loss for _, loss in losses}) > 1
    assert b"kernels compile at first use" in shown
    assert "completed, 1000 of 1000 epochs" in table


# ----------------------------------------------------------------------------------------------------
# Wrong usage: exit code 2, one line, nothing written
# ----------------------------------------------------------------------------------------------------

UNKNOWN_DATASET = (
    "unknown dataset 'nowhere'. "
    "Known: toy, diabetes, boston, digits, mnist, fashion_mnist, cifar10, cifar100."
)
RANGE = "is out of range: it must be"
WRONG = [
    (["--dataset", "nowhere"], UNKNOWN_DATASET),
    (
        ["--format", "e4m33"],
        "unknown format 'e4m33': eXmY needs X in 2..8 and Y in 0..23. Did you mean 'e4m3'? "
        "'emunum formats' lists them.",
    ),
    (["--format", ""], "unknown format ''. 'emunum formats' lists them."),
    (["--accumulator", "wide"], "unknown format 'wide'. 'emunum formats' lists them."),
    (["--learning-rate", "-1"], f"--learning-rate -1.0 {RANGE} a finite number above 0."),
    (["--learning-rate", "nan"], f"--learning-rate nan {RANGE} a finite number above 0."),
    (["--learning-rate", "inf"], f"--learning-rate inf {RANGE} a finite number above 0."),
    (["--learning-rate", "fast"], "Invalid value for '--learning-rate': 'fast' is not a valid float."),
    (["--momentum", "1"], f"--momentum 1.0 {RANGE} at least 0 and below 1."),
    (["--weight-decay", "-0.1"], f"--weight-decay -0.1 {RANGE} a finite number of at least 0."),
    (["--loss-scale", "0"], f"--loss-scale 0.0 {RANGE} a finite number above 0."),
    (["--epochs", "0"], f"--epochs 0 {RANGE} a whole number of at least 1."),
    (["--epochs", "1.5"], "Invalid value for '--epochs': '1.5' is not a valid integer."),
    (["--batch-size", "0"], f"--batch-size 0 {RANGE} a whole number of at least 1."),
    (["--test-split", "1.5"], f"--test-split 1.5 {RANGE} between 0 and 1."),
    (
        ["--rounding", "sideways"],
        "unknown rounding 'sideways'. Known: nearest, stochastic_a, nearest_even, nearest_away, toward_zero, "
        "up, down, to_odd, stochastic, stochastic_b, stochastic_c.",
    ),
    (
        ["--overflow", "wrap"],
        "overflow rule 'wrap' needs a fixed-point format, such as 'q4.4' or 'int8': float32 is none. "
        "Choose ieee, saturate, propagate or auto.",
    ),
    (
        ["--random-bits", "33"],
        "random_bits 33 is out of range: stochastic rounding takes 1 to 32 random bits.",
    ),
    (["--policy", "half"], "unknown policy 'half'. Known: full, mixed, output, input, hfp8, int8."),
    (
        ["--model", "cnm"],
        "unknown model 'cnm'. Did you mean 'cnn'? Known: linear, mlp, softmax_regression, cnn, lenet5, "
        "cifar_quick, resnet20.",
    ),
    (
        ["--model", "cnn"],
        "model cnn takes images (channels, height, width) of at least 4 x 4 pixels, not samples of shape "
        "(10,). What fits them: linear, mlp, softmax_regression.",
    ),
    (
        ["--loss", "crossentropy"],
        "unknown loss 'crossentropy'. Did you mean 'cross_entropy'? Known: auto, mse, cross_entropy.",
    ),
    (["--optimizer", "sgdd"], "unknown optimizer 'sgdd'. Did you mean 'sgd'? Known: sgd, adam."),
    (["--nesterov"], "--nesterov needs --momentum: choose one above 0, such as 0.9."),
    (["--loss-scale", "big"], "--loss-scale 'big' is neither a number nor 'dynamic'."),
    (["--validation-split", "1"], f"--validation-split 1.0 {RANGE} at least 0 and below 1."),
    (["--patience", "2"], "--patience 2 waits for a better validation loss: give --validation-split."),
    (["--augment"], "--augment moves images, and diabetes is a table: leave it out."),
    (["--checkpoint-steps", "0"], "--checkpoint-steps 0 is out of range: at least one is needed."),
    (["--checkpoint-minutes", "0"], "--checkpoint-minutes 0.0 is out of range: it must be above 0."),
    (["--init", "zero"], "unknown initialisation 'zero'. Did you mean 'zeros'? Known: torch, he, zeros."),
    (["--hidden", "8"], "hidden sizes (8,) need --model mlp: the linear model has no hidden layer."),
    (["--model", "mlp", "--hidden", "8,0"], "hidden sizes (8, 0): each must be at least 1."),
    (
        ["--model", "mlp", "--hidden", "8;4"],
        "Invalid value for '--hidden': '8;4' is no list of sizes, such as 64,32",
    ),
    (["--seed", "-1"], f"--seed -1 {RANGE} from 0 to 2**32 - 1."),
    (["--seed", "4294967296"], f"--seed 4294967296 {RANGE} from 0 to 2**32 - 1."),
    (["--rounding-seed", "-1"], f"--rounding-seed -1 {RANGE} from 0 to 2**32 - 1."),
    (["--threads", "0"], "--threads 0 is out of range: at least one is needed."),
    (["--name", ""], "--name '' is no directory name: --output says where it goes."),
    (["--name", "a/b"], "--name 'a/b' is no directory name: --output says where it goes."),
    (["--name", "."], "--name '.' is no directory name: --output says where it goes."),
    (["--name", ".."], "--name '..' is no directory name: --output says where it goes."),
    (
        ["--precision", "float64"],
        "Invalid value for '--precision': 'float64' is not one of 'float8', 'float16', 'float32'.",
    ),
    (
        ["--format", "e4m3", "--precision", "float8"],
        "--format and --precision name the same thing: give one of them.",
    ),
    (
        ["--format", "e8m0fnu"],
        "format float8_e8m0fnu cannot hold a network's input values: it is a scale without zero. "
        "Choose another --format.",
    ),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_usage_is_one_line_that_names_value_and_remedy(emunum, folder, words, message):
    assert emunum("run", *words) == (2, "", f"emunum: {message}\n")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--accumulator", "e8m0fnu"],
        ["--policy", "mixed", "--accumulator", "e8m0fnu"],
        ["--learning-rate", "1e39"],
        ["--learning-rate", "1e-60"],
        ["--loss-scale", "1e-300"],
        ["--weight-decay", "1e60"],
    ],
    ids=" ".join,
)
def test_what_the_arithmetic_cannot_do_is_wrong_usage_too(emunum, folder, words):
    result = emunum("run", "--dataset", "toy", *words)
    assert (result.code, result.out) == (2, "")
    assert re.fullmatch(rf"emunum: .*{re.escape(words[-2])}.*\n", result.err)
    assert list(folder.iterdir()) == []


def test_a_process_of_its_own_complains_in_one_line_without_a_traceback(process, folder):
    result = process("run", "--dataset", "nowhere")
    assert result == (2, "", f"emunum: {UNKNOWN_DATASET}\n")
    assert list(folder.iterdir()) == []


# ----------------------------------------------------------------------------------------------------
# Failures: exit code 1, one line
# ----------------------------------------------------------------------------------------------------


def test_a_split_that_leaves_nothing_to_train_on_is_one_line(emunum):
    result = emunum("run", "--dataset", "toy", "--test-split", "0.99")
    assert result.code in (1, 2)
    assert result.err == (
        "emunum: test_split 0.99 takes all 11 samples of 'toy' and leaves none to train on. "
        "Pass a smaller one.\n"
    )


def test_output_below_a_file_is_one_line(emunum, folder):
    (folder / "file").write_text("")
    result = emunum(*TOY, "--output", "file")
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(r"emunum: Not a directory: file/toy-[\w-]+\n", result.err)
    assert (folder / "file").read_text() == ""


def test_a_directory_of_another_run_is_one_line(emunum, folder):
    emunum(*TOY, "--name", "mine", "--quiet")
    before = (folder / "runs" / "mine" / "record.json").read_bytes()
    result = emunum(*TOY, "--name", "mine", "--seed", 1)
    assert result == (
        1,
        "",
        "emunum: runs/mine holds a run of another configuration. Choose another --name or --output.\n",
    )
    assert (folder / "runs" / "mine" / "record.json").read_bytes() == before


def test_a_name_too_long_for_the_file_system_is_one_line(emunum):
    result = emunum(*TOY, "--name", "x" * 300)
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(r"emunum: File name too long: .*\n", result.err)


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--json"]], ids=str)
def test_a_disk_that_fills_up_is_one_line_that_says_where(emunum, folder, monkeypatch, options):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = emunum(*TOY, "--name", "mine", *options)
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(r"emunum: No space left on device: runs/mine\S*\n", result.err)
    assert emunum(*TOY, "--name", "mine", "--quiet").code == 0


@pytest.fixture
def small_disk(folder):
    """A file system of eight pages."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "none", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no small disk: {error}")
    if done.returncode:
        pytest.skip(f"no small disk: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_a_full_disk_is_one_line_and_a_rerun_with_room_completes(emunum, small_disk, left):
    (small_disk / "ballast").write_bytes(b"x" * (8 - left) * 4096)
    result = emunum(*TOY, "--output", small_disk / "runs", "--quiet")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("emunum: No space left on device")
    assert result.err.count("\n") == 1
    assert not list(small_disk.glob("runs/*/record.json"))
    (small_disk / "ballast").unlink()
    assert emunum(*TOY, "--output", small_disk / "runs", "--quiet").code == 0


# ----------------------------------------------------------------------------------------------------
# Ctrl-C
# ----------------------------------------------------------------------------------------------------


def started(folder, *options):
    """A long run that has written its first line of history."""
    words = ["run", "--dataset", "toy", "--epochs", "1000000", "--output", ".", "--name", "long", *options]
    child = subprocess.Popen(
        [*COMMAND, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
    )
    history = folder / "long" / f".history.jsonl.{child.pid}.partial"
    for _ in range(3000):
        if child.poll() is not None or (history.exists() and history.stat().st_size):
            return child
        time.sleep(0.02)
    child.kill()
    raise AssertionError("the run did not start")


def test_ctrl_c_leaves_a_readable_record_and_exit_code_130(folder):
    child = started(folder, "--json")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    record = read_record(folder / "long")
    assert child.returncode == 130
    assert strictly(out) == record
    assert record["status"] == "interrupted"
    assert 0 < record["epochs_completed"] < 1_000_000
    assert record["reason"] == f"stopped by Ctrl-C in epoch {record['epochs_completed'] + 1} of 1000000"
    assert DIGEST.fullmatch(record["weights_sha256"])
    assert "Traceback" not in err
    assert "Interrupted: stopped by Ctrl-C" in err
    assert sorted(file.name for file in (folder / "long").iterdir()) == sorted(
        [*FILES, "checkpoint.npz", "options.json"]
    )
    lines = (folder / "long" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, len(lines) + 1))


def test_ctrl_c_outside_the_training_is_exit_code_130_too(emunum, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("emunum.experiments.run.execute", interrupt)
    result = emunum(*TOY, "--quiet")
    assert (result.code, result.out) == (130, "")
    assert result.err.strip() == "emunum: stopped."
