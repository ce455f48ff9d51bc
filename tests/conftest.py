"""Hypothesis without chance or clocks, and thread counts that do not outlive a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "emunum",
    derandomize=True,
    database=None,
    deadline=None,  # the first call of a kernel compiles it
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("emunum")


@pytest.fixture
def threads() -> Iterator[None]:
    """Every available core again, whatever the test sets."""
    from emunum import set_threads

    set_threads(None)
    yield
    set_threads(None)
