"""A copy of an image set as JPEG files in one .npz, for machines that cannot fetch the published one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from emunum.experiments.datasets.images import Bytes
from emunum.experiments.datasets.parsing import DamagedError


def read_jpeg_copy(path: Path, n_train: int, n_test: int, shape: tuple[int, int, int]) -> tuple[Bytes, Bytes]:
    """Return pixels (n, 3, H, W) and labels (n,), n = n_train + n_test.

    The archive holds `jpeg` (the files, one after the other), `offset` (n + 1 positions in it), `label` (n)
    and `n_train`; it is read without pickles. The pixels are what the installed Pillow decodes: another
    decoder may round some differently. Raises DamagedError where anything is missing or does not fit.
    """
    n, file = n_train + n_test, str(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            jpeg, offset, label = (archive[key] for key in ("jpeg", "offset", "label"))
            found = int(archive["n_train"])
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise DamagedError(file, f"it cannot be read ({error})") from None
    if (found, offset.shape, label.shape, jpeg.ndim) != (n_train, (n + 1,), (n,), 1):
        raise DamagedError(
            file, f"it has {label.size} labels, {found} to train on, where {n} and {n_train} are expected"
        )
    if jpeg.dtype != np.uint8 or label.dtype != np.uint8 or offset.dtype.kind not in "iu":
        raise DamagedError(file, "its arrays are not bytes, labels as bytes and whole positions")
    positions = offset.tolist()
    if positions[0] != 0 or positions[-1] != jpeg.size or positions != sorted(positions):
        raise DamagedError(file, f"its positions do not divide {jpeg.size} bytes into {n} images")
    pixels = np.empty((n, *shape), np.uint8)
    content = jpeg.tobytes()
    for number in range(n):
        pixels[number] = _decoded(content[positions[number] : positions[number + 1]], shape, number, file)
    return pixels, label


def _decoded(content: bytes, shape: tuple[int, int, int], number: int, file: str) -> Any:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if (3, image.height, image.width) != shape:
                raise DamagedError(file, f"image {number} has {image.height} x {image.width} pixels")
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DamagedError(file, f"image {number} cannot be decoded ({error})") from None
