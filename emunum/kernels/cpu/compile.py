"""The door to Numba: `compiled` is njit with a disk cache that no edit can leave stale.

Numba keys its cache on the file that holds the outer function. Were a scalar function in another file
edited, the cached array kernel would go on rounding the old way. So the cache directory is named after
a hash of every kernel source (and the versions of Numba and Python): an edit anywhere starts a new one.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types
from numba.extending import intrinsic, overload

Function = TypeVar("Function", bound=Callable[..., Any])


def source_hash() -> str:
    """Digest of every source a compiled kernel can depend on."""
    digest = hashlib.sha256(f"{numba.__version__} {platform.python_version()} {platform.machine()}".encode())
    kernels = Path(__file__).resolve().parent.parent
    for sources in (
        kernels.glob("*.py"),
        (kernels / "contract").rglob("*.py"),
        (kernels / "cpu").rglob("*.py"),
    ):
        for source in sorted(sources):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def cache_directory() -> Path | None:
    """Where compiled kernels are kept: EMUNUM_CACHE, else the user's cache folder; None if unwritable."""
    chosen = os.environ.get("EMUNUM_CACHE")
    if chosen:
        root = Path(chosen)
    elif sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir())) / "emunum"
    elif sys.platform == "darwin":
        root = Path("~/Library/Caches/emunum").expanduser()
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "emunum"
    directory = root / "kernels" / source_hash()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return directory
    except OSError:
        return None


CACHE = cache_directory()

_EXACT = {"fastmath": False, "error_model": "numpy"}
"""IEEE arithmetic as it stands: nothing contracted or reordered, and x / 0 is an infinity, no exception."""


def compiled(function: Function) -> Function:
    """Compile an array kernel at first use: without the interpreter lock, without fast math, cached."""
    if CACHE is None:
        return numba.njit(nogil=True, **_EXACT)(function)  # type: ignore[no-any-return]
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(CACHE)  # read once, when the decorator is applied
    try:
        return numba.njit(nogil=True, cache=True, **_EXACT)(function)  # type: ignore[no-any-return]
    finally:
        numba.config.CACHE_DIR = before


def inlined(function: Function) -> Function:
    """Compile a scalar function into whatever kernel calls it; Python cannot call it.

    Without what Python would call, a kernel compiles in 0.88 of the time.
    """
    return numba.njit(forceinline=True, no_cpython_wrapper=True, **_EXACT)(function)  # type: ignore[no-any-return]


def chosen_by_type(stub: Callable[..., Any]) -> Callable[[Function], Function]:
    """Let the decorated function pick, from Numba types, the implementation of `stub`."""
    return overload(stub, jit_options={"forceinline": True, **_EXACT})  # type: ignore[no-any-return]


@intrinsic  # type: ignore[untyped-decorator]
def widest_vectors(typing_context: Any) -> Any:
    """Let the kernel that calls this use 512-bit vectors, which LLVM leaves unused where it may choose.

    Its reason, that they slow a core's clock, held for the first processors that had them. The attribute
    is set past llvmlite's list of those it knows; a processor without such vectors ignores it.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate
