"""The digests of the self-test are those of oracles, and a result that differs is found."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from oracles import element_draws, matmul_array, round_array

from emunum.experiments import selftest
from emunum.formats import Cast
from emunum.kernels.random import Key

STORED = {name: stored for name, (_, stored) in selftest.CHECKS.items()}
SEED = Key(selftest.SEED).value


def rounded(rounding):
    x = selftest.numbers(4000)
    for name in selftest.FORMATS:
        to = Cast.from_names(name, rounding)
        draws = element_draws(x.size, to, SEED) if to.stochastic else 0
        yield round_array(x.astype(np.float64), to, draws).astype(np.float32)


def test_numbers_are_those_of_the_formula():
    for n, x in enumerate(selftest.numbers(100).tolist(), start=1):
        word = n * 2654435769 % 2**32
        size = (1 + Fraction(word // 512, 2**23)) * Fraction(2) ** (word % 24 - 13)
        assert Fraction(x) == (-size if word % 2 else size)


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_the_casts_are_the_definitions(rounding):
    assert selftest.digest(*rounded(rounding)) == STORED[f"casts, {rounding}"]


def test_the_nearest_casts_of_formats_with_infinities_are_ml_dtypes():
    x = selftest.numbers(4000)
    ours = dict(zip(selftest.FORMATS, rounded("nearest"), strict=True))
    for name in ("float8_e5m2", "bfloat16"):
        np.testing.assert_array_equal(ours[name], x.astype(getattr(ml_dtypes, name)).astype(np.float32))


def test_the_codes_are_ml_dtypes():
    values = next(rounded("nearest"))
    codes = values.astype(ml_dtypes.float8_e4m3fn)
    assert selftest.digest(codes.view(np.uint8), codes.astype(np.float32)) == STORED["codes"]


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_the_products_are_the_definitions(rounding):
    a, b = selftest.operands()
    to = Cast.from_names("e4m3", rounding)
    expected = matmul_array(a, b, to, to, SEED).astype(np.float32)
    assert selftest.digest(expected) == STORED[f"matrix product, e4m3, {rounding}"]


def test_the_wide_product_is_a_loop_over_float32():
    a, b = selftest.operands()
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total += a[:, k, None] * b[None, k]  # exact: 4 bits by 4 bits
    assert selftest.digest(total) == STORED["matrix product, float32 sums"]


def test_every_check_finds_its_digest():
    checks = list(selftest.run())
    assert [check.name for check in checks] == list(STORED)
    assert all(check.same for check in checks)


def test_another_result_is_found(monkeypatch):
    monkeypatch.setattr(selftest, "SEED", 43)
    wrong = [check.name for check in selftest.run() if not check.same]
    assert wrong == ["casts, stochastic", "matrix product, e4m3, stochastic"]
