"""Published files read back: layouts, places, notes, and one clear line for what is damaged."""

import gzip
import io
import os
import tarfile
import tracemalloc
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from image_sets import (
    CIFAR_LABELS,
    CIFAR_PIXELS,
    IDX_FILES,
    IDX_LABELS,
    IDX_PIXELS,
    cifar_files,
    cifar_set,
    idx,
    idx_set,
    md5,
    tar_gz,
    write,
)
from numpy.testing import assert_array_equal

from emunum.experiments.datasets import PUBLISHED, load
from emunum.experiments.datasets.images import Augmentation
from emunum.experiments.datasets.parsing import parse_cifar, parse_idx, read_members, unzip
from emunum.experiments.datasets.places import Form, find
from emunum.experiments.datasets.reading import read

DATA = os.environ.get("EMUNUM_DATA")
README = files("emunum_data").joinpath("README.md").read_text(encoding="utf-8")
REMEDY = "Restore it, or delete it and run 'emunum data fetch'."


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
    """An empty cache, and no folder chosen."""
    monkeypatch.setenv("EMUNUM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EMUNUM_DATA", raising=False)


def refusal(function, *arguments):
    """The one line with which a call fails."""
    with pytest.raises(ValueError) as error:
        function(*arguments)
    message = str(error.value)
    assert "\n" not in message
    return message


# ----------------------------------------------------------------------------------------------------
# Bytes
# ----------------------------------------------------------------------------------------------------


def test_an_idx_file_by_hand_is_read():
    data = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 10, 11, 12, 20, 21, 22])
    assert parse_idx(data, (2, 3), "f").tolist() == [[10, 11, 12], [20, 21, 22]]


GOOD = idx(np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        (b"", "it has 0 bytes where its header alone takes 12"),
        (GOOD[:11], "it has 11 bytes where its header alone takes 12"),
        (idx(np.arange(6), 0x803), "its magic number is 0x00000803 where 0x00000802 is expected"),
        (b"\x89PNG" + GOOD[4:], "its magic number is 0x89504e47 where 0x00000802 is expected"),
        (b"\0\0\x0d\2" + GOOD[4:], "its magic number is 0x00000d02 where 0x00000802 is expected"),
        (idx(np.arange(9).reshape(3, 3)), "its header announces 3 x 3 values where 2 x 3 are expected"),
        (GOOD[:-1], "it has 17 bytes where 18 are expected"),
        (GOOD + b"!", "it has 19 bytes where 18 are expected"),
    ],
)
def test_a_damaged_idx_file_is_refused_in_one_line(data, finding):
    padded = data + bytes(8) if data[:4] == b"\0\0\x08\x03" else data  # long enough for its own header
    assert refusal(parse_idx, padded, (2, 3), "t10k") == f"t10k is damaged: {finding}. {REMEDY}"


def test_gzip_data_are_unpacked_to_a_limit():
    packed = gzip.compress(b"abc" * 100)
    assert unzip(packed, 300, "f") == b"abc" * 100
    assert unzip(packed, 1000, "f") == b"abc" * 100
    assert "f is damaged: it unpacks to more than the 299 bytes it can hold" in refusal(
        unzip, packed, 299, "f"
    )


def test_a_small_file_does_not_become_a_huge_one():
    packed = gzip.compress(bytes(1 << 26))
    assert len(packed) < 1 << 17
    tracemalloc.start()
    try:
        refusal(unzip, packed, 1000, "f")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (lambda packed: packed[:-1], "its gzip data break off after 300 bytes"),
        (lambda packed: packed[:12], "its gzip data break off after"),
        (lambda packed: packed[:-8] + b"\0" + packed[-7:], "it cannot be unpacked (Error -3"),
        (lambda packed: packed[:10] + b"\xff" * 5 + packed[15:], "it cannot be unpacked (Error -3"),
    ],
)
def test_damaged_gzip_data_are_refused(spoil, finding):
    assert f"f is damaged: {finding}" in refusal(unzip, spoil(gzip.compress(b"abc" * 100)), 300, "f")


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_the_last_label_of_a_cifar_record_counts(label_bytes):
    batch = cifar_files(label_bytes)["one.bin"]
    pixels, labels = parse_cifar(batch, 3, (3, 4, 2), label_bytes, 3, "f")
    assert_array_equal(pixels, CIFAR_PIXELS[:3])
    assert_array_equal(labels, CIFAR_LABELS[:3])


def test_a_damaged_cifar_batch_is_refused():
    batch = cifar_files()["one.bin"]
    expected = "where 75 (3 x 25) are expected"
    assert f"f is damaged: it has 74 bytes {expected}. " in refusal(
        parse_cifar, batch[:-1], 3, (3, 4, 2), 1, 3, "f"
    )
    assert f"it has 100 bytes {expected}" in refusal(parse_cifar, batch + batch[:25], 3, (3, 4, 2), 1, 3, "f")
    wrong = batch[:25] + b"\x03" + batch[26:]
    assert "label 1 is 3 where 0 to 2 are expected" in refusal(parse_cifar, wrong, 3, (3, 4, 2), 1, 3, "f")


# ----------------------------------------------------------------------------------------------------
# Archives
# ----------------------------------------------------------------------------------------------------


def hostile_tar():
    """Names that lead outside, a link and a folder under wanted names, then the files themselves."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("../escape", "/tmp/escape", "batches/../../escape"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("batches/a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        folder = tarfile.TarInfo("batches/b")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("./batches/a", "batches/b"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(name[-1].encode() * 4))
    return buffer.getvalue()


def test_only_the_wanted_files_of_an_archive_are_read_and_none_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read_members(hostile_tar(), {"batches/a": 4, "batches/b": 4}, "f")
    assert found == {"batches/a": b"aaaa", "batches/b": b"bbbb"}
    assert [*tmp_path.rglob("*")] == []
    assert not Path("/tmp/escape").exists()


def test_a_damaged_archive_is_refused():
    good, wanted = tar_gz({"a": bytes(5000), "b": b"bbbb"}), {"a": 5000, "b": 4}
    assert "f is damaged: it lacks c. " in refusal(read_members, good, wanted | {"c": 1}, "f")
    assert "its member b has 4 bytes where 5 are expected" in refusal(read_members, good, {"b": 5}, "f")
    for spoiled in (b"", b"no archive at all", good[: len(good) // 2], good[:-12], good[:20] + bytes(30)):
        assert "f is damaged: it " in refusal(read_members, spoiled, wanted, "f")


# ----------------------------------------------------------------------------------------------------
# Folders
# ----------------------------------------------------------------------------------------------------


def check_idx(images, note=None):
    assert_array_equal(images.pixels, IDX_PIXELS[:, None])
    assert_array_equal(images.labels, IDX_LABELS)
    assert (images.n_test, images.classes, images.note) == (2, ("left", "middle", "right"), note)
    assert images.augmentation is Augmentation.AFFINE


def test_idx_files_are_read_gzipped_or_not_from_wherever_they_are(tmp_path, monkeypatch):
    mixed = {
        name if "labels" in name else f"{name}.gz": content if "labels" in name else gzip.compress(content)
        for name, content in IDX_FILES.items()
    }
    there = write(tmp_path / "there", mixed)
    check_idx(read(idx_set(), there))
    check_idx(read(idx_set(), write(tmp_path / "sub/small_idx", mixed).parent))
    monkeypatch.setenv("EMUNUM_DATA", str(there))
    check_idx(read(idx_set()))
    check_idx(read(idx_set(), tmp_path / "sub"))  # the argument goes before the variable
    monkeypatch.setenv("EMUNUM_DATA", str(write(tmp_path / "empty", {})))
    write(tmp_path / "cache/data/small_idx", mixed)
    check_idx(read(idx_set()))


def test_the_subfolder_with_the_name_goes_before_the_folder_itself(tmp_path):
    write(tmp_path, IDX_FILES)
    own = write(tmp_path / "small_idx", IDX_FILES)
    assert find(idx_set(), tmp_path).folder == own


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_cifar_is_read_from_batches_and_from_the_archive(tmp_path, label_bytes):
    published, files = cifar_set(label_bytes), cifar_files(label_bytes)
    archive = tar_gz({f"batches/{name}": content for name, content in files.items()})
    places = [
        write(tmp_path / "loose", files),
        write(tmp_path / "nested/batches", files).parent,
        write(tmp_path / "archive", {"small.tar.gz": archive}),
    ]
    for folder, form in zip(places, (Form.FILES, Form.FILES, Form.ARCHIVE), strict=True):
        images = read(published, folder)
        assert_array_equal(images.pixels, CIFAR_PIXELS)
        assert_array_equal(images.labels, CIFAR_LABELS)
        assert (images.n_test, images.note) == (2, None)
        assert images.origin == f"{folder} ({form})"


def test_a_copy_with_other_content_is_used_with_a_note(tmp_path):
    labels = np.array([2, 0, 1, 0], np.uint8)
    other = idx(labels)
    folder = write(tmp_path, IDX_FILES | {"train-labels-idx1-ubyte": other})
    images = read(idx_set(), folder)
    assert_array_equal(images.labels[:4], labels)
    was = md5(IDX_FILES["train-labels-idx1-ubyte"])
    assert images.note == (
        "content differs from the published small_idx: "
        f"train-labels-idx1-ubyte (MD5 {md5(other)}, published {was})"
    )


def test_another_archive_with_the_same_content_needs_no_note(tmp_path):
    files = cifar_files()
    again = tar_gz({"readme": b"packed again"} | {f"batches/{name}": files[name] for name in files})
    assert md5(again) != cifar_set().archives[0].md5
    assert read(cifar_set(), write(tmp_path, {"small.tar.gz": again})).note is None


def test_the_right_archive_overrules_the_checksums_of_its_parts(tmp_path):
    published = cifar_set()
    published = replace(published, test=(replace(published.test[0], md5="0" * 32),))
    files = cifar_files()
    archive = tar_gz({f"batches/{name}": content for name, content in files.items()})
    assert read(published, write(tmp_path / "a", {"small.tar.gz": archive})).note is None
    note = read(published, write(tmp_path / "b", files)).note
    assert note == (
        f"content differs from the published small_cifar: test.bin (MD5 {md5(files['test.bin'])}, "
        f"published {'0' * 32})"
    )


def test_the_files_of_another_set_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "emunum.experiments.datasets.reading.PUBLISHED", {"other": replace(idx_set(), name="other")}
    )
    message = refusal(read, idx_set(), write(tmp_path, IDX_FILES))
    assert message.startswith(f"{tmp_path}/train-images-idx3-ubyte belongs to other, not to small_idx. Put")


def test_a_set_that_is_nowhere_is_refused_with_the_remedy(tmp_path):
    cache = tmp_path / "cache/data/small_idx"
    assert refusal(read, idx_set()) == (
        f"data set 'small_idx' is not on this machine (searched: {cache}). Run 'emunum data fetch "
        "small_idx', or name the folder that holds it with --data-dir or EMUNUM_DATA."
    )
    assert f"searched: {tmp_path}/small_idx, {tmp_path}, {cache}" in refusal(read, idx_set(), tmp_path)


def test_a_set_without_one_of_its_files_is_refused(tmp_path):
    files = dict(IDX_FILES)
    del files["t10k-labels-idx1-ubyte"]
    assert refusal(read, idx_set(), write(tmp_path, files)) == (
        f"data set 'small_idx' is incomplete: {tmp_path} has no t10k-labels-idx1-ubyte. Add it, or run "
        "'emunum data fetch small_idx'."
    )


def test_a_folder_that_does_not_exist_is_refused(tmp_path, monkeypatch):
    wrong = tmp_path / "nowhere"
    assert refusal(find, idx_set(), wrong) == (
        f"--data-dir '{wrong}' is no folder. Name the one that holds small_idx."
    )
    monkeypatch.setenv("EMUNUM_DATA", str(wrong))
    assert refusal(find, idx_set()).startswith(f"EMUNUM_DATA '{wrong}' is no folder.")


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("train-images-idx3-ubyte", IDX_FILES["train-images-idx3-ubyte"][:-1], "it has 75 bytes where 76"),
        (
            "train-images-idx3-ubyte",
            IDX_FILES["train-labels-idx1-ubyte"] * 3,
            "its magic number is 0x00000801",
        ),
        ("t10k-labels-idx1-ubyte", idx(np.array([1, 3])), "label 1 is 3 where 0 to 2 are expected"),
        ("t10k-labels-idx1-ubyte", idx(np.array([1, 2, 2])), "its header announces 3 values where 2 are"),
        ("t10k-labels-idx1-ubyte", gzip.compress(bytes(9999), mtime=0), "it unpacks to more than the"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, finding):
    message = refusal(read, idx_set(), write(tmp_path, IDX_FILES | {name: content}))
    assert message.startswith(f"{tmp_path}/{name} is damaged: {finding}")
    assert message.endswith(REMEDY)


# ----------------------------------------------------------------------------------------------------
# The JPEG copy
# ----------------------------------------------------------------------------------------------------


def jpeg_npz(folder, **changes):
    """Seven 4 x 2 images, each of one colour, at the best quality JPEG has."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    files = []
    for colour in 30 * np.arange(1, 8, dtype=np.uint8):
        buffer = io.BytesIO()
        plain = np.full((4, 2, 3), colour, np.uint8)
        image.fromarray(plain).save(buffer, "JPEG", quality=100, subsampling=0)
        files.append(buffer.getvalue())
    arrays = {
        "jpeg": np.frombuffer(b"".join(files), np.uint8),
        "offset": np.cumsum([0, *map(len, files)]),
        "label": CIFAR_LABELS,
        "n_train": np.array(5),
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "small-jpeg.npz", **{k: v for k, v in (arrays | changes).items() if v is not None})
    return folder


def test_a_jpeg_copy_is_read_with_a_note(tmp_path):
    images = read(cifar_set(), jpeg_npz(tmp_path))
    # Of one colour at quality 100 only the mean of a block is stored, in steps of 1/8: within 1 of it.
    colours = 30 * np.arange(1, 8)
    assert np.abs(images.pixels.astype(int) - colours[:, None, None, None]).max() <= 1
    assert_array_equal(images.labels, CIFAR_LABELS)
    assert images.n_test == 2
    assert images.note.startswith("JPEG copy of small_cifar: ")
    assert images.origin == f"{tmp_path} (JPEG copy)"


def test_published_files_go_before_a_jpeg_copy(tmp_path):
    assert read(cifar_set(), write(jpeg_npz(tmp_path), cifar_files())).note is None


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"label": None}, "it cannot be read ('label is not a file"),
        ({"n_train": np.array(6)}, "it has 7 labels, 6 to train on, where 7 and 5 are expected"),
        ({"label": CIFAR_LABELS[:6]}, "it has 6 labels, 5 to train on"),
        ({"label": CIFAR_LABELS.astype(np.int64)}, "its arrays are not bytes"),
        ({"offset": np.arange(8)}, "its positions do not divide"),
        ({"jpeg": np.array([{}] * 3, object)}, "it cannot be read (Object arrays cannot be loaded"),
        (
            {"jpeg": np.arange(70, dtype=np.uint8), "offset": np.arange(0, 71, 10)},
            "image 0 cannot be decoded",
        ),
    ],
)
def test_a_damaged_jpeg_copy_is_refused(tmp_path, changes, finding):
    message = refusal(read, cifar_set(), jpeg_npz(tmp_path, **changes))
    assert message.startswith(f"{tmp_path}/small-jpeg.npz is damaged: {finding}")


def test_a_jpeg_copy_whose_positions_go_back_is_refused(tmp_path):
    with np.load(jpeg_npz(tmp_path) / "small-jpeg.npz") as archive:
        offset = archive["offset"]
    offset[[2, 3]] = offset[[3, 2]]
    assert "its positions do not divide" in refusal(read, cifar_set(), jpeg_npz(tmp_path, offset=offset))


def test_a_jpeg_copy_with_images_of_another_size_is_refused(tmp_path):
    message = refusal(read, replace(cifar_set(), shape=(3, 4, 4)), jpeg_npz(tmp_path))
    assert "image 0 has 4 x 2 pixels" in message


def test_what_is_no_npz_is_refused(tmp_path):
    for content in (b"", b"PK\x03\x04 and then nothing", b"text"):
        folder = write(tmp_path, {"small-jpeg.npz": content})
        assert "small-jpeg.npz is damaged: it cannot be read (" in refusal(read, cifar_set(), folder)


# ----------------------------------------------------------------------------------------------------
# The published sets themselves
# ----------------------------------------------------------------------------------------------------


def test_the_published_sets_have_their_known_sizes():
    sizes = {name: (own.n_train, own.n_test, own.shape) for name, own in PUBLISHED.items()}
    assert sizes == {
        "mnist": (60_000, 10_000, (1, 28, 28)),
        "fashion_mnist": (60_000, 10_000, (1, 28, 28)),
        "cifar10": (50_000, 10_000, (3, 32, 32)),
        "cifar100": (50_000, 10_000, (3, 32, 32)),
    }
    assert [len(own.classes) for own in PUBLISHED.values()] == [10, 10, 10, 100]
    assert all(len(set(own.classes)) == len(own.classes) for own in PUBLISHED.values())
    assert list(PUBLISHED["cifar100"].classes) == sorted(PUBLISHED["cifar100"].classes)
    checksums = [item.md5 for own in PUBLISHED.values() for item in (*own.train, *own.test, *own.archives)]
    assert len(set(checksums)) == len(checksums) == 26
    assert all(len(md5) == 32 and int(md5, 16) for md5 in checksums)


def test_the_readme_states_every_checksum_and_every_data_set():
    for name, own in PUBLISHED.items():
        assert f"| {name} | {own.n_train:,} + {own.n_test:,} |" in README
        for item in (*own.train, *own.test, *own.archives):
            assert f"`{item.md5}`" in README
    assert f"`{load('digits').sha256}`" in README


def data_folder(name):
    """The folder with the data sets, or a skip that names the one it lacks."""
    published = PUBLISHED[name]
    if DATA is None or find(published, Path(DATA)) is None:
        pytest.skip(f"{name} is not in a folder named by EMUNUM_DATA")
    return Path(DATA)


def test_mnist_has_its_published_content():
    images = load("mnist", data_folder("mnist"))
    assert (images.pixels.shape, images.n_test, images.note) == ((70_000, 1, 28, 28), 10_000, None)
    train, test = np.split(images.labels, [60_000])
    assert np.bincount(train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    # Mean and standard deviation of the training pixels, as everybody uses them.
    assert f"{images.pixels[:60_000].mean() / 255:.4f} {images.pixels[:60_000].std() / 255:.4f}" == (
        "0.1307 0.3081"
    )
    assert f"`{images.sha256}`" in README


def test_cifar10_is_known_by_its_class_counts_and_its_mean_colour():
    images = load("cifar10", data_folder("cifar10"))
    assert (images.pixels.shape, images.n_test) == ((60_000, 3, 32, 32), 10_000)
    train, test = np.split(images.labels, [50_000])
    assert np.bincount(train).tolist() == [5000] * 10
    assert np.bincount(test).tolist() == [1000] * 10
    # The published pixels' means, to four digits; JPEG keeps a block's mean to about a pixel value.
    means = images.pixels[:50_000].mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=1 / 255)
    assert (images.note or "").startswith("JPEG copy") == ("JPEG copy" in images.origin)
