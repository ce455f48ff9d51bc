"""Hypothesis without chance or clocks, other kernels to test, thread counts that do not outlive a test."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from swapped import BACKENDS, compute_on

settings.register_profile(
    "emunum",
    derandomize=True,
    database=None,
    deadline=None,  # the first call of a kernel compiles it
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("emunum")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backend", default="cpu", choices=BACKENDS, help="kernels to run the tests over")


def pytest_configure(config: pytest.Config) -> None:
    compute_on(config.getoption("--backend"))


def pytest_collection_finish() -> None:
    """Leave the thousands of collected tests out of every garbage collection, and have fewer of these.

    Compiling makes many objects and few cycles: a tenth of its time went into looking for them.
    """
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture
def threads() -> Iterator[None]:
    """Every available core again, whatever the test sets."""
    from emunum import set_threads

    set_threads(None)
    yield
    set_threads(None)
