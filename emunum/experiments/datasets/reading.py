"""A published image set from the files that hold it, with a note where they are not the published ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from emunum.experiments.datasets.images import Bytes, Images
from emunum.experiments.datasets.jpeg import read_jpeg_copy
from emunum.experiments.datasets.parsing import (
    GZIP_MAGIC,
    parse_cifar,
    parse_idx,
    read_members,
    require_classes,
    unzip,
)
from emunum.experiments.datasets.places import FOLDER_VARIABLE, Form, Place, find, folders, part_paths
from emunum.experiments.datasets.published import PUBLISHED, Layout, Part, Published

Content = tuple[bytes, str]
"""What a file holds, unpacked, and how messages name it."""
_LONGEST_HEADER = 64


def read(published: Published, data_dir: Path | None = None) -> Images:
    """Return the images of a set found on this machine; places.find says where that is looked for.

    The training images come first, then the test images, in the order of their files. A copy whose content
    differs from the published one is used, and its note says so. Raises ValueError, with the remedy, where
    there is no copy or a file of it is missing or damaged.
    """
    place = find(published, data_dir)
    if place is None:
        searched = ", ".join(map(str, folders(published, data_dir)))
        raise ValueError(
            f"data set {published.name!r} is not on this machine (searched: {searched}). Run 'emunum data "
            f"fetch {published.name}', or name the folder that holds it with --data-dir or {FOLDER_VARIABLE}."
        )
    if place.form is Form.JPEG:
        assert published.jpeg_copy is not None
        pixels, labels = read_jpeg_copy(
            place.folder / published.jpeg_copy, published.n_train, published.n_test, published.shape
        )
        note: str | None = (
            f"JPEG copy of {published.name}: within JPEG error of the published pixels, not equal to them"
        )
    else:
        pixels, labels, note = _read_parts(published, place)
    return Images(
        name=published.name,
        pixels=pixels,
        labels=labels,
        classes=published.classes,
        n_test=published.n_test,
        augmentation=published.augmentation,
        origin=str(place),
        note=note,
    )


def _read_parts(published: Published, place: Place) -> tuple[Bytes, Bytes, str | None]:
    """Return pixels, labels and the note."""
    n, parts = published.n_train + published.n_test, (*published.train, *published.test)
    pixels, labels = np.empty((n, *published.shape), np.uint8), np.empty(n, np.uint8)
    in_archive, is_published = _archived(published, place) if place.form is Form.ARCHIVE else ({}, False)
    in_pairs = published.layout is Layout.IDX
    altered: list[str] = []
    at = 0
    for group in (published.train, published.test) if in_pairs else [(part,) for part in parts]:
        contents = [
            in_archive.pop(part.path) if part.path in in_archive else _loaded(published, place, part)
            for part in group
        ]
        to = slice(at, at := at + group[0].samples)
        pixels[to], labels[to] = _parsed(published, group[0].samples, contents)
        if not is_published:
            altered += _differences(published, group, contents)
    note = f"content differs from the published {published.name}: {', '.join(altered)}" if altered else None
    return pixels, labels, note


def _parsed(published: Published, n: int, contents: list[Content]) -> tuple[Bytes, Bytes]:
    classes = len(published.classes)
    if published.layout is Layout.IDX:
        (images, images_file), (labels, labels_file) = contents
        pixels = parse_idx(images, (n, *published.shape[1:]), images_file)
        return pixels[:, None], require_classes(parse_idx(labels, (n,), labels_file), classes, labels_file)
    [(batch, file)] = contents
    return parse_cifar(batch, n, published.shape, published.label_bytes, classes, file)


def _differences(published: Published, group: tuple[Part, ...], contents: list[Content]) -> Iterator[str]:
    """Yield what is not the published content; ValueError where it is that of another set."""
    for part, (content, file) in zip(group, contents, strict=True):
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        for other in PUBLISHED.values():
            if other.name != published.name and found in {own.md5 for own in (*other.train, *other.test)}:
                raise ValueError(
                    f"{file} belongs to {other.name}, not to {published.name}. Put the files of each into a "
                    f"folder of its own, {other.name} and {published.name}."
                )
        if found != part.md5:
            yield f"{part.path} (MD5 {found}, published {part.md5})"


def _loaded(published: Published, place: Place, part: Part) -> Content:
    for path in part_paths(published, place.folder, part.path):
        if path.is_file():
            content, file = path.read_bytes(), str(path)
            if content[:2] == GZIP_MAGIC and published.layout is Layout.IDX:
                content = unzip(content, _LONGEST_HEADER + part.samples * math.prod(published.shape), file)
            return content, file
    raise ValueError(
        f"data set {published.name!r} is incomplete: {place.folder} has no {part.path}. Add it, or run "
        f"'emunum data fetch {published.name}'."
    )


def _archived(published: Published, place: Place) -> tuple[dict[str, Content], bool]:
    """Return the contents of an archive's parts, and whether the archive is the published one."""
    archive = published.archives[0]
    path = place.folder / archive.path
    data = path.read_bytes()
    is_published = hashlib.md5(data, usedforsecurity=False).hexdigest() == archive.md5
    record = published.label_bytes + math.prod(published.shape)
    sizes = {
        f"{published.folder}/{part.path}": part.samples * record
        for part in (*published.train, *published.test)
    }
    members = read_members(data, sizes, str(path))
    return {
        name.rpartition("/")[2]: (content, f"{path}:{name}") for name, content in members.items()
    }, is_published
