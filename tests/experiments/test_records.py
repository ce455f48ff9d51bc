"""A run's directory: complete or absent, whatever happens while it is written."""

import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from oracles import assert_same

from emunum.experiments.config import RunConfig
from emunum.experiments.records import RunDirectory, read_record, write_atomically
from emunum.experiments.run import execute
from emunum.experiments.training.state import EpochRecord
from emunum.experiments.training.train import Training

TOY = RunConfig(dataset="toy", epochs=3, batch_size=3, format="e4m3")
OTHER = RunConfig(dataset="toy", epochs=4, batch_size=3, format="e4m3")
FILES = ["config.json", "history.jsonl", "record.json", "weights.npz"]


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def run(path, config=TOY):
    return execute(config, directory=RunDirectory(path.parent, path.name, config))


def a_dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# ----------------------------------------------------------------------------------------------------
# One file
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["text é\n", b"\x00\xff", "", b""], ids=repr)
def test_a_file_is_written_whole_and_alone(tmp_path, content):
    path = tmp_path / "file"
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["file"]


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old and long")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def fail(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("old", ["old", None])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, call, old):
    path = tmp_path / "file"
    if old:
        path.write_text(old)
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert names(tmp_path) == (["file"] if old else [])
    if old:
        assert path.read_text() == old


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    called = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda *args: called.append("fsync") or fsync(*args))
    monkeypatch.setattr(os, "replace", lambda *args: called.append("replace") or replace(*args))
    write_atomically(tmp_path / "file", "new")
    assert called == ["fsync", "replace", "fsync"]  # the file, its name, the folder that holds the name


def test_a_file_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", "new")


# ----------------------------------------------------------------------------------------------------
# Records
# ----------------------------------------------------------------------------------------------------


def test_a_record_comes_back(tmp_path):
    assert run(tmp_path / "run") == read_record(tmp_path / "run")


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"record\.json"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"schema_version": 1, "run',
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'{"schema_version": 2}',
        b"\xff\xfe",
    ],
    ids=repr,
)
def test_what_is_no_record_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_record(tmp_path)
    assert str(error.value).startswith(f"{path} is no record")


# ----------------------------------------------------------------------------------------------------
# The directory
# ----------------------------------------------------------------------------------------------------


def test_a_finished_run_has_its_four_files(tmp_path):
    run(tmp_path / "deep" / "run")
    assert names(tmp_path / "deep" / "run") == FILES


def test_the_configuration_is_there_before_the_first_step(tmp_path):
    RunDirectory(tmp_path, "run", TOY)
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == TOY.as_dict()
    assert RunConfig(**json.loads((tmp_path / "run" / "config.json").read_text())) == TOY
    assert not (tmp_path / "run" / "record.json").exists()


def test_the_weights_are_the_master_weights_without_pickles(tmp_path):
    config = RunConfig(dataset="toy", epochs=2, model="mlp", hidden=(3,))
    run(tmp_path / "run", config)
    training = Training(config)
    for _ in training.epochs():
        pass
    with np.load(tmp_path / "run" / "weights.npz", allow_pickle=False) as archive:
        assert list(archive) == list(training.named_weights())
        for name, w in training.named_weights().items():
            assert archive[name].dtype == np.float32
            assert_same(archive[name], w)


def test_the_history_has_a_line_of_json_for_every_epoch(tmp_path):
    epochs = []
    execute(TOY, directory=RunDirectory(tmp_path, "run", TOY), on_epoch=epochs.append)
    lines = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "epoch": epoch.epoch,
            "step_loss": list(epoch.step_loss),
            "wall_s": epoch.wall_s,
            "samples_per_s": 8 / epoch.wall_s,
            "lr": 0.01,
            "loss_scale": 1.0,
            "skipped_steps": 0,
            "validation_loss": None,
            "validation_accuracy": None,
            "complete": True,
            "train_loss": sum(epoch.step_loss) / 3,
        }
        for epoch in epochs
    ]
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


def test_a_history_line_is_there_as_soon_as_its_epoch_is(tmp_path):
    directory = RunDirectory(tmp_path, "run", TOY)
    directory.append(EpochRecord(epoch=1, step_loss=(0.5, math.nan), wall_s=0.1))
    [partial] = (tmp_path / "run").glob(".history.jsonl.*.partial")
    line = json.loads(partial.read_text())
    assert (line["step_loss"], line["train_loss"]) == ([0.5, None], 0.5)


def test_the_record_is_written_last(tmp_path, monkeypatch):
    placed, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: placed.append(Path(b).name) or replace(a, b))
    run(tmp_path / "run")
    assert placed == ["config.json", "weights.npz", "history.jsonl", "record.json"]


def test_a_directory_of_another_configuration_is_refused_and_left_alone(tmp_path):
    run(tmp_path / "run")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in FILES}
    with pytest.raises(FileExistsError) as error:
        RunDirectory(tmp_path, "run", OTHER)
    assert str(error.value) == (
        f"{tmp_path / 'run'} holds a run of another configuration. Choose another --name or --output."
    )
    assert {name: (tmp_path / "run" / name).read_bytes() for name in names(tmp_path / "run")} == before


def test_repeating_a_run_keeps_its_record_until_the_new_one_is_complete(tmp_path):
    first = run(tmp_path / "run")
    history = (tmp_path / "run" / "history.jsonl").read_text()

    def look(epoch):
        assert read_record(tmp_path / "run") == first
        assert (tmp_path / "run" / "history.jsonl").read_text() == history

    second = execute(TOY, directory=RunDirectory(tmp_path, "run", TOY), on_epoch=look)
    assert read_record(tmp_path / "run") == second
    assert second["weights_sha256"] == first["weights_sha256"]
    assert names(tmp_path / "run") == FILES


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_disk_that_fills_up_at_the_end_leaves_the_earlier_record(tmp_path, monkeypatch, call, count):
    first = run(tmp_path / "run")
    directory = RunDirectory(tmp_path, "run", TOY)
    real, calls = getattr(os, call), []

    def failing(*args):
        calls.append(args)
        return fail() if len(calls) > count else real(*args)

    monkeypatch.setattr(os, call, failing)
    with pytest.raises(OSError, match="No space left"):
        execute(TOY, directory=directory)
    monkeypatch.undo()
    assert read_record(tmp_path / "run") == first
    assert run(tmp_path / "run")["weights_sha256"] == first["weights_sha256"]
    assert names(tmp_path / "run") == FILES


def test_files_of_dead_processes_are_removed_and_those_of_live_ones_kept(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    dead, live, own = a_dead_process(), os.getppid(), os.getpid()
    for process in (dead, live, own):
        (path / f".history.jsonl.{process}.partial").write_text("half a li")
        (path / f".weights.npz.{process}.partial").write_bytes(b"PK\x03")
    (path / ".weights.npz.unknown.partial").write_text("whose?")
    (path / "notes.partial").write_text("the user's")
    RunDirectory(tmp_path, "run", TOY)
    assert names(path) == sorted(
        [
            f".history.jsonl.{live}.partial",
            f".weights.npz.{live}.partial",
            f".history.jsonl.{own}.partial",  # the new run's
            "config.json",
            "notes.partial",
        ]
    )
    assert (path / f".history.jsonl.{own}.partial").read_text() == ""


def test_a_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(FileExistsError):
        RunDirectory(tmp_path, "run", TOY)
    with pytest.raises(NotADirectoryError):
        RunDirectory(tmp_path / "run", "below", TOY)


# ----------------------------------------------------------------------------------------------------
# SIGKILL
# ----------------------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")


def killed_at(stage, path):
    """Run in a forked process that SIGKILLs itself at its `stage`-th flush or rename; whether it did."""
    child = os.fork()
    if child == 0:
        calls = []

        def lethal(real):
            def call(*args):
                calls.append(args)
                if len(calls) == stage:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args)

            return call

        os.fsync, os.replace = lethal(os.fsync), lethal(os.replace)
        try:
            run(path)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


STAGES = 12
"""Of writing: for each of the four files a flush, a rename and a flush of the folder."""


@needs_fork
@pytest.mark.parametrize("repeated", [False, True], ids=["first run", "repeated run"])
def test_a_kill_at_any_stage_of_writing_confuses_nobody(tmp_path, repeated):
    undisturbed = execute(TOY)["weights_sha256"]
    stages = 0
    for stage in range(1, 20):
        path = tmp_path / f"run{stage}"
        first = run(path) if repeated else None
        if not killed_at(stage, path):
            break
        stages += 1
        if stage == STAGES:  # the record has its name, and the folder is flushed
            assert read_record(path)["weights_sha256"] == undisturbed
        elif repeated:
            assert read_record(path) == first
        else:
            assert not (path / "record.json").exists()
        for entry in path.glob("[!.]*"):
            content = entry.read_bytes()
            if entry.suffix == ".json":
                json.loads(content)
            elif entry.suffix == ".jsonl":
                assert len([json.loads(line) for line in content.splitlines()]) == TOY.epochs
            else:
                assert set(np.load(entry, allow_pickle=False)) == {"0.w", "0.b"}
        assert run(path)["weights_sha256"] == undisturbed
        assert names(path) == FILES
    assert stages == STAGES


LONG = RunConfig(dataset="toy", epochs=600, format="e4m3", rounding="stochastic")
COMMAND = [
    *(sys.executable, "-m", "emunum_cli", "run", "--dataset", "toy", "--epochs", "600", "--format", "e4m3"),
    *("--rounding", "stochastic", "--quiet", "--name", "run", "--output"),
]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_kills_at_random_moments_leave_nothing_that_a_rerun_chokes_on(tmp_path):
    undisturbed = execute(LONG)
    whole = undisturbed["wall_s"]
    path, moments = tmp_path / "run", random.Random(20)
    killed = 0
    for _ in range(5):
        process = subprocess.Popen([*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and not list(path.glob(f".history.jsonl.{process.pid}.partial")):
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 1.2 * whole))
        process.kill()
        _, complaints = process.communicate()
        assert complaints == b""
        killed += process.returncode == -signal.SIGKILL
        if (path / "record.json").exists():
            assert read_record(path)["weights_sha256"] == undisturbed["weights_sha256"]
        assert json.loads((path / "config.json").read_text()) == LONG.as_dict()
    assert killed >= 1
    assert run(path, LONG)["weights_sha256"] == undisturbed["weights_sha256"]
    assert names(path) == FILES
    assert len((path / "history.jsonl").read_text().splitlines()) == LONG.epochs
