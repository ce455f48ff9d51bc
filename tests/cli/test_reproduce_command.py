"""emunum reproduce: studies from their records, measured anew, written, and built into the paper."""

import csv
import io
import json
from dataclasses import replace

import pytest

from emunum.experiments import studies
from emunum.experiments.studies import NAMES, Study, study_named
from emunum.experiments.studies.stagnation import STAGNATION
from emunum.experiments.studies.study import record_lines
from emunum.report.tables import to_csv

SMALL = """
formats = ["bfloat16", "float16"]
overflow = "saturate"
seeds = 3
[[sums]]
name = "harmonic"
terms = 700
[[sums]]
name = "uniform"
terms = 500
numbers_seed = 0
"""


def reproduce(emunum, *words):
    return emunum("reproduce", *words)


@pytest.fixture
def small(folder, monkeypatch):
    """The study of stagnation with few and short sums, and a paper/ of its own."""
    paper = folder / "installed"
    (paper / "grids").mkdir(parents=True)
    (paper / "records").mkdir()
    (paper / "grids" / "stagnation.toml").write_text(SMALL)
    published = (study_named("stagnation").records_path.parents[1] / "stagnation_published.csv").read_text()
    (paper / "stagnation_published.csv").write_text(published)
    monkeypatch.setattr("emunum.experiments.studies.study.paper", lambda: paper)
    return paper


# ----------------------------------------------------------------------------------------------------
# From records
# ----------------------------------------------------------------------------------------------------


def test_the_list_names_every_study_and_counts_its_records(emunum):
    result = reproduce(emunum, "list")
    assert result.code == 0
    lines = {cells[1]: cells for cells in map(str.split, result.out.splitlines()) if len(cells) > 2}
    assert set(NAMES) <= set(lines)
    assert {"378", "45"} <= set(lines["regression"])
    assert {"row", "by"} <= set(lines["images"])


def test_a_table_is_printed_with_the_verdict_and_nothing_is_written(emunum, folder):
    result = reproduce(emunum, "regression")
    assert (result.code, result.err) == (0, "")
    assert "As published: only layer outputs and errors are rounded (policy output)" in result.out
    assert "The same rows with everything rounded (policy full)" in result.out
    words = " ".join(result.out.split())
    assert "Deterministic rows that agree to every printed digit: 9 of 9." in words
    assert "[" in result.out  # the intervals are not taken for markup
    assert list(folder.iterdir()) == []


def test_several_studies_are_printed_in_the_order_asked(emunum):
    result = reproduce(emunum, "formats", "stagnation", "--seeds", "3")
    assert result.code == 2  # formats has no seeds
    result = reproduce(emunum, "growth", "stagnation")
    assert result.code == 0
    assert 0 < result.out.index("Backward error in bfloat16") < result.out.index("Harmonic sum")


def test_a_study_of_images_may_stand_among_the_others(emunum):
    result = reproduce(emunum, "cifar10", "formats")
    assert result.code == 0
    assert result.out.index("CIFAR-10, network cifar_quick") < result.out.index("float8_e4m3fn")


def test_json_and_csv_are_the_rows_and_nothing_else(emunum):
    own = study_named("growth")
    rows = own.rows(own.records())
    result = reproduce(emunum, "growth", "--json")
    assert (
        json.loads(result.out, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON")) == rows
    )
    assert reproduce(emunum, "growth", "--csv").out == to_csv(rows)
    assert len(list(csv.DictReader(io.StringIO(to_csv(rows))))) == 32


def test_fewer_seeds_are_a_part_of_the_records(emunum):
    rows = json.loads(reproduce(emunum, "regression", "--seeds", 5, "--json").out)
    assert {row["runs"] for row in rows} == {1, 5}
    own = study_named("regression")
    train = [
        r["final_step_mse"]
        for r in own.records()
        if (r["dataset"], r["format"], r["rounding"], r["policy"])
        == ("toy", "float8_e5m2", "stochastic", "output")
    ]
    assert rows[0]["final_step_mse"] == pytest.approx(sum(train[:5]) / 5)


def test_output_has_what_is_committed(emunum, folder):
    result = reproduce(emunum, "formats", "--output", folder / "paper")
    assert result.code == 0
    committed = study_named("formats").records_path.parents[1]
    written = {path.relative_to(folder / "paper") for path in (folder / "paper").rglob("*.*")}
    assert sorted(map(str, written)) == [
        "figures/formats.png",
        "figures/formats.svg",
        "records/formats.jsonl",
        "tables/formats.csv",
        "tables/formats.md",
    ]
    for path in written:
        if path.parent.name != "figures":  # these depend on the version of matplotlib
            assert (folder / "paper" / path).read_bytes() == (committed / path).read_bytes()


# ----------------------------------------------------------------------------------------------------
# Measured anew
# ----------------------------------------------------------------------------------------------------


def test_without_records_the_command_that_makes_them_is_named(emunum, small):
    result = reproduce(emunum, "stagnation")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "stagnation has no records yet. To make them: emunum reproduce stagnation --rerun --output paper\n"
    )


def test_a_rerun_is_compared_with_the_committed_records(emunum, small):
    path = small / "records" / "stagnation.jsonl"
    lines = record_lines(list(STAGNATION.run(STAGNATION.asked()))).splitlines(keepends=True)
    assert len(lines) == 2 * 2 * (1 + 3)
    path.write_text("".join(lines))
    result = reproduce(emunum, "stagnation", "--rerun")
    assert "stagnation: 16 of 16 records are the committed ones, digit for digit." in result.out
    path.write_text("".join([lines[0].replace('"seed": 0', '"seed": 1'), *lines[1:]]))
    result = reproduce(emunum, "stagnation", "--rerun")
    assert "stagnation: 15 of 16 records are the committed ones, digit for digit." in result.out


def test_a_rerun_of_other_seeds_is_allowed(emunum, small):
    result = reproduce(emunum, "stagnation", "--rerun", "--seeds", 2, "--json")
    assert {row["seeds"] for row in json.loads(result.out)} == {2}


def test_ctrl_c_is_exit_code_130_and_writes_nothing(emunum, small, folder, monkeypatch):
    def stopped(case):
        raise KeyboardInterrupt

    stopping = replace(STAGNATION, measure=stopped)
    monkeypatch.setattr("emunum.experiments.studies.stagnation.STAGNATION", stopping)
    result = reproduce(emunum, "stagnation", "--rerun", "--output", folder / "out")
    assert (result.code, result.out) == (130, "")
    assert result.err.strip() == "emunum: stopped."
    assert list((folder / "out").iterdir()) == []


# ----------------------------------------------------------------------------------------------------
# The paper
# ----------------------------------------------------------------------------------------------------


@pytest.fixture
def two(monkeypatch):
    """A paper of two studies, one of them without records."""
    monkeypatch.setattr("emunum_cli.reproduce.NAMES", ("cifar10", "formats"))
    kept = Study.records
    monkeypatch.setattr(Study, "records", lambda own: [] if own.name == "cifar10" else kept(own))


def test_the_paper_has_every_table_and_figure_in_place(emunum, folder, two):
    result = reproduce(emunum, "all", "--output", folder / "out")
    assert (result.code, result.err) == (0, "")
    out = folder / "out"
    text, tex = (out / "paper.md").read_text(), (out / "paper.tex").read_text()
    for shown in (text, tex):
        assert shown.index("The formats") > shown.index("CIFAR-10") > 0
    for part in ("Claim", "Command", "Published", "Obtained", "Why they differ"):
        assert text.count(f"\n### {part}\n") == tex.count(f"\\subsection*{{{part}}}\n") == 2
    for shown in (text, tex):
        assert "emunum reproduce formats" in shown
        assert "No record yet: full-float32, " in shown
    images = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert images == ["figures/formats.png"]
    assert r"\includegraphics[width=0.85\textwidth]{figures/formats.png}" in tex
    assert (out / "figures" / "formats.png").read_bytes().startswith(b"\x89PNG")
    for name in ("cifar10", "formats"):
        table = (out / "tables" / f"{name}.md").read_text()
        rows = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line]
        assert len(rows) > 8
        assert set(rows) <= set(text.splitlines())
    assert not (out / "records" / "cifar10.jsonl").exists()


# ----------------------------------------------------------------------------------------------------
# Wrong usage
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["growth", "--json", "--csv"], "--json and --csv are two forms of the same rows: give one of them."),
        (["growth", "formats", "--csv"], "--csv is of one study: name one, not 2."),
        (["regression", "--seeds", "1"], "Invalid value for '--seeds': 1 is not in the range x>=2."),
        (
            ["regression", "--seeds", "31"],
            "--seeds 31: regression has 30 in its records. --rerun makes others.",
        ),
        (["formats", "--seeds", "3"], "--seeds 3: formats has no seeds to choose."),
        (["stagnatoin"], "unknown study 'stagnatoin'. Did you mean 'stagnation'? Known: regression, images,"),
        (
            ["growth", "stagnatoin"],
            "unknown study 'stagnatoin'. Did you mean 'stagnation'? Known: regression,",
        ),
        (
            ["growth", "images", "--rerun"],
            "images is trained row by row: 'emunum reproduce images --rerun ROW', alone.",
        ),
        (["all"], "Missing option '--output'."),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line(emunum, words, message):
    result = reproduce(emunum, *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"emunum: {message}")
    assert result.err.count("\n") == 1


def test_records_that_are_none_are_one_line(emunum, small):
    path = small / "records" / "stagnation.jsonl"
    path.write_text('{"sum": "harmonic"}\n[1, 2]\n')
    result = reproduce(emunum, "stagnation")
    message = f"emunum: {path}:2 is no record: a JSON object is needed.\n"
    assert (result.code, result.out, result.err) == (1, "", message)
    path.write_text('{"sum": "harmonic"')
    assert reproduce(emunum, "stagnation").err.startswith(f"emunum: {path}:1 is no record: ")


def test_output_below_a_file_is_refused_before_anything_is_measured(emunum, folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setattr(studies.Study, "run", lambda self, cases: pytest.fail("measured"))
    result = reproduce(emunum, "stagnation", "--rerun", "--output", folder / "file" / "below")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"emunum: Not a directory: {folder / 'file' / 'below'}")
    assert result.err.count("\n") == 1
