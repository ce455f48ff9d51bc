"""The command line, called in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and a plain terminal, so that nothing from outside shows."""
    monkeypatch.chdir(tmp_path)
    for variable in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture
def emunum(capsys: pytest.CaptureFixture[str], threads: None) -> Callable[..., Result]:
    """Run a command in this process."""
    from emunum_cli import main

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments], prog_name="emunum")
        code = stop.value.code
        return Result(code if isinstance(code, int) else 0, *capsys.readouterr())

    return call


@pytest.fixture
def process() -> Callable[..., Result]:
    """Run a command in a process of its own."""

    def call(*arguments: object, **options: Any) -> Result:
        command = [sys.executable, "-m", "emunum_cli", *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        done = subprocess.run(command, timeout=120, **options)
        return Result(done.returncode, done.stdout or "", done.stderr or "")

    return call
