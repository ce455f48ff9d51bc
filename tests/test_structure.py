"""Imports point one way, each dependency has one door, and the top level holds what it should."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS = ("formats", "kernels", "ops", "nn", "experiments", "report", "sklearn", "cli")
"""A file imports from its own layer and from layers to its left."""

PUBLIC_NAMES = "ops"
"""The layer that `import emunum` reaches: emunum/__init__.py hands out names from here and further left."""

PEERS = "emunum/experiments/conformance/peers/"
RACE = "emunum/experiments/bench/peers.py"
"""Where the other libraries are imported whose bits are compared, and whose speed."""

DOORS = {
    "apytypes": (f"{PEERS}apytypes.py", RACE),
    "click": ("cli/",),
    "cupy": ("emunum/kernels/cuda/",),
    "distributed": ("emunum/experiments/sweeps/cluster.py",),
    "gfloat": (f"{PEERS}gfloat.py", RACE),
    "gmpy2": (f"{PEERS}gmpy2.py",),
    "joblib": ("emunum/experiments/sweeps/local.py",),
    "llvmlite": ("emunum/kernels/cpu/",),
    "matplotlib": ("emunum/report/figures.py",),
    "ml_dtypes": ("emunum/ops/arrays.py", f"{PEERS}ml_dtypes.py", RACE),
    "numba": ("emunum/kernels/cpu/",),
    "PIL": ("emunum/experiments/datasets/",),
    "numpy": ("",),
    "pyarrow": ("emunum/report/sweep/parquet.py",),
    "pooch": ("emunum/experiments/datasets/",),
    "pychop": (f"{PEERS}pychop.py", RACE),
    "qtorch": (f"{PEERS}qtorch.py", RACE),
    "rich": ("cli/",),
    "scipy": ("emunum/experiments/",),
    "sklearn": ("emunum/experiments/", "emunum/sklearn/"),
    "torch": (f"{PEERS}qtorch.py", RACE),
    "wandb": ("emunum/experiments/tracking_wandb.py",),
}
"""Dependency to the place that may import it. What is not listed has no door yet."""

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "cli",
    "data",
    "emunum",
    "paper",
    "pyproject.toml",
    "tests",
    "tox.ini",
}

OURS = {"emunum": "emunum", "emunum_cli": "cli", "emunum_data": "data", "emunum_paper": "paper"}
"""Installed package to its folder."""


def modules() -> list[str]:
    return sorted(
        path.relative_to(ROOT).as_posix() for top in ("emunum", "cli") for path in (ROOT / top).rglob("*.py")
    )


def broken_rules(path: str, source: str) -> list[str]:
    """What the imports of the module at `path` break, a sentence each with its line."""
    own = layer_of_file(path)
    found = []
    for line, name in imports(path, source):
        top = name.split(".")[0]
        if top in OURS:
            reached = layer_of_import(name)
            if reached is not None and LAYERS.index(reached) > LAYERS.index(own):
                found.append(f"{path}:{line}: {own} imports {name}, but {reached} lies to its right")
        elif top not in sys.stdlib_module_names:
            door = DOORS.get(top)
            if door is None:
                found.append(f"{path}:{line}: imports {name}, which has no door")
            elif not path.startswith(door):
                found.append(f"{path}:{line}: imports {name}, whose door is {' or '.join(door)}")
    return found


def imports(path: str, source: str) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of every import, wherever in the module it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package_of(path, node.level) if node.level else []
            module = ".".join([*start, *filter(None, [node.module])])
            # `from emunum import kernels` names a module in its last word: it counts as one.
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def package_of(path: str, level: int) -> list[str]:
    """The package that `level` leading dots mean in the module at `path`."""
    folder, *rest = Path(path).parent.parts
    installed = {folder: name for name, folder in OURS.items()}[folder]
    return [installed, *rest][: len(rest) + 2 - level]


def layer_of_file(path: str) -> str:
    top, second, *_ = Path(path).parts
    if top == "cli" or second == "__main__.py":  # python -m emunum is the command line
        return "cli"
    return PUBLIC_NAMES if second.endswith(".py") else second


def layer_of_import(name: str) -> str | None:
    """The layer an absolute name of ours belongs to; None for data, which anything may read."""
    top, second, *_ = [*name.split("."), ""]
    if top == "emunum_cli":
        return "cli"
    if top != "emunum":
        return None
    return second if second in LAYERS else PUBLIC_NAMES


@pytest.mark.parametrize("path", modules())
def test_imports_point_left_and_use_the_doors(path):
    assert broken_rules(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_every_layer_is_a_folder_and_every_folder_a_layer():
    folders = {path.name for path in (ROOT / "emunum").iterdir() if (path / "__init__.py").exists()}
    assert folders | {"cli"} == set(LAYERS)


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("emunum/formats/spec.py", "import emunum.kernels.cpu", "1: formats imports emunum.kernels.cpu,"),
        ("emunum/nn/layers.py", "from emunum import report", "nn imports emunum.report,"),
        ("emunum/nn/layers.py", "from ..report import tables", "nn imports emunum.report.tables,"),
        ("emunum/kernels/cpu/codes.py", "from ...ops import arrays", "kernels imports emunum.ops.arrays,"),
        ("emunum/kernels/random.py", "import emunum", "kernels imports emunum, but ops lies"),
        ("emunum/report/tables.py", "from emunum_cli import main", "report imports emunum_cli.main,"),
        ("emunum/ops/policy.py", "def f():\n    from emunum.nn import layers", "2: ops imports"),
        ("emunum/ops/policy.py", "if TYPE_CHECKING:\n    import emunum.nn.layers", "2: ops imports"),
        ("emunum/nn/layers.py", "import torch", "or emunum/experiments/bench/peers.py"),
        ("emunum/ops/arrays.py", "import numba", "imports numba, whose door is emunum/kernels/cpu/"),
        ("emunum/kernels/random.py", "from numba import njit", "imports numba.njit, whose door"),
        ("emunum/report/tables.py", "import matplotlib.pyplot as plt", "whose door is emunum/report/figures"),
        ("emunum/report/tables.py", "from rich.table import Table", "whose door is cli/"),
        ("cli/run.py", "import sklearn.datasets", "whose door is emunum/experiments/"),
        ("emunum/report/run/reading.py", "import emunum.sklearn", "report imports emunum.sklearn,"),
        ("emunum/kernels/cpu/matmul.py", "import cupy", "imports cupy, whose door is emunum/kernels/cuda/"),
        (
            "cli/records.py",
            "import pyarrow as pa",
            "pyarrow, whose door is emunum/report/sweep/parquet.py",
        ),
        ("emunum/experiments/sweep.py", "import pandas as pd", "imports pandas, which has no door"),
    ],
)
def test_a_planted_violation_is_caught(path, source, complaint):
    [found] = broken_rules(path, source)
    assert found.startswith(f"{path}:")
    assert complaint in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("emunum/nn/layers.py", "from __future__ import annotations\nimport math, numpy.typing"),
        ("emunum/nn/layers.py", "from . import loss\nfrom ..ops.arithmetic import Arithmetic"),
        ("emunum/kernels/cpu/rounding/offset.py", "from numba import types"),
        ("emunum/report/figures.py", "import matplotlib.pyplot as plt"),
        ("emunum/experiments/records.py", "from emunum import __version__"),
        ("cli/__init__.py", "import click\nfrom emunum.report import tables\nfrom . import run"),
    ],
)
def test_what_the_rules_allow_passes(path, source):
    assert broken_rules(path, source) == []


def test_what_computes_is_named_in_one_place_and_at_home():
    naming = {
        path for path in modules() if re.search("cuda", (ROOT / path).read_text(encoding="utf-8"), re.I)
    }
    own = ("emunum/kernels/backends.py", "emunum/kernels/cuda/")
    assert "emunum/kernels/backends.py" in naming
    assert [path for path in sorted(naming) if not path.startswith(own)] == []


def test_the_top_level_holds_exactly_what_it_should():
    assert top_level() == TOP_LEVEL


def top_level() -> set[str]:
    """Names at the top that git tracks, or would if asked; outside a checkout, those not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists():
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {line.strip('"').split("/")[0] for line in listed.splitlines()}
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    names = {path.name for path in ROOT.iterdir()}
    return {name for name in names if not any(fnmatch(name, pattern) for pattern in ignored)}
