"""The bias of stochastic rounding with N random bits, variants A, B and C, and what it does to training.

Write |x| = (S + nu) ulp, nu = j 2^-D with D tail bits. S + 1 is drawn with the probability

    A  floor(2^N nu) / 2^N,   B  floor(2^N nu + 1/2) / 2^N,   C  round_half_even(2^N nu) / 2^N,

the multiple of 2^-N below nu, and the nearest one with ties up or to even. Where D <= N they are nu itself.
Beyond, the bias P(S + 1) - nu is periodic in nu, and with t = D - N bits cut off:

    A  -k 2^-D for the tail k = 0 ... 2^t - 1:  mean 2^-(D+1) - 2^-(N+1),   worst 2^-D - 2^-N
    B  of the two sides of a tie all cancel, but that of the tie:   2^-(D+1),   worst 2^-(N+1)
    C  ties go down as often as up:                                    0,      worst +-2^-(N+1)

A therefore rounds toward zero. An increment of less than 2^-N ulp is lost, and a decrement, however small, is
made with probability 2^-N: weights that hardly move shrink. Sources: El Arar, Fasi, Filip and Mikaitis,
Probabilistic error analysis of limited-precision stochastic rounding (2024); Fitzgibbon and Felix, On
stochastic rounding with few random bits (2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.studies.study import Case, Grid, Record, Row, Study
from emunum.experiments.studies.training import means, trained, with_equal_keys
from emunum.formats import Format
from emunum.kernels import cpu
from emunum.ops.arrays import quantize

A, B, C = "stochastic", "stochastic_b", "stochastic_c"
NEAREST = "nearest_even"
_OF_CASTS = ("part", "tail_bits", "samples")
_BLOCK = 2**20
MEASURES = ("train_mse", "test_mse")
_WANTED = ("status", *MEASURES, "weights_sha256")
_SIGMAS = 4
"""Standard errors within which a measured bias is the predicted one: chance exceeds them once in 15,000."""


def cases(grid: Grid) -> list[Case]:
    """Return a case for each variant, N and D of rounding, and for each run of training."""
    rounding, training = grid["rounding"], grid["training"]
    casts = [
        {"part": "rounding", "format": rounding["format"], "rounding": variant, "random_bits": bits}
        | {"tail_bits": tail, "samples": rounding["samples"]}
        for tail in rounding["tail_bits"]
        for variant in rounding["variants"]
        for bits in rounding["random_bits"]
    ]
    runs = [{"format": format, "rounding": NEAREST} for format in training["baselines"]]
    runs += [
        {"rounding": variant, "random_bits": bits, "rounding_seed": seed}
        for variant in training["variants"]
        for bits in training["random_bits"]
        for seed in range(grid["seeds"])
    ]
    return with_equal_keys(casts + [{"part": "training", **training["options"], **run} for run in runs])


def measure(case: Case, backend: ModuleType = cpu) -> Record:
    """Count how often values go up, of all and of those with the worst tail; or train."""
    if case["part"] == "training":
        return trained({name: case[name] for name in case if name not in _OF_CASTS}, _WANTED, backend=backend)
    return _counts(case)


def rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each quantity and place: mean_bias and worst_bias in ulp, train_mse and test_mse.

    A bias is the frequency of going up less the mean of nu; its interval is 4 standard errors to both
    sides, at most 1/2 / sqrt(samples) each; it agrees where the predicted bias lies in it. The errors of
    several runs are means with 95 % intervals (Student t).
    """
    table = [row for record in records if record["part"] == "rounding" for row in _biases(record)]
    runs = [record for record in records if record["part"] == "training"]
    for place in dict.fromkeys(_place(run) for run in runs):
        own = [run for run in runs if _place(run) == place]
        found = means(own, MEASURES)
        for key in MEASURES:
            interval = (found[f"{key}_ci_low"], found[f"{key}_ci_high"])
            table.append(_row(own[0], key, found[key], interval) | {"samples": len(own)})
    return table


def mean_bias(variant: str, random_bits: int, tail_bits: int) -> float:
    """Return the mean of P(S + 1) - nu over all tails of so many bits, in ulp."""
    if tail_bits <= random_bits or variant == C:
        return 0.0
    half = 0.5 ** (tail_bits + 1)
    return half if variant == B else half - 0.5 ** (random_bits + 1)


def worst_bias(variant: str, random_bits: int, tail_bits: int) -> float:
    """Return P(S + 1) - nu where it is farthest from 0, in ulp; of C that of the ties that go up."""
    if tail_bits <= random_bits:
        return 0.0
    return 0.5**tail_bits - 0.5**random_bits if variant == A else 0.5 ** (random_bits + 1)


def _biases(record: Record) -> list[Row]:
    place = (record["rounding"], record["random_bits"], record["tail_bits"])
    found = []
    for quantity, predicted, suffix in (
        ("mean_bias", mean_bias(*place), ""),
        ("worst_bias", worst_bias(*place), "_worst"),
    ):
        samples = record[f"samples{suffix}"]
        if samples:
            bias = record[f"up{suffix}"] / samples - record[f"nu{suffix}"]
            beyond = _SIGMAS * 0.5 / math.sqrt(samples)
            row = _row(record, quantity, bias, (bias - beyond, bias + beyond))
            agrees = abs(bias - predicted) <= beyond
            found.append(row | {"predicted": predicted, "samples": samples, "agrees": agrees})
    return found


def _row(record: Record, quantity: str, value: float, interval: tuple[float | None, float | None]) -> Row:
    return {
        "quantity": quantity,
        "format": record["format"],
        "rounding": record["rounding"],
        "random_bits": record["random_bits"],
        "tail_bits": record["tail_bits"],
        "value": value,
        "value_ci_low": interval[0],
        "value_ci_high": interval[1],
        "predicted": None,
        "samples": None,
        "agrees": None,
    }


def _place(run: Record) -> tuple[Any, ...]:
    return run["format"], run["rounding"], run["random_bits"]


def _counts(case: Case) -> Record:
    """Round every residue equally often, 2^20 values at a time, the n-th of these with seed n."""
    tails, bits = 2 ** case["tail_bits"], case["random_bits"]
    ulp = 2.0 ** -Format.from_name(case["format"]).mantissa_bits
    residues = np.tile(np.arange(tails), _BLOCK // tails)
    x = (1 + residues / tails * ulp).astype(np.float32)
    worst = _worst_tails(case["rounding"], bits, case["tail_bits"])[residues]
    blocks = max(1, case["samples"] // _BLOCK)
    up = up_worst = 0
    for seed in range(blocks):
        y = quantize(x, case["format"], rounding=case["rounding"], random_bits=bits, seed=seed)
        went_up = y > 1
        up += int(went_up.sum())
        up_worst += int(went_up[worst].sum())
    return {
        "up": up,
        "nu": float(residues.mean() / tails),
        "up_worst": up_worst,
        "nu_worst": float(residues[worst].mean() / tails) if worst.any() else None,
        "samples_worst": blocks * int(worst.sum()),
    }


def _worst_tails(variant: str, random_bits: int, tail_bits: int) -> NDArray[np.bool_]:
    """Which of the residues have the worst bias: the largest tail, or a tie (of C one that goes up)."""
    j, cut = np.arange(2**tail_bits), tail_bits - random_bits
    if cut <= 0:
        return np.zeros(len(j), bool)
    kept, tail = j >> cut, j & ((1 << cut) - 1)
    if variant == A:
        return np.asarray(tail == (1 << cut) - 1)
    tie = tail == 1 << (cut - 1)
    return np.asarray(tie if variant == B else tie & (kept % 2 == 1))


FEW_BITS = Study(name="few_bits", cases=cases, measure=measure, trains=True, rows=rows, rerun_s=60)
