"""Bytes of published files in, arrays out: header, counts, sizes and labels are checked on the way."""

from __future__ import annotations

import gzip
import io
import math
import tarfile
import zlib
from collections.abc import Collection, Mapping

import numpy as np

from emunum.experiments.datasets.images import Bytes

_UNSIGNED_BYTES = 0x08
GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20
_GZIP_WINDOW = 31
"""What zlib calls a gzip header and the largest window."""


class DamagedError(ValueError):
    """A file that is not what its name says: which, what was found, what is expected, what helps."""

    def __init__(self, file: str, finding: str) -> None:
        super().__init__(
            f"{file} is damaged: {finding}. Restore it, or delete it and run 'emunum data fetch'."
        )


def parse_idx(data: bytes, shape: tuple[int, ...], file: str) -> Bytes:
    """Return the array of unsigned bytes that an IDX file holds.

    Header: two zero bytes, the type 0x08, the number of axes, then each axis as a big-endian 32-bit number.
    Raises DamagedError where anything differs from a file of `shape`. Source: the MNIST page.
    """
    header_size, size = 4 + 4 * len(shape), 4 + 4 * len(shape) + math.prod(shape)
    if len(data) < header_size:
        raise DamagedError(file, f"it has {len(data)} bytes where its header alone takes {header_size}")
    magic, expected = int.from_bytes(data[:4]), _UNSIGNED_BYTES << 8 | len(shape)
    if magic != expected:
        raise DamagedError(file, f"its magic number is 0x{magic:08x} where 0x{expected:08x} is expected")
    found = tuple(int.from_bytes(data[at : at + 4]) for at in range(4, header_size, 4))
    if found != shape:
        raise DamagedError(file, f"its header announces {_by(found)} values where {_by(shape)} are expected")
    if len(data) != size:
        raise DamagedError(file, f"it has {len(data)} bytes where {size} are expected")
    return np.frombuffer(data, np.uint8, offset=header_size).reshape(shape)


def parse_cifar(
    data: bytes, samples: int, shape: tuple[int, int, int], label_bytes: int, classes: int, file: str
) -> tuple[Bytes, Bytes]:
    """Return pixels (samples, C, H, W) and labels (samples,) of a CIFAR batch.

    A record is `label_bytes` labels, of which the last counts, then the pixels, channel by channel, row by
    row. Raises DamagedError where the size is not that of `samples` records or a label is no class.
    """
    record = label_bytes + math.prod(shape)
    if len(data) != samples * record:
        raise DamagedError(
            file, f"it has {len(data)} bytes where {samples * record} ({samples} x {record}) are expected"
        )
    records = np.frombuffer(data, np.uint8).reshape(samples, record)
    labels = np.ascontiguousarray(records[:, label_bytes - 1])
    return records[:, label_bytes:].reshape(samples, *shape), require_classes(labels, classes, file)


def require_classes(labels: Bytes, classes: int, file: str) -> Bytes:
    """Return the labels, or raise DamagedError where one is not below `classes`."""
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        at = int(wrong[0])
        raise DamagedError(file, f"label {at} is {labels[at]} where 0 to {classes - 1} are expected")
    return labels


def unzip(data: bytes, most: int, file: str) -> bytes:
    """Return the content of a gzip file.

    Raises DamagedError where it is cut off, has another checksum than it says or unpacks to more than
    `most` bytes: no small file becomes a huge one.
    """
    stream = zlib.decompressobj(_GZIP_WINDOW)
    try:
        content = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise DamagedError(file, f"it cannot be unpacked ({error})") from None
    if len(content) > most:
        raise DamagedError(file, f"it unpacks to more than the {most} bytes it can hold")
    if not stream.eof:
        raise DamagedError(file, f"its gzip data break off after {len(content)} bytes of content")
    return content


def read_members(archive: bytes, wanted: Mapping[str, int], file: str) -> dict[str, bytes]:
    """Return the content of regular files in a .tar.gz: `wanted` maps their full names to their sizes.

    Nothing is written anywhere: other members, links and names that lead outside are passed over. Raises
    DamagedError where the archive cannot be read to its end, a member is missing or its size differs.
    """
    found: dict[str, bytes] = {}
    try:
        with (
            gzip.GzipFile(fileobj=io.BytesIO(archive)) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r:") as tar,
        ):
            for member in tar:
                name = member.name.removeprefix("./")
                if name in wanted and name not in found and member.isreg():
                    if member.size != wanted[name]:
                        expected = f"where {wanted[name]} are expected"
                        raise DamagedError(file, f"its member {name} has {member.size} bytes {expected}")
                    stream = tar.extractfile(member)
                    assert stream is not None  # it is regular
                    found[name] = stream.read()
            while unpacked.read(_CHUNK_BYTES):  # to the checksum at the end
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DamagedError(file, f"it cannot be unpacked ({error})") from None
    if len(found) < len(wanted):
        raise DamagedError(file, f"it lacks {_first_missing(wanted, found)}")
    return found


def _first_missing(wanted: Collection[str], found: Collection[str]) -> str:
    return next(name for name in wanted if name not in found)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
