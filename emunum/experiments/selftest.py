"""A look at the bits of this installation: a few operations, and the digests their results must have.

It takes a second or two, and finds what a test suite elsewhere cannot: a compiler, a processor or a stale
kernel of this machine that rounds another way. tests/experiments/test_selftest.py holds the digests
against oracles.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import emunum
from emunum.experiments.config import RunConfig
from emunum.experiments.training.train import Training

FORMATS = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "e6m9")
SEED = 42
SHAPE = (12, 40, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was computed, whether its digest is the stored one, and how long it took."""

    name: str
    same: bool
    seconds: float


def numbers(n: int) -> NDArray[np.float32]:
    """Return n float32 numbers between 2^-13 and 2^11 in magnitude, from integer arithmetic alone."""
    words = np.arange(1, n + 1, dtype=np.uint32) * np.uint32(2654435769)
    significands = 1 + (words >> np.uint32(9)) * 2.0**-23
    sign = np.where(words & 1, -1.0, 1.0)
    exponents = (words % np.uint32(24)).astype(np.int32) - 13
    x: NDArray[np.float32] = np.ldexp(sign * significands, exponents).astype(np.float32)
    return x


def operands() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return matrices (M, K) and (K, N) of e4m3 numbers."""
    rows, terms, columns = SHAPE
    x = emunum.quantize(numbers(rows * terms + terms * columns) * np.float32(2.0**-6), FORMATS[0])
    return x[: rows * terms].reshape(rows, terms), x[rows * terms :].reshape(terms, columns)


def digest(*arrays: NDArray[Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the arrays' little-endian bytes."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return whole.hexdigest()[:16]


def casts(rounding: str) -> str:
    """Of 4,000 numbers in each of FORMATS."""
    x = numbers(4000)
    return digest(*(emunum.quantize(x, name, rounding=rounding, seed=SEED) for name in FORMATS))


def codes() -> str:
    """Of 4,000 e4m3 codes, and what they decode to."""
    stored = emunum.encode(emunum.quantize(numbers(4000), FORMATS[0]), FORMATS[0])
    return digest(stored, emunum.decode(stored, FORMATS[0]))


def product(rounding: str) -> str:
    """Of a matrix product with e4m3 products and sums."""
    a, b = operands()
    name = FORMATS[0]
    return digest(emunum.matmul(a, b, product=name, accumulator=name, rounding=rounding, seed=SEED))


def wide_product() -> str:
    """Of the same product with exact products in float32 sums."""
    return digest(emunum.matmul(*operands()))


def training() -> str:
    """Of the weights after five epochs on the data set toy, everything in e4m3, stochastically."""
    run = Training(RunConfig(dataset="toy", format="e4m3", rounding="stochastic", epochs=5))
    for _ in run.epochs():
        pass
    return run.weights_sha256[:16]


CHECKS: MappingProxyType[str, tuple[Callable[[], str], str]] = MappingProxyType(
    {
        "casts, nearest": (lambda: casts("nearest"), "e4b80b3c34885957"),
        "casts, stochastic": (lambda: casts("stochastic"), "2e60a683fa7f242c"),
        "codes": (codes, "79664a2b1c628f4b"),
        "matrix product, e4m3, nearest": (lambda: product("nearest"), "b60c59f50eda3d81"),
        "matrix product, e4m3, stochastic": (lambda: product("stochastic"), "a394e838437180fc"),
        "matrix product, float32 sums": (wide_product, "1b81d2ebd443a7ec"),
        "training, e4m3, stochastic": (training, "8ebef11cc0281523"),
    }
)
"""Name to what makes a digest, and the digest."""


def run() -> Iterator[Check]:
    """Make every digest and compare it with the stored one."""
    for name, (make, stored) in CHECKS.items():
        start = time.perf_counter()
        found = make()
        yield Check(name=name, same=found == stored, seconds=time.perf_counter() - start)
