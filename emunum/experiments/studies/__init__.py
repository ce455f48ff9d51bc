"""The studies of the paper by name: what each varies, what it measures, and its table."""

from __future__ import annotations

from importlib import import_module

from emunum.experiments.studies.study import Study
from emunum.formats.names import unknown

__all__ = ["NAMES", "Study", "study_named"]

_HERE = "emunum.experiments.studies"
_HOME = {
    "regression": f"{_HERE}.regression:REGRESSION",
    "images": f"{_HERE}.images:IMAGES",
    "cifar10": f"{_HERE}.images:CIFAR10",
    "stagnation": f"{_HERE}.stagnation:STAGNATION",
    "growth": f"{_HERE}.growth:GROWTH",
    "chunks": f"{_HERE}.chunks:CHUNKS",
    "few_bits": f"{_HERE}.few_bits:FEW_BITS",
    "tensor_cores": f"{_HERE}.tensor_cores:TENSOR_CORES",
    "fixed_point": f"{_HERE}.fixed_point:FIXED_POINT",
    "accumulator_width": f"{_HERE}.accumulator_width:ACCUMULATOR_WIDTH",
    "formats": f"{_HERE}.formats:FORMATS",
}
"""Name to module and constant, in the paper's order. A study is imported when it is asked for."""

NAMES = tuple(_HOME)


def study_named(name: str) -> Study:
    """Return the study of a name. Raises ValueError for one that is none."""
    if name not in _HOME:
        raise unknown("study", name, NAMES)
    module, constant = _HOME[name].split(":")
    found = getattr(import_module(module), constant)
    assert isinstance(found, Study) and found.name == name
    return found
