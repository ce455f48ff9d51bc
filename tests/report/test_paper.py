"""What lies in paper/ follows from the records that lie there."""

from __future__ import annotations

import json
from pathlib import Path

from emunum.experiments.config import RunConfig
from emunum.experiments.regression import SEEDS, configurations, rows
from emunum.experiments.run import execute
from emunum.report.tables import regression_cells, to_csv

PAPER = Path(__file__).parents[2] / "paper"


def committed() -> list[dict]:
    lines = (PAPER / "records" / "regression.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_regression_tables_are_those_of_the_records():
    table = rows(committed())
    assert to_csv(table) == (PAPER / "tables" / "regression.csv").read_text()
    printed = (PAPER / "tables" / "regression.md").read_text()
    for cells in regression_cells(table):
        assert f"| {' | '.join(cells)} |" in printed


def test_there_is_a_record_for_every_run_of_the_study():
    recorded = [
        (r["dataset"], r["format"], r["rounding"], r["policy"], r["rounding_seed"]) for r in committed()
    ]
    asked = [
        (c.dataset, c.format, c.rounding, c.policy, c.rounding_seed) for c in configurations(seeds=SEEDS)
    ]
    assert recorded == asked


def test_committed_runs_come_out_again_with_the_same_weights():
    records, configs = committed(), configurations(seeds=SEEDS)
    for index in range(0, len(records), 37):  # runs of every data set, format, rounding and policy
        config: RunConfig = configs[index]
        assert execute(config)["weights_sha256"] == records[index]["weights_sha256"]
