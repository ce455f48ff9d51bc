"""The regression study as one of the paper's."""

from __future__ import annotations

from emunum.experiments import regression
from emunum.experiments.studies.study import Study

REGRESSION = Study(
    name="regression",
    cases=regression.cases,
    measure=regression.measure,
    trains=True,
    rows=regression.rows,
    rerun_s=45,
)
