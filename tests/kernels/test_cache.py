"""Compiled kernels are kept between processes, never stale, and not needed where they cannot be kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import emunum

ROUND = """
import emunum
print(emunum.__file__)
print(emunum.quantize([1.9, -2.9, 100.0], "e2m1", rounding="toward_zero").tolist())
"""

RIGHT = "[1.5, -2.0, 3.0]"
WRONG = "[2.0, -3.0, 3.0]"  # each magnitude one quantum further, up to the largest

CUT = "    return quanta + ((to.table >> index) & one)\n"
ONE_MORE = CUT.replace(" & one)", " & one) + one")


def _run(code: str, cache: Path, package: Path | None = None) -> list[str]:
    """Lines printed by a fresh process that keeps its kernels in `cache` and imports from `package`."""
    environment = os.environ | {"EMUNUM_CACHE": str(cache)}
    if package is not None:
        environment["PYTHONPATH"] = str(package)
    command = [sys.executable, "-P", "-c", code]  # -P: the working directory is no place to import from
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with a copy of the package in it."""
    source = Path(emunum.__file__).parent
    shutil.copytree(source, tmp_path / "copy" / "emunum", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def test_editing_a_scalar_function_changes_what_a_new_process_computes(copied: Path, tmp_path: Path) -> None:
    cache, rounding = tmp_path / "cache", copied / "emunum" / "kernels" / "cpu" / "rounding" / "word.py"
    place, before = _run(ROUND, cache, copied)
    assert Path(place).is_relative_to(copied)
    assert before == RIGHT
    compiled = sorted(cache.rglob("*.nbi"))
    assert compiled  # the kernel was kept, so that it could be stale
    assert _run(ROUND, cache, copied)[1] == before
    assert sorted(cache.rglob("*.nbi")) == compiled  # and used again
    source = rounding.read_text()
    assert source.count(CUT) == 1
    rounding.write_text(source.replace(CUT, ONE_MORE))
    assert _run(ROUND, cache, copied)[1] == WRONG


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert _run(ROUND, file / "below")[1] == RIGHT
    assert file.read_text() == "not a folder"


def test_the_cache_goes_where_it_is_told(tmp_path: Path) -> None:
    code = "from emunum.kernels.cpu import compile; print(compile.CACHE)"
    chosen = Path(_run(code, tmp_path / "chosen")[0])
    assert chosen.parent == tmp_path / "chosen" / "kernels"
    assert chosen.is_dir()


@pytest.mark.parametrize("module", ["emunum", "emunum.formats.exact"])
def test_importing_loads_no_heavy_dependency(module: str, tmp_path: Path) -> None:
    code = f"import {module}, sys; print(*sorted(name.split('.')[0] for name in sys.modules))"
    loaded = set(_run(code, tmp_path / "cache")[0].split())
    assert "emunum" in loaded
    assert not loaded & {"numba", "llvmlite", "sklearn", "scipy", "matplotlib", "click", "rich"}
    assert not (tmp_path / "cache").exists()
