"""What the tests of layers share."""

import pytest
from twins import Scalars, distinct

from emunum.kernels.random import Key
from emunum.ops.arithmetic import Arithmetic

SEED = 0x0123456789ABCDEF


@pytest.fixture(params=["nearest", "toward_zero", "stochastic"])
def both(request):
    """The arithmetic of a place, and its twin."""
    chosen = distinct(request.param)
    return Arithmetic(policy=chosen, key=Key(SEED)).at(3, 1), Scalars(chosen, SEED).at(3, 1)
