"""What lies in paper/ follows from the records that lie there, and the records from the grids."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import matplotlib
import pytest

from emunum.experiments.studies import NAMES, study_named
from emunum.report.paper.files import files_of
from emunum.report.paper.sections import PARTS, parse, section

PAPER = Path(__file__).parents[2] / "paper"
RECORDED = [name for name in NAMES if study_named(name).records()]
MEASURED = [name for name in RECORDED if study_named(name).cases is not None]

CHEAP = {
    "regression": lambda case: case["rounding_seed"] in (3, 42) and case["dataset"] == "toy",
    "stagnation": lambda case: case["sum"] == "uniform" and case["seed"] == 0,
    "growth": lambda case: case["n"] == 30 and case["seed"] in (0, 29),
    "chunks": lambda case: case["n"] == 512 and case["seed"] in (0, 9),
    "formats": lambda case: True,
}
"""Cases that are measured here again: few, quick, and of every kind. Of others, the first and last."""


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """Everything that the committed records make."""
    files: dict[str, bytes] = {}
    for name in RECORDED:
        own = files_of(study_named(name), study_named(name).records())
        files |= {path: text.encode() if isinstance(text, str) else text for path, text in own.items()}
    return files


def test_these_studies_have_records():
    assert {"regression", "stagnation", "growth", "chunks", "formats"} <= set(RECORDED)
    assert {"few_bits", "tensor_cores", "fixed_point", "accumulator_width"} <= set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_tables_are_those_of_the_records(made, name):
    for path in (f"tables/{name}.md", f"tables/{name}.csv"):
        assert made[path] == (PAPER / path).read_bytes()


@pytest.mark.parametrize("name", RECORDED)
def test_records_are_written_as_they_are_read(made, name):
    path = f"records/{name}.jsonl"
    assert made[path] == (PAPER / path).read_bytes()


@pytest.mark.parametrize("name", RECORDED)
def test_figures_are_those_of_the_records(made, name):
    drawn_by = re.search(r"Matplotlib v([^,]+),", (PAPER / f"figures/{name}.svg").read_text(encoding="utf-8"))
    assert drawn_by
    if drawn_by[1] != matplotlib.__version__:
        pytest.skip(f"the figure was drawn by matplotlib {drawn_by[1]}, and this is {matplotlib.__version__}")
    for path in (f"figures/{name}.png", f"figures/{name}.svg"):
        assert made[path] == (PAPER / path).read_bytes()


@pytest.mark.parametrize("name", MEASURED)
def test_there_is_a_record_for_every_case_of_the_grid_in_its_order(name):
    own = study_named(name)
    asked, records = own.asked(), own.records()
    assert [{key: record[key] for key in asked[0]} for record in records] == asked


@pytest.mark.parametrize("name", MEASURED)
def test_committed_records_come_out_again(name):
    own = study_named(name)
    records = own.records()
    wanted = CHEAP.get(name)
    chosen = [record for record in records if wanted(record)] if wanted else [records[0], records[-1]]
    keys = own.asked()[0]
    assert list(own.run([{key: record[key] for key in keys} for record in chosen])) == chosen


@pytest.mark.parametrize("name", ["stagnation", "growth", "chunks", "formats"])
def test_what_was_published_came_out(name):
    own = study_named(name)
    agrees = [row["agrees"] for row in own.rows(own.records())]
    assert False not in agrees
    assert agrees.count(True) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_a_study_has_its_section_and_is_named_in_the_readme(name):
    said = section(name)
    assert tuple(said.texts) == PARTS
    assert "TODO" not in " ".join(said.texts.values())
    assert f"[`{name}`](sections/{name}.md)" in (PAPER / "README.md").read_text(encoding="utf-8")


def test_every_grid_section_record_table_and_figure_belongs_to_a_study():
    grids = {path.stem for path in (PAPER / "grids").iterdir()}
    assert grids == {name for name in NAMES if study_named(name).cases is not None}
    assert {path.stem for path in (PAPER / "sections").iterdir()} == {*NAMES, "introduction"}
    for folder in ("records", "tables", "figures"):
        assert {path.stem for path in (PAPER / folder).iterdir()} <= {*NAMES, "conformance"}


@pytest.mark.parametrize("name", MEASURED)
def test_the_grid_is_what_varies(name):
    own = study_named(name)
    assert own.grid() == tomllib.loads((PAPER / "grids" / f"{name}.toml").read_text(encoding="utf-8"))
    if "seeds" in own.grid():
        assert len(own.asked(seeds=2)) < len(own.asked())


def test_paths_named_in_sections_exist():
    for path in (PAPER / "sections").iterdir():
        for named in re.findall(r"paper/([\w/]+\.\w+)", path.read_text(encoding="utf-8")):
            assert (PAPER / named).exists(), f"{path.name} names paper/{named}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# title\n\n## Claim\n\na\n",
        "title\n\n## Claim\n\na\n\n## Published\n\na\n\n## Obtained\n\na\n\n## Why they differ\n\na\n",
        "# t\n\n## Published\n\na\n\n## Claim\n\na\n\n## Obtained\n\na\n\n## Why they differ\n\na\n",
        "# t\n\n## Claim\n\n## Published\n\na\n\n## Obtained\n\na\n\n## Why they differ\n\na\n",
    ],
    ids=["empty", "one part", "no title", "order", "no text"],
)
def test_what_is_no_section_is_refused(text):
    with pytest.raises(ValueError, match=r"^here is no section: '# title', then ## Claim, ## Published,"):
        parse(text, "here")
