"""The wheel holds every module and every table, runs by itself, and starts without the heavy libraries."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import emunum

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDERS = {"emunum": "emunum", "emunum_cli": "cli", "emunum_data": "data", "emunum_paper": "paper"}
"""Installed package to its folder."""

HEAVY = ("numba", "llvmlite", "sklearn", "matplotlib", "scipy", "pandas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel, built from a clean copy: in the checkout it would take in what lies in build/.

    The build uses this environment's setuptools, which the extra `test` brings: an isolated build would
    download it, and tests need no network.
    """
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    build = subprocess.run([*command, "-w", out, source], capture_output=True, text=True)
    assert build.returncode == 0, build.stdout + build.stderr
    [path] = out.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with what the wheel installs, to be found before any checkout."""
    folder = tmp_path_factory.mktemp("installed")
    wheel.extractall(folder)
    return folder


def python(*arguments: str, path: Path) -> str:
    """Run Python with `path` in front of everything else; its output."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=path,
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def in_wheel(wheel, pattern: str) -> set[str]:
    return {name for name in wheel.namelist() if re.fullmatch(pattern, name)}


def in_tree(pattern: str, *packages: str) -> set[str]:
    return {
        f"{package}/{path.relative_to(ROOT / FOLDERS[package]).as_posix()}"
        for package in packages
        for path in (ROOT / FOLDERS[package]).glob(pattern)
    }


def test_the_wheel_holds_every_module_and_no_other(wheel):
    assert in_wheel(wheel, r".*\.py") == in_tree("**/*.py", *FOLDERS)


def test_the_wheel_holds_every_table(wheel):
    expected = in_tree("*.csv", "emunum_data", "emunum_paper")
    assert len(expected) >= 2
    assert in_wheel(wheel, r".*\.csv") == expected


@pytest.mark.parametrize("pattern", ["records/*.jsonl", "grids/*.toml", "sections/*.md"])
def test_the_wheel_holds_what_reproduce_reads(wheel, pattern):
    expected = in_tree(pattern, "emunum_paper")
    assert len(expected) >= 5
    assert in_wheel(wheel, rf"emunum_paper/{pattern.replace('.', '[.]').replace('*', '.*')}") == expected


def test_the_wheel_holds_the_schema_of_records_and_the_parts_of_a_report(wheel):
    expected = in_tree("experiments/*.json", "emunum")
    expected |= {
        name for kind in ("css", "html", "js") for name in in_tree(f"report/sweep/*.{kind}", "emunum")
    }
    assert len(expected) == 4
    assert in_wheel(wheel, r"emunum/.*\.(json|html|css|js)") == expected


def test_the_wheel_says_that_emunum_is_typed(wheel):
    assert in_wheel(wheel, r".*/py\.typed") == {"emunum/py.typed"}


def test_the_wheel_holds_the_packages_and_nothing_beside_them(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {*FOLDERS, f"emunum-{emunum.__version__}.dist-info"}


def test_the_wheel_installs_the_command(wheel):
    [name] = in_wheel(wheel, r".*/entry_points\.txt")
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(name).decode())
    assert dict(entry_points["console_scripts"]) == {"emunum": "emunum_cli:main"}


def test_versions_agree():
    assert emunum.__version__ == PROJECT["version"]
    latest = re.search(r"^## \[?([^]\s]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert latest and latest[1] == PROJECT["version"]


def test_the_wheel_alone_computes_and_loads_its_data(installed):
    script = (
        "import emunum\n"
        "from emunum.experiments.datasets import load\n"
        "print([emunum.__file__, float(emunum.quantize(0.3, 'e4m3')), len(load('boston').features)])"
    )
    file, value, rows = ast.literal_eval(python("-c", script, path=installed))
    assert Path(file).is_relative_to(installed)
    assert (value, rows) == (0.3125, 506)


def test_importing_emunum_loads_nothing_heavy(installed):
    script = f"import sys, emunum; print([name for name in {HEAVY} if name in sys.modules])"
    assert ast.literal_eval(python("-c", script, path=installed)) == []


def test_help_loads_nothing_heavy(installed):
    script = (
        "import sys, emunum_cli\n"
        "sys.argv = ['emunum', '--help']\n"
        "try:\n"
        "    emunum_cli.main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    *_, loaded = python("-c", script, path=installed).splitlines()
    assert ast.literal_eval(loaded) == []


def test_the_command_line_is_a_module_too(installed):
    assert "Usage: " in python("-m", "emunum_cli", "--help", path=installed)


def test_the_command_line_says_the_version(installed):
    assert emunum.__version__ in python("-m", "emunum_cli", "--version", path=installed)
