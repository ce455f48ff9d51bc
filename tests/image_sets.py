"""Small image sets in the published layouts, with their files written byte by byte from the descriptions."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np

from emunum.experiments.datasets.images import Augmentation
from emunum.experiments.datasets.published import Archive, Layout, Part, Published


def idx(array: np.ndarray, magic: int | None = None, dims: tuple[int, ...] | None = None) -> bytes:
    """An IDX file: magic 0x0800 + axes, the axes as big-endian 32-bit numbers, then the bytes."""
    dims = array.shape if dims is None else dims
    magic = 0x800 + len(dims) if magic is None else magic
    return struct.pack(f">I{len(dims)}I", magic, *dims) + array.astype(np.uint8).tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def tar_gz(members: dict[str, bytes]) -> bytes:
    """A .tar.gz of regular files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


_RNG = np.random.default_rng(4)

IDX_PIXELS = _RNG.integers(0, 256, (6, 5, 3), np.uint8)
IDX_LABELS = np.array([2, 0, 1, 1, 0, 2], np.uint8)
IDX_FILES = {
    "train-images-idx3-ubyte": idx(IDX_PIXELS[:4]),
    "train-labels-idx1-ubyte": idx(IDX_LABELS[:4]),
    "t10k-images-idx3-ubyte": idx(IDX_PIXELS[4:]),
    "t10k-labels-idx1-ubyte": idx(IDX_LABELS[4:]),
}
"""Four training images of 5 x 3 pixels and two test images, in three classes."""
IDX_ARCHIVES = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in IDX_FILES.items()}


def idx_set(mirrors: tuple[str, ...] = ()) -> Published:
    samples = {"train": 4, "t10k": 2}
    parts = [
        Part(path=name, samples=samples[name.partition("-")[0]], md5=md5(content))
        for name, content in IDX_FILES.items()
    ]
    return Published(
        name="small_idx",
        title="Small images",
        layout=Layout.IDX,
        shape=(1, 5, 3),
        classes=("left", "middle", "right"),
        train=tuple(parts[:2]),
        test=tuple(parts[2:]),
        archives=tuple(Archive(path=path, md5=md5(data)) for path, data in IDX_ARCHIVES.items()),
        mirrors=mirrors,
        source="made here",
        terms="none",
        augmentation=Augmentation.AFFINE,
    )


CIFAR_PIXELS = _RNG.integers(0, 256, (7, 3, 4, 2), np.uint8)
CIFAR_LABELS = np.array([1, 0, 2, 2, 1, 0, 1], np.uint8)
CIFAR_BATCHES = {"one.bin": slice(0, 3), "two.bin": slice(3, 5), "test.bin": slice(5, 7)}


def cifar_files(label_bytes: int = 1) -> dict[str, bytes]:
    """Batches of 3, 2 and (for testing) 2 images; a first label, where there are two, says nothing."""
    coarse = bytes([9] * (label_bytes - 1))
    return {
        name: b"".join(
            coarse + bytes([label]) + image.tobytes()
            for label, image in zip(CIFAR_LABELS[rows], CIFAR_PIXELS[rows], strict=True)
        )
        for name, rows in CIFAR_BATCHES.items()
    }


def cifar_set(label_bytes: int = 1) -> Published:
    files = cifar_files(label_bytes)
    parts = [
        Part(path=name, samples=rows.stop - rows.start, md5=md5(files[name]))
        for name, rows in CIFAR_BATCHES.items()
    ]
    archive = tar_gz({f"batches/{name}": content for name, content in files.items()})
    return Published(
        name="small_cifar",
        title="Small photographs",
        layout=Layout.CIFAR,
        shape=(3, 4, 2),
        classes=("a", "b", "c"),
        train=tuple(parts[:2]),
        test=tuple(parts[2:]),
        archives=(Archive(path="small.tar.gz", md5=md5(archive)),),
        mirrors=(),
        source="made here",
        terms="none",
        augmentation=Augmentation.CROP_AND_FLIP,
        folder="batches",
        label_bytes=label_bytes,
        jpeg_copy="small-jpeg.npz",
    )


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write the files and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
