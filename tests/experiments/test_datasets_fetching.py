"""Fetching from a server on loopback: what arrives whole and right is kept, everything else is not."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from image_sets import IDX_ARCHIVES, IDX_PIXELS, idx_set, write
from numpy.testing import assert_array_equal

from emunum.experiments.datasets import fetching
from emunum.experiments.datasets.fetching import FetchError, fetch
from emunum.experiments.datasets.places import cache_folder
from emunum.experiments.datasets.reading import read

IMAGES = "train-images-idx3-ubyte.gz"
CONTENT = IDX_ARCHIVES[IMAGES]


class Server(ThreadingHTTPServer):
    """The first folder of a path says how its files are served; `seen` has each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, str | None]] = []
        self.stop_waiting = threading.Event()

    def mirror(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{way}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        _, way, name = self.path.split("/")
        wanted = self.headers.get("Range")
        self.server.seen.append((way, name, wanted))
        content, start = IDX_ARCHIVES[name], 0
        if way == "missing":
            return self.send_error(404)
        if way == "slow":
            self.server.stop_waiting.wait(10)
            return None
        if way == "moved":
            self.send_response(302)
            self.send_header("Location", f"/good/{name}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if way == "wrong":
            content = bytes(len(content))
        if way == "empty":
            content = b""
        if wanted and way != "whole":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = (start + len(content)) // 2 if way == "truncated" else len(content)
        if way == "stalling":
            end = len(content) // 2
        self.wfile.write(content[start:end])
        if way == "stalling":
            self.server.stop_waiting.wait(10)
        return None

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.stop_waiting.set()
        server.shutdown()


@pytest.fixture
def refusing() -> str:
    """The address of a port at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


def fetched(folder: Path, *mirrors: str, **options) -> list[Path]:
    return fetch(idx_set(mirrors), folder, **{"attempts": 1, "timeout_s": 5, "pause_s": 0} | options)


def names(folder: Path) -> set[str]:
    """Every file in a folder, but the empty ones that a killed process leaves under .fetching."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in paths if path.parent == folder or path.stat().st_size}


def check_all_there(folder: Path) -> None:
    assert names(folder) == set(IDX_ARCHIVES)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == IDX_ARCHIVES


# ----------------------------------------------------------------------------------------------------
# What succeeds
# ----------------------------------------------------------------------------------------------------


def test_the_files_arrive_and_can_be_read(server, tmp_path):
    paths = fetched(tmp_path, server.mirror("good"))
    assert paths == [tmp_path / name for name in IDX_ARCHIVES]
    check_all_there(tmp_path)
    assert_array_equal(read(idx_set(), tmp_path).pixels[:, 0], IDX_PIXELS)


def test_the_cache_is_where_files_go_and_are_read_from(server, tmp_path, monkeypatch):
    monkeypatch.setenv("EMUNUM_CACHE", str(tmp_path))
    monkeypatch.delenv("EMUNUM_DATA", raising=False)
    fetch(idx_set((server.mirror("good"),)))
    assert cache_folder("small_idx") == tmp_path / "data/small_idx"
    check_all_there(cache_folder("small_idx"))
    assert_array_equal(read(idx_set()).pixels[:, 0], IDX_PIXELS)


def test_what_is_there_already_is_not_fetched_again(server, tmp_path):
    write(tmp_path, IDX_ARCHIVES)
    fetched(tmp_path, server.mirror("good"))
    assert server.seen == []


def test_what_is_there_with_another_content_is_replaced(server, tmp_path):
    write(tmp_path, {IMAGES: b"half of it"})
    fetched(tmp_path, server.mirror("good"))
    check_all_there(tmp_path)


def test_a_redirection_is_followed(server, tmp_path):
    fetched(tmp_path, server.mirror("moved"))
    check_all_there(tmp_path)


@pytest.mark.parametrize("way", ["truncated", "wrong", "empty", "missing", "slow"])
def test_the_second_mirror_is_asked_after_the_first_fails(server, tmp_path, way):
    fetched(tmp_path, server.mirror(way), server.mirror("good"), timeout_s=0.2)
    check_all_there(tmp_path)
    assert [seen[0] for seen in server.seen] == [way, "good"] * 4


def test_the_second_mirror_is_asked_after_the_first_refuses(server, refusing, tmp_path):
    fetched(tmp_path, refusing, server.mirror("good"))
    check_all_there(tmp_path)


def test_mirrors_are_asked_again_after_all_have_failed(server, tmp_path):
    with pytest.raises(FetchError):
        fetched(tmp_path, server.mirror("missing"), server.mirror("wrong"), attempts=3)
    assert [seen[0] for seen in server.seen] == ["missing", "wrong"] * 3


# ----------------------------------------------------------------------------------------------------
# What fails
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("truncated", "broke off"),
        ("wrong", "its content has not the published MD5"),
        ("missing", "404 Client Error"),
        ("slow", "timed out"),
    ],
)
def test_a_failure_is_one_line_with_the_mirror_the_reason_and_the_remedy(server, tmp_path, way, reason):
    mirror = server.mirror(way)
    with pytest.raises(FetchError) as error:
        fetched(tmp_path, mirror, timeout_s=0.2)
    message = str(error.value)
    assert message.startswith(f"{IMAGES} of small_idx cannot be fetched. Tried: {mirror} ({reason}")
    assert message.endswith("copy the file from elsewhere and name its folder with --data-dir.")
    assert "\n" not in message
    assert IMAGES not in names(tmp_path)


def test_a_server_that_refuses_is_named(refusing, tmp_path):
    with pytest.raises(
        FetchError, match=rf"Tried: {refusing} \(refused the connection\)\. Check the network"
    ):
        fetched(tmp_path, refusing)
    assert names(tmp_path) == set()


def test_every_mirror_is_named(server, refusing, tmp_path):
    with pytest.raises(FetchError) as error:
        fetched(tmp_path, refusing, server.mirror("missing"))
    assert f"Tried: {refusing} (refused the connection); {server.mirror('missing')} (404" in str(error.value)


def test_wrong_content_is_kept_nowhere(server, tmp_path):
    with pytest.raises(FetchError):
        fetched(tmp_path, server.mirror("wrong"))
    assert names(tmp_path) == set()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_disk_that_fails_is_reported_as_such_and_no_other_mirror_is_asked(
    server, tmp_path, monkeypatch, number
):
    def replace(self: Path, target: str) -> None:
        raise OSError(number, "the disk says no", str(self))

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(OSError, match="the disk says no") as error:
        fetched(tmp_path, server.mirror("good"), server.mirror("whole"), attempts=3)
    assert (error.value.errno, error.value.filename) == (number, str(tmp_path / ".fetching" / IMAGES))
    assert len(server.seen) == 1
    assert not (tmp_path / IMAGES).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are POSIX's")
def test_a_disk_that_is_full_is_reported_and_the_rest_fetched_later(server, tmp_path):
    script = (
        "import resource, signal, sys; from pathlib import Path; from image_sets import idx_set\n"
        "from emunum.experiments.datasets.fetching import fetch\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "try: fetch(idx_set((sys.argv[1],)), Path(sys.argv[2]))\n"
        "except OSError as error: print(error.errno)"
    )
    command = [sys.executable, "-c", script, server.mirror("good"), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == f"{errno.EFBIG}\n"
    assert names(tmp_path) <= {PARTIAL}
    fetched(tmp_path, server.mirror("good"))
    check_all_there(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    write(tmp_path, {"file": b""})
    with pytest.raises(OSError, match="file"):
        fetched(tmp_path / "file")


# ----------------------------------------------------------------------------------------------------
# What broke off, and what was killed
# ----------------------------------------------------------------------------------------------------

PARTIAL = f"{IMAGES}.partial"


def test_a_transfer_that_broke_off_is_continued(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_CHUNK_BYTES", 1)  # what is less than a chunk is lost
    with pytest.raises(FetchError):
        fetched(tmp_path, server.mirror("truncated"))
    half = len(CONTENT) // 2
    assert names(tmp_path) == {PARTIAL}
    assert (tmp_path / ".fetching" / PARTIAL).read_bytes() == CONTENT[:half]
    server.seen.clear()
    fetched(tmp_path, server.mirror("moved"))
    check_all_there(tmp_path)
    assert server.seen[:2] == [("moved", IMAGES, f"bytes={half}-"), ("good", IMAGES, f"bytes={half}-")]


def test_a_server_that_cannot_continue_begins_anew(server, tmp_path):
    write(tmp_path / ".fetching", {PARTIAL: CONTENT[:10]})
    fetched(tmp_path, server.mirror("whole"))
    check_all_there(tmp_path)


def test_a_whole_leftover_is_begun_anew(server, tmp_path):
    write(tmp_path / ".fetching", {PARTIAL: CONTENT})
    fetched(tmp_path, server.mirror("good"), attempts=2)
    check_all_there(tmp_path)


def test_a_leftover_of_something_else_is_found_out_by_its_checksum(server, tmp_path):
    write(tmp_path / ".fetching", {PARTIAL: b"something else"})
    fetched(tmp_path, server.mirror("good"), attempts=2)
    check_all_there(tmp_path)
    assert server.seen[0][2] == "bytes=14-"
    assert server.seen[1][2] is None


def test_a_killed_process_leaves_nothing_half_written_and_is_continued(server, tmp_path):
    script = (
        "import sys; from pathlib import Path; from image_sets import idx_set\n"
        "from emunum.experiments.datasets import fetching\n"
        "fetching._CHUNK_BYTES = 1\n"
        "fetching.fetch(idx_set((sys.argv[1],)), Path(sys.argv[2]))"
    )
    partial = tmp_path / ".fetching" / PARTIAL
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, server.mirror("stalling"), str(tmp_path)]
    half = len(CONTENT) // 2
    with subprocess.Popen(command, env=environment) as child:
        for _ in range(3000):
            if partial.exists() and partial.stat().st_size == half:
                break
            time.sleep(0.01)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert names(tmp_path) == {PARTIAL}
    assert partial.read_bytes() == CONTENT[:half]
    server.seen.clear()
    fetched(tmp_path, server.mirror("good"))
    assert server.seen[0] == ("good", IMAGES, f"bytes={half}-")
    check_all_there(tmp_path)


def test_progress_is_told_of_every_file(server, tmp_path):
    class Bar:
        def __init__(self, url: str) -> None:
            self.url, self.total, self.done, self.closed = url, 0, 0, False
            bars.append(self)

        def update(self, n: int) -> None:
            self.done += n

        def reset(self) -> None:
            self.done = 0

        def close(self) -> None:
            self.closed = True

    bars: list[Bar] = []
    fetched(tmp_path, server.mirror("good"), progress=Bar)
    assert [bar.url for bar in bars] == [server.mirror("good") + name for name in IDX_ARCHIVES]
    assert [bar.done for bar in bars] == [bar.total for bar in bars] == [*map(len, IDX_ARCHIVES.values())]
    assert all(bar.closed for bar in bars)


def test_nothing_is_printed_and_no_log_is_left_changed(server, tmp_path, capfd):
    import pooch

    before = pooch.get_logger().level
    fetched(tmp_path, server.mirror("good"))
    assert capfd.readouterr() == ("", "")
    assert pooch.get_logger().level == before
