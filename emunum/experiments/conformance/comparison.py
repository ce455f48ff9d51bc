"""One comparison with a peer: the same operands for both, and a verdict on every case that differs.

The contract decides who is right: a result of ours other than the rational reference's is a *breach*,
whatever the peer says. Where ours is right, the peer's differs for a reason declared beforehand (a *known*
difference) or it is *unexplained*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance.inputs import Sampling

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """The cases in which the results differ, all arrays of one length."""

    operands: tuple[Array, ...]
    ours: Array
    theirs: Array

    @property
    def x(self) -> Array:
        """The first operand."""
        return self.operands[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A difference that a peer is known to have: what it is, why, and the cases in which it shows."""

    title: str
    reason: str
    holds: Callable[[Differing], Mask]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An operation in a format with a rounding, computed by both sides.

    `operands` are float64 arrays of one length, a case an entry; `ours` and `theirs` map them to results,
    `exact` maps the numbers of one case to the rational reference's result.
    """

    operation: str
    format: str
    rounding: str
    overflow: str
    operands: Callable[[Sampling], tuple[Array, ...]]
    ours: Callable[..., NDArray[np.floating]]
    theirs: Callable[..., NDArray[np.floating]]
    exact: Callable[..., float]
    known: tuple[Known, ...] = ()

    def __str__(self) -> str:
        return f"{self.operation} {self.format} {self.rounding} {self.overflow}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One case, with what everybody makes of it."""

    comparison: str
    operands: tuple[float, ...]
    theirs: float
    ours: float
    exact: float
    size: tuple[int, int, int]
    """Significant bits, exponents and minus signs of the operands: small ones are easy to read."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How a comparison went: counts, and the smallest example of each kind of difference."""

    comparison: Comparison
    cases: int
    mismatches: int
    explained: dict[str, int] = field(default_factory=dict)
    unexplained: int = 0
    breaches: int = 0
    examples: dict[str, Example] = field(default_factory=dict)
    """By title of the known difference, `unexplained` or `breach`."""


def compare(comparison: Comparison, sampling: Sampling) -> Outcome:
    """Compute both sides and judge every case in which they differ."""
    operands = comparison.operands(sampling)
    ours, theirs = _wide(comparison.ours(*operands)), _wide(comparison.theirs(*operands))
    if not ours.shape == theirs.shape == operands[0].shape:
        raise ValueError(f"{comparison}: {ours.shape} and {theirs.shape} for {operands[0].shape}.")
    at = np.flatnonzero(differ(ours, theirs))
    outcome = Outcome(comparison=comparison, cases=ours.size, mismatches=at.size)
    if at.size == 0:
        return outcome
    cases = Differing(operands=tuple(x[at] for x in operands), ours=ours[at], theirs=theirs[at])
    exact = _exact(comparison, cases.operands)
    breach = differ(cases.ours, exact)
    outcome.breaches = _note(outcome, "breach", breach, cases, exact)
    left = ~breach
    for known in comparison.known:
        holds = left & known.holds(cases)
        if holds.any():
            outcome.explained[known.title] = _note(outcome, known.title, holds, cases, exact)
            left &= ~holds
    outcome.unexplained = _note(outcome, "unexplained", left, cases, exact)
    return outcome


def differ(a: Array, b: Array) -> Mask:
    """Where two results are not the same number: zeros have signs, and all NaNs are one."""
    same: Mask = (a == b) & (np.signbit(a) == np.signbit(b)) | (np.isnan(a) & np.isnan(b))
    return ~same


def _wide(x: NDArray[np.floating]) -> Array:
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        return np.asarray(x).astype(np.float64)


def _exact(comparison: Comparison, operands: tuple[Array, ...]) -> Array:
    """The reference's results, each distinct case computed once."""
    found: dict[tuple[float | str, ...], float] = {}
    results = np.empty(operands[0].size)
    for n, case in enumerate(zip(*(x.tolist() for x in operands), strict=True)):
        key = tuple(str(x) if x == 0 else x for x in case)  # 0.0 == -0.0
        if key not in found:
            found[key] = comparison.exact(*case)
        results[n] = found[key]
    return results


def _note(outcome: Outcome, title: str, holds: Mask, cases: Differing, exact: Array) -> int:
    """Keep the smallest of the cases as an example, and return how many there are."""
    at = np.flatnonzero(holds)
    if at.size == 0:
        return 0
    bits, exponents, signs = (
        sum(parts) for parts in zip(*(_size(x[at]) for x in cases.operands), strict=True)
    )
    smallest = at[np.lexsort((signs, exponents, bits))[0]]
    which = int(np.flatnonzero(at == smallest)[0])
    outcome.examples[title] = Example(
        comparison=str(outcome.comparison),
        operands=tuple(float(x[smallest]) for x in cases.operands),
        theirs=float(cases.theirs[smallest]),
        ours=float(cases.ours[smallest]),
        exact=float(exact[smallest]),
        size=(int(bits[which]), int(exponents[which]), int(signs[which])),
    )
    return at.size


def _size(x: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(significant bits, distance of the exponent from 0, 1 for a minus sign) of each number."""
    finite = np.where(np.isfinite(x), x, 0.0)
    fraction, exponent = np.frexp(finite)
    whole = np.ldexp(np.abs(fraction), 53).astype(np.uint64)
    lowest = (whole & (~whole + np.uint64(1))).astype(np.float64)
    bits = np.where(whole > 0, 53 - np.log2(np.maximum(lowest, 1.0)), 0).astype(np.int64)
    return bits, np.abs(exponent).astype(np.int64), np.signbit(x).astype(np.int64)
