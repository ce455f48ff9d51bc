"""emunum doctor"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

REQUIRED = ("numpy", "numba", "llvmlite", "scikit-learn", "scipy", "matplotlib", "click", "rich")
OPTIONAL = ("ml_dtypes", "torch", "distributed", "pyarrow", "wandb", "cupy")


@click.command(
    "doctor",
    epilog="Examples: emunum doctor; emunum doctor --json > doctor.json",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, and nothing else.")
def command(as_json: bool) -> int:
    """Print what this installation is made of, and compare its bits with stored ones, for two seconds.

    Versions, threads, backends, where compiled kernels are kept and where data are looked for. The bits are
    those of casts, codes, matrix products and a short training; where one differs, report it, with this
    command's output.

    Exit codes: 0 all bits are the stored ones, 1 some differ.
    """
    from emunum.experiments import selftest

    facts = {"versions": _versions(), **_places()}
    console = Console(stderr=True)
    with console.status("comparing bits (kernels compile at first use)"):
        checks = list(selftest.run())
    failed = [check.name for check in checks if not check.same]
    if as_json:
        rows = [{"name": c.name, "same": c.same, "seconds": round(c.seconds, 3)} for c in checks]
        click.echo(json.dumps(facts | {"checks": rows}, indent=2))
        return 1 if failed else 0
    table = Table(title="This installation", show_header=False)
    for name, value in facts.items():
        table.add_row(name, ", ".join(value) if isinstance(value, list) else str(value))
    out = Console(width=None if Console().is_terminal else 120)
    out.print(table)
    bits = Table(title="Its bits")
    for column in ("what", "as stored", "seconds"):
        bits.add_column(column, justify="right" if column == "seconds" else "left")
    for check in checks:
        bits.add_row(check.name, "yes" if check.same else "NO", f"{check.seconds:.2f}")
    out.print(bits)
    if failed:
        click.echo(
            f"{len(failed)} of {len(checks)} results have other bits than they must: {', '.join(failed)}. "
            f"Remove {facts['compiled kernels']} and try again; if they stay so, report it with all of this.",
            err=True,
        )
        return 1
    click.echo(f"All {len(checks)} results have the bits they must have.")
    return 0


def _versions() -> list[str]:
    import emunum

    found = [f"emunum {emunum.__version__}", f"Python {platform.python_version()}"]
    found += [f"{name} {version(name)}" for name in REQUIRED]
    for name in OPTIONAL:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} -")
    return found


def _places() -> dict[str, Any]:
    from emunum.experiments.datasets.places import FOLDER_VARIABLE, cache_folder, find
    from emunum.experiments.datasets.published import PUBLISHED
    from emunum.kernels.backends import found as found_backends
    from emunum.kernels.cpu import get_threads
    from emunum.kernels.cpu.compile import CACHE

    found = []
    try:
        found = [name for name, published in PUBLISHED.items() if find(published)]
        data = os.environ.get(FOLDER_VARIABLE) or "not set"
    except ValueError as error:
        data = str(error)
    return {
        "platform": platform.platform(),
        "cores": str(os.cpu_count()),
        "threads": str(get_threads()),
        "backends": [f"{name}: {what}" for name, what in found_backends().items()],
        "compiled kernels": str(CACHE) if CACHE else "not kept: no folder is writable, set EMUNUM_CACHE",
        "data sets fetched to": str(Path(cache_folder("x")).parent),
        FOLDER_VARIABLE: data,
        "image sets found": ", ".join(found) or "none: 'emunum data fetch mnist' brings one",
    }
