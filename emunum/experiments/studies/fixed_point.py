"""Training in fixed point of 16 bits, to nearest and stochastically (Gupta et al. 2015).

With F bits behind the point, a number is a multiple of 2^-F from -2^(15 - F) to just below 2^(15 - F). To
nearest, an update of less than half of 2^-F is no update, and small gradients are 0; stochastic rounding
keeps their mean. Source: Gupta, Agrawal, Gopalakrishnan and Narayanan, Deep learning with limited numerical
precision (ICML 2015), which trains two hidden layers of 1000 units on MNIST and rounds each sum of exact
products once. Here each product is rounded, and their sum, which is exact then, where it leaves its layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from emunum.experiments.studies.study import Case, Grid, Record, Row, Study
from emunum.experiments.studies.training import means, trained
from emunum.formats import Format
from emunum.kernels import cpu

NEAREST, STOCHASTIC = "nearest_even", "stochastic"
MEASURES = ("test_accuracy", "test_loss", "train_loss")
_WANTED = ("status", "test_accuracy", "test_loss", "weights_sha256")


def cases(grid: Grid) -> list[Case]:
    """Return a run for each format, rounding and seed, the baseline first."""
    places = [(grid["baseline"], NEAREST)]
    places += [
        (f"q{grid['word_length'] - fraction}.{fraction}", rounding)
        for fraction in grid["fraction_lengths"]
        for rounding in grid["roundings"]
    ]
    return [
        {**grid["options"], "format": format, "rounding": rounding, "seed": seed}
        for format, rounding in places
        for seed in range(grid["seeds"])
    ]


def measure(case: Case, backend: ModuleType = cpu) -> Record:
    """Train, and return what the run ends in and the mean loss of each epoch."""
    return trained(case, _WANTED, curve=True, backend=backend)


def rows(records: Sequence[Record]) -> list[Row]:
    """Return a row for each format and rounding: means over the seeds with 95 % intervals (Student t).

    train_loss is the mean loss of the last epoch. quantum and largest: of the format; null for a float.
    """
    table = []
    for format, rounding in dict.fromkeys((run["format"], run["rounding"]) for run in records):
        own = [run for run in records if (run["format"], run["rounding"]) == (format, rounding)]
        fixed = Format.from_name(format)
        row: Row = {
            "format": format,
            "rounding": rounding,
            "quantum": fixed.smallest if fixed.fixed_point else None,
            "largest": fixed.max if fixed.fixed_point else None,
            "dataset": own[0]["dataset"],
            "model": own[0]["model"],
            "epochs": own[0]["epochs"],
            "seeds": len(own),
        }
        ended = [run | {"train_loss": run["epoch_loss"][-1] if run["epoch_loss"] else None} for run in own]
        table.append(row | means(ended, MEASURES))
    return table


FIXED_POINT = Study(name="fixed_point", cases=cases, measure=measure, trains=True, rows=rows, rerun_s=70)
