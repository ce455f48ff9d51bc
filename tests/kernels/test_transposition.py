"""The transposition of panels is NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from inputs import bit_patterns
from numpy.testing import assert_array_equal

from emunum.kernels.cpu.transposition import transpose


@pytest.mark.parametrize(
    "shape", [(1, 1), (16, 16), (15, 17), (17, 15), (5, 3), (33, 64), (64, 100)], ids=str
)
@pytest.mark.parametrize("first", [0, 2])
def test_rows_become_columns(shape: tuple[int, int], first: int) -> None:
    rows, terms = shape
    a = bit_patterns((rows + 3) * terms, 1).reshape(rows + 3, terms)  # NaN payloads must survive, too
    out = np.zeros((terms, rows), np.float32)
    transpose(a, out, first)
    assert_array_equal(out.view(np.uint32), a[first : first + rows].T.view(np.uint32))
