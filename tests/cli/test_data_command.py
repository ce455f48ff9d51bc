"""emunum data: list, fetch and info, in tables, as JSON, and in one line where they fail."""

import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from image_sets import IDX_ARCHIVES, IDX_FILES, IDX_LABELS, IDX_PIXELS, idx, idx_set, write
from numpy.testing import assert_array_equal

import emunum.experiments.datasets as package
from emunum.experiments.datasets import facts, load

NAMES = ("toy", "diabetes", "boston", "digits", "mnist", "fashion_mnist", "cifar10", "cifar100")


@pytest.fixture(autouse=True)
def nowhere(folder, monkeypatch):
    """No data but those of the test."""
    monkeypatch.setenv("EMUNUM_CACHE", str(folder / "cache"))
    monkeypatch.delenv("EMUNUM_DATA", raising=False)


@pytest.fixture
def small_set(monkeypatch):
    """A set of six images beside toy, in place of the published ones; call it with mirrors."""

    def put(*mirrors):
        published = {"small_idx": idx_set(mirrors)}
        for module in (package, facts):
            monkeypatch.setattr(module, "PUBLISHED", published)
            monkeypatch.setattr(module, "DATASETS", ("toy", "small_idx"))

    put()
    return put


def squeezed(text):
    return " ".join(text.replace("│", " ").split())


# ----------------------------------------------------------------------------------------------------
# list
# ----------------------------------------------------------------------------------------------------


def test_list_has_a_row_for_each_data_set(emunum):
    result = emunum("data", "list")
    assert (result.code, result.err) == (0, "")
    for name in NAMES:
        assert name in result.out
    text = squeezed(result.out)
    assert "digits handwritten digits, 8 x 8 pixels 1,797 a share 1 x 8 x 8 comes with scikit-learn" in text
    assert "70,000 10,000 1 x 28 x 28 nowhere: emunum data fetch mnist" in text


def test_list_as_json_says_what_is_known_without_reading(emunum):
    rows = json.loads(emunum("data", "list", "--json").out)
    assert [row["name"] for row in rows] == [*NAMES]
    keys = {"name", "title", "task", "samples", "n_test", "shape", "place", "source", "terms"}
    assert all(row.keys() == keys for row in rows)
    by_name = {row["name"]: row for row in rows}
    assert (by_name["cifar100"]["samples"], by_name["cifar100"]["shape"]) == (60_000, [3, 32, 32])
    assert [row["place"] is None for row in rows] == [False] * 4 + [True] * 4
    for name in NAMES[:4]:
        data, row = load(name), by_name[name]
        x = data.pixels if name == "digits" else data.features
        assert ([row["samples"], *row["shape"]], row["task"]) == ([*x.shape], data.task)


def test_list_finds_what_lies_in_a_folder(emunum, small_set, folder, monkeypatch):
    there = write(folder / "there/small_idx", IDX_FILES)
    expected = f"{there} (files)"
    for options in (["--data-dir", folder / "there"], ["--data-dir", there]):
        assert json.loads(emunum("data", "list", "--json", *options).out)[1]["place"] == expected
    monkeypatch.setenv("EMUNUM_DATA", str(there))
    assert json.loads(emunum("data", "list", "--json").out)[1]["place"] == expected


def test_list_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from emunum_cli import main\n"
        "try: main(['data', 'list', '--json'])\n"
        "except SystemExit: pass\n"
        "heavy = ('numba', 'sklearn', 'scipy', 'matplotlib', 'requests', 'PIL')\n"
        "print('loaded', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"


# ----------------------------------------------------------------------------------------------------
# info
# ----------------------------------------------------------------------------------------------------


def test_info_of_an_image_set_has_classes_counts_and_checksum(emunum, small_set, folder):
    write(folder / "data", IDX_FILES)
    result = emunum("data", "info", "small_idx", "--data-dir", "data", "--json")
    found = json.loads(result.out)
    assert (
        found["sha256"]
        == package.Images(
            name="same", pixels=IDX_PIXELS[:, None], labels=IDX_LABELS, classes=("", "", ""), origin="here"
        ).sha256
    )
    assert (found["samples"], found["n_test"], found["shape"]) == (6, 2, [1, 5, 3])
    assert (found["classes"], found["largest_pixel"]) == (["left", "middle", "right"], 255)
    assert_array_equal(found["train_class_counts"], [1, 2, 1])
    assert_array_equal(found["test_class_counts"], [1, 0, 1])
    assert_array_equal(found["class_counts"], [2, 2, 2])
    assert (found["note"], found["place"]) == (None, "data (files)")
    text = squeezed(emunum("data", "info", "small_idx", "--data-dir", "data").out)
    assert "6: 4 to train on, 2 to test on" in text
    assert "left 2, middle 2, right 2" in text
    assert "note" not in text


def test_info_shows_the_note_of_a_copy_that_differs(emunum, small_set, folder):
    other = idx(np.array([1, 1], np.uint8))
    write(folder / "data", IDX_FILES | {"t10k-labels-idx1-ubyte": other})
    result = emunum("data", "info", "small_idx", "--data-dir", "data")
    assert result.code == 0
    assert "note content differs from the published small_idx: t10k-labels-idx1-ubyte (MD5" in squeezed(
        result.out
    )


def test_info_of_a_table_has_its_columns(emunum):
    found = json.loads(emunum("data", "info", "boston", "--json").out)
    assert found["features"][:3] == ["CRIM", "ZN", "INDUS"]
    assert found["sha256"] == "a452688f7de3e21b6013d6c370ad53e04c3181c33ad9f0dd91b8b2f67317e787"
    text = squeezed(emunum("data", "info", "toy").out)
    assert "toy: the line y = 2x + 1" in text
    assert "11: no published test set" in text


def test_info_of_digits_counts_every_class(emunum):
    text = squeezed(emunum("data", "info", "digits").out)
    assert "whole numbers from 0 to 16" in text
    assert "0 178, 1 182, 2 177, 3 183, 4 181, 5 182, 6 181, 7 179, 8 174, 9 180" in text


def test_info_of_what_is_not_there_names_the_remedy(emunum):
    result = emunum("data", "info", "mnist")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("emunum: data set 'mnist' is not on this machine (searched: ")
    assert "Run 'emunum data fetch mnist', or name the folder" in result.err
    assert result.err.count("\n") == 1


def test_info_of_a_damaged_file_is_one_line(emunum, small_set, folder):
    write(folder / "data", IDX_FILES | {"t10k-labels-idx1-ubyte": b"not at all"})
    result = emunum("data", "info", "small_idx", "--data-dir", "data")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "emunum: data/t10k-labels-idx1-ubyte is damaged: its magic number is 0x6e6f7420 where 0x00000801 is "
        "expected. Restore it, or delete it and run 'emunum data fetch'.\n"
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["info", "mnits"], "unknown dataset 'mnits'. Did you mean 'mnist'? Known: toy, "),
        (["fetch", "mnits"], "unknown dataset 'mnits'. Did you mean 'mnist'? Known: toy, "),
        (["info", "mnist", "--data-dir", "none"], "--data-dir 'none' is no folder. Name the one"),
        (["list", "--data-dir", "none"], "--data-dir 'none' is no folder. Name the one"),
        (["info"], "Missing argument 'NAME'."),
        (["upload"], "No such command 'upload'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line(emunum, words, complaint):
    result = emunum("data", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"emunum: {complaint}")
    assert result.err.count("\n") == 1


# ----------------------------------------------------------------------------------------------------
# fetch
# ----------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path_factory):
    """The address of a server on loopback that has the files."""
    served = write(tmp_path_factory.mktemp("served"), IDX_ARCHIVES)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=served)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_fetch_puts_the_files_where_info_finds_them(emunum, small_set, mirror, folder):
    small_set(mirror)
    cache = folder / "cache/data/small_idx"
    result = emunum("data", "fetch", "small_idx")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [str(cache / name) for name in IDX_ARCHIVES]
    found = json.loads(emunum("data", "info", "small_idx", "--json").out)
    assert (found["place"], found["note"]) == (f"{cache} (files)", None)


def test_fetch_takes_another_folder(emunum, small_set, mirror, folder):
    small_set(mirror)
    assert emunum("data", "fetch", "small_idx", "--to", "here/below").code == 0
    assert {path.name for path in (folder / "here/below").iterdir()} == set(IDX_ARCHIVES)


@pytest.mark.parametrize("quiet", [False, True])
def test_fetch_shows_progress_on_a_terminal_unless_told_not_to(emunum, small_set, mirror, monkeypatch, quiet):
    small_set(mirror)
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take the captured stream for a terminal
    result = emunum("data", "fetch", "small_idx", *(["--quiet"] if quiet else []))
    assert result.code == 0
    assert ("train-images-idx3-ubyte.gz" in result.err) != quiet


def test_fetch_without_a_network_names_every_mirror_and_the_remedy(emunum, small_set):
    small_set("http://127.0.0.1:9/", "http://localhost:9/")  # the discard port: nobody listens
    result = emunum("data", "fetch", "small_idx")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("emunum: train-images-idx3-ubyte.gz of small_idx cannot be fetched. Tried: ")
    for words in ("http://127.0.0.1:9/ (refused", "http://localhost:9/ (refused", "--data-dir.\n"):
        assert words in result.err
    assert result.err.count("\n") == 1


def test_there_is_nothing_to_fetch_of_what_is_installed(emunum, folder):
    result = emunum("data", "fetch", "toy")
    assert result == (0, "toy comes with the installation: there is nothing to fetch.\n", "")
    assert [*folder.iterdir()] == []
