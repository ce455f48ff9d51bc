"""Where a published image set lies on this machine, without reading it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from emunum.experiments.datasets.published import Layout, Published

FOLDER_VARIABLE = "EMUNUM_DATA"


class Form(StrEnum):
    """In which form a copy lies in a folder."""

    FILES = "files"
    ARCHIVE = "archive"
    JPEG = "JPEG copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder that holds a copy, or a part of one."""

    folder: Path
    form: Form

    def __str__(self) -> str:
        return f"{self.folder} ({self.form})"


def cache_folder(name: str) -> Path:
    """Return the folder of a data set in the per-user cache: in EMUNUM_CACHE, where that is set."""
    chosen = os.environ.get("EMUNUM_CACHE")
    if chosen:
        return Path(chosen) / "data" / name
    import pooch

    return Path(pooch.os_cache("emunum")) / "data" / name


def find(published: Published, data_dir: Path | None = None) -> Place | None:
    """Return the first place that holds a file of the set, or None.

    Searched in order: in `data_dir` or else the folder in EMUNUM_DATA, the subfolder named after the set and
    the folder itself; then the cache. In each, loose files, then the archive, then a JPEG copy. Raises
    ValueError where `data_dir` or EMUNUM_DATA is no folder.
    """
    for folder in folders(published, data_dir):
        for form in Form:
            if any(path.is_file() for path in _files(published, folder, form)):
                return Place(folder=folder, form=form)
    return None


def folders(published: Published, data_dir: Path | None) -> list[Path]:
    """Return the folders to search, in order."""
    name, cache = published.name, cache_folder(published.name)
    variable = os.environ.get(FOLDER_VARIABLE)
    chosen = data_dir or (Path(variable) if variable else None)
    if chosen is None:
        return [cache]
    if not chosen.is_dir():
        option = "--data-dir" if data_dir else FOLDER_VARIABLE
        raise ValueError(f"{option} {str(chosen)!r} is no folder. Name the one that holds {name}.")
    return [chosen / name, chosen, cache]


def part_paths(published: Published, folder: Path, part: str) -> list[Path]:
    """Return where a part may lie as a loose file: IDX files may be gzipped, batches in their own folder."""
    if published.layout is Layout.IDX:
        return [folder / part, folder / f"{part}.gz"]
    return [folder / published.folder / part, folder / part]


def _files(published: Published, folder: Path, form: Form) -> list[Path]:
    if form is Form.FILES:
        parts = (*published.train, *published.test)
        return [path for part in parts for path in part_paths(published, folder, part.path)]
    if form is Form.ARCHIVE:
        archives = published.archives if published.layout is Layout.CIFAR else ()
        return [folder / archive.path for archive in archives]
    return [folder / published.jpeg_copy] if published.jpeg_copy else []
