"""The ledger of a sweep: whatever happens while a line is written, the lines before it are there."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emunum.experiments.sweeps import ledger
from emunum.experiments.sweeps.ledger import Ledger


def record(run_id, **fields):
    return {"schema_version": 1, "run_id": run_id, "status": "completed"} | fields


FIRST, SECOND = record("aaa", reason="é"), record("bbb", history=[{"epoch": 1, "train_loss": 0.5}])


def written(directory, *records):
    with Ledger(directory) as open_ledger:
        for entry in records:
            open_ledger.append(entry)
    return directory / "records.jsonl"


def test_what_is_written_comes_back_in_order(tmp_path):
    path = written(tmp_path / "deep", FIRST, SECOND)
    assert ledger.read(tmp_path / "deep") == [FIRST, SECOND]
    assert [json.loads(line) for line in path.read_text().splitlines()] == [FIRST, SECOND]


def test_a_directory_without_a_file_has_no_records(tmp_path):
    assert ledger.read(tmp_path) == ledger.read(tmp_path / "nowhere") == []


def test_a_later_line_stands_in_the_place_of_an_earlier_one(tmp_path):
    failed = record("aaa", status="failed")
    path = written(tmp_path, failed, SECOND, FIRST)
    assert ledger.read(tmp_path) == [FIRST, SECOND]
    assert len(path.read_text().splitlines()) == 3
    with Ledger(tmp_path) as again:
        assert again.records == {"aaa": FIRST, "bbb": SECOND}


def test_a_last_line_cut_at_any_byte_is_left_out_and_then_cut_away(tmp_path):
    path = written(tmp_path, FIRST, SECOND)
    content = path.read_bytes()
    begin = content.index(b"\n") + 1
    for end in range(begin, len(content)):
        path.write_bytes(content[:end])
        whole = end == len(content) - 1  # nothing but the end of the line is missing
        assert ledger.read(tmp_path) == ([FIRST, SECOND] if whole else [FIRST])
        assert path.read_bytes() == content[:end]  # reading changes nothing
        with Ledger(tmp_path) as mended:
            assert mended.dropped == (0 if whole else end - begin)
            assert list(mended.records) == (["aaa", "bbb"] if whole else ["aaa"])
            mended.append(SECOND)
        assert path.read_bytes() == content + (content[begin:] if whole else b"")


def test_zeros_that_a_power_failure_left_at_the_end_are_cut_away(tmp_path):
    path = written(tmp_path, FIRST)
    content = path.read_bytes()
    path.write_bytes(content + bytes(4096))
    assert ledger.read(tmp_path) == [FIRST]
    assert written(tmp_path, SECOND).read_bytes().startswith(content + b'{"schema')


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"schema_version": 1, "run_', ""),
        (b"", ""),
        (b"[]", "a record has a run_id"),
        (b'{"schema_version": 1}', "a record has a run_id"),
        (b'{"schema_version": 1, "run_id": 7}', "a record has a run_id"),
        (b'{"run_id": "ccc"}', "schema version None; this emunum reads up to 1"),
        (b'{"schema_version": 2, "run_id": "ccc"}', "schema version 2; this emunum reads up to 1"),
    ],
    ids=repr,
)
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path, line, complaint):
    path = written(tmp_path, FIRST, SECOND)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"\n" + second)
    for reading in (lambda: ledger.read(tmp_path), lambda: Ledger(tmp_path).__enter__()):
        with pytest.raises(ValueError) as error:
            reading()
        assert str(error.value).startswith(f"{path}, line 2 is no record: {complaint}")
    assert path.read_bytes() == first + line + b"\n" + second


@pytest.mark.parametrize("last", [b"a user's note\n", b'{"schema_version": 2, "run_id": "ccc"}\n', b"7"])
def test_a_last_line_that_nobody_cut_short_is_not_thrown_away(tmp_path, last):
    path = written(tmp_path, FIRST)
    with path.open("ab") as file:
        file.write(last)
    content = path.read_bytes()
    with pytest.raises(ValueError, match="line 2 is no record"), Ledger(tmp_path):
        pass
    assert path.read_bytes() == content


def test_a_disk_that_is_full_leaves_no_part_of_a_line(tmp_path, monkeypatch):
    path = written(tmp_path, FIRST)
    before, write = path.read_bytes(), os.write
    with Ledger(tmp_path) as full:

        def half(descriptor, data):
            if len(data) < 60:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, data[: len(data) // 2])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left") as error:
            full.append(record("ccc", reason="long" * 50))
        assert error.value.filename == str(path)
        assert path.read_bytes() == before
        assert list(full.records) == ["aaa"]
        monkeypatch.undo()
        full.append(SECOND)
    assert ledger.read(tmp_path) == [FIRST, SECOND]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_ctrl_c_leaves_a_line_whole_or_none_of_it(tmp_path, monkeypatch, call):
    real = getattr(os, call)

    def interrupted(descriptor, *data):
        real(descriptor, *(part[:30] for part in data))
        raise KeyboardInterrupt

    with Ledger(tmp_path) as open_ledger:
        open_ledger.append(FIRST)
        monkeypatch.setattr(os, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_ledger.append(SECOND)
        monkeypatch.undo()
        assert ledger.read(tmp_path) == ([FIRST] if call == "write" else [FIRST, SECOND])
        open_ledger.append(SECOND)
    assert ledger.read(tmp_path) == [FIRST, SECOND]


def test_every_line_is_flushed_to_the_disk(tmp_path, monkeypatch):
    flushed, fsync = [], os.fsync
    with Ledger(tmp_path) as open_ledger:
        path = tmp_path / "records.jsonl"
        monkeypatch.setattr(os, "fsync", lambda file: flushed.append(len(path.read_bytes())) or fsync(file))
        open_ledger.append(FIRST)
        one = path.stat().st_size
        open_ledger.append(SECOND)
    assert flushed == [one, path.stat().st_size]


def test_numbers_that_are_none_are_refused_before_anything_is_written(tmp_path):
    with Ledger(tmp_path) as open_ledger, pytest.raises(ValueError):
        open_ledger.append(record("aaa", test_mse=float("nan")))
    assert (tmp_path / "records.jsonl").read_bytes() == b""


@pytest.mark.skipif(ledger.fcntl is None, reason="this system has no flock")
def test_two_sweeps_do_not_write_to_one_directory(tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom emunum.experiments.sweeps.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])):\n    print('open', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(BlockingIOError) as error, Ledger(tmp_path):
            pass
        assert str(error.value) == (
            f"another sweep writes to {tmp_path / 'records.jsonl'}. Wait for it, stop it, or choose another "
            "--output."
        )
        assert ledger.read(tmp_path) == []  # a reader need not wait
    finally:
        other.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        other.communicate()
    assert written(tmp_path, FIRST) == Path(tmp_path / "records.jsonl")
