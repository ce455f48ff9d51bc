"""Published image sets from their mirrors into the per-user cache."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from emunum.experiments.datasets.places import cache_folder
from emunum.experiments.datasets.published import Archive, Published

ATTEMPTS = 2
"""How often each mirror is asked for a file."""
TIMEOUT_S = 30.0
"""How long a server may stay silent."""
_CHUNK_BYTES = 1 << 16
_REASONS = {
    "timed out": "timed out",
    "Connection refused": "refused the connection",
    "Failed to resolve": "name not known",
    "Name or service not known": "name not known",
    "IncompleteRead": "broke off",
}
"""What requests' messages, which show nested exceptions, come down to."""


class FetchError(OSError):
    """No mirror gave a file: which were tried, what each said, what helps."""


class Progress(Protocol):
    """What is shown of a transfer; the names are pooch's."""

    total: int

    def update(self, n: int) -> None:
        """Add n bytes."""

    def reset(self) -> None:
        """Start again from 0."""

    def close(self) -> None:
        """End of the file."""


def fetch(
    published: Published,
    folder: Path | None = None,
    *,
    progress: Callable[[str], Progress] | None = None,
    attempts: int = ATTEMPTS,
    timeout_s: float = TIMEOUT_S,
    pause_s: float = 1.0,
) -> list[Path]:
    """Bring the archives of a set into `folder`, the cache by default, and return their paths.

    A file that is there with the published MD5 stays. Otherwise the mirrors are asked in order, `attempts`
    times around. What arrives is kept in the subfolder .fetching until it is whole and has the published
    MD5; only then is it renamed to its place. A transfer that broke off or was killed is continued there,
    where the server can do that (it answers a Range request), and begun anew where it cannot. `progress`
    makes the display of one file. Raises FetchError where no mirror gives a file, OSError where the folder
    cannot be written.
    """
    folder = folder or cache_folder(published.name)
    staging = folder / ".fetching"
    staging.mkdir(parents=True, exist_ok=True)
    paths = [folder / archive.path for archive in published.archives]
    with _quiet():
        for archive, path in zip(published.archives, paths, strict=True):
            if not (path.is_file() and _md5(path) == archive.md5):
                arrived = _fetch_file(archive, published, staging, progress, attempts, timeout_s, pause_s)
                arrived.replace(path)
    with suppress(OSError):  # where another process fetches too, or one was killed
        staging.rmdir()
    return paths


def _fetch_file(
    archive: Archive,
    published: Published,
    staging: Path,
    progress: Callable[[str], Progress] | None,
    attempts: int,
    timeout_s: float,
    pause_s: float,
) -> Path:
    import pooch

    path, failures = staging / archive.path, {}
    for attempt in range(attempts):
        for mirror in published.mirrors:
            download = _Resuming(staging / f"{archive.path}.partial", timeout_s, progress)
            try:
                pooch.retrieve(
                    mirror + archive.path,
                    known_hash=f"md5:{archive.md5}",
                    fname=archive.path,
                    path=staging,
                    downloader=download,
                )
                return path
            except ValueError:  # pooch's word for another checksum
                failures[mirror] = f"its content has not the published MD5 {archive.md5}"
            except OSError as error:
                if error.errno is not None:  # of this machine: requests sets none
                    raise OSError(error.errno, error.strerror, str(path)) from None
                failures[mirror] = _reason(error)
        if attempt + 1 < attempts:
            time.sleep(pause_s)
    tried = "; ".join(f"{mirror} ({reason})" for mirror, reason in failures.items())
    raise FetchError(
        f"{archive.path} of {published.name} cannot be fetched. Tried: {tried}. Check the network, or copy "
        "the file from elsewhere and name its folder with --data-dir."
    )


class _Resuming:
    """What pooch calls to download: continues `partial`, then moves it to where pooch checks it."""

    def __init__(self, partial: Path, timeout_s: float, progress: Callable[[str], Progress] | None) -> None:
        self._partial, self._timeout_s, self._progress = partial, timeout_s, progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        try:
            self._transfer(url, pooch)
        except OSError:
            if not self._partial.stat().st_size:
                self._partial.unlink()
            raise
        self._partial.replace(output_file)

    def _transfer(self, url: str, pooch: Any) -> None:
        from pooch import HTTPDownloader

        with self._partial.open("ab") as file:
            have = file.tell()

            def begin(response: Any, *_: Any, **__: Any) -> None:
                """Drop what is there where all of it is sent (200) or nothing follows it (416)."""
                if response.status_code in (200, 416):
                    file.truncate(0)

            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
            download = HTTPDownloader(
                progressbar=self._progress(url) if self._progress else False,
                chunk_size=_CHUNK_BYTES,
                timeout=self._timeout_s,
                headers=headers,
                hooks={"response": begin},
            )
            download(url, file, pooch)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _reason(error: OSError) -> str:
    """The innermost cause in a few words: requests wraps urllib3, which wraps the system's."""
    text = str(error)
    for words, reason in _REASONS.items():
        if words in text:
            return reason
    return text.splitlines()[0][:200] if text else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pooch's log off the terminal."""
    import pooch

    logger, level = pooch.get_logger(), pooch.get_logger().level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
