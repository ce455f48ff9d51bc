"""The figures of a study: which there are, what they name, and how they sit in a page."""

import base64
import xml.etree.ElementTree as ElementTree

import pytest
from studies import formats_and_roundings, record

from emunum.report.sweep.figures import event_shares, figures_of, reference_means
from emunum.report.sweep.inline_svg import inlined, save_link
from emunum.report.sweep.study import studies
from emunum.report.sweep.styles import styles_of

STARTS = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


def study_of(records):
    [study] = studies(records)
    return study


@pytest.fixture(scope="module")
def figures():
    return figures_of(study_of(formats_and_roundings()))


def texts(svg):
    return {element.text for element in ElementTree.fromstring(svg).iter() if element.text}


def test_there_are_results_curves_bits_and_events_in_three_forms_each(figures):
    assert list(figures) == ["results", "curves", "bits", "events"]
    for figure in figures.values():
        assert {kind: content.startswith(STARTS[kind]) for kind, content in figure.items()} == dict.fromkeys(
            STARTS, True
        )


def test_figures_are_labelled_with_configurations_and_quantities(figures):
    names = {"float32, nearest", "float8_e4m3fn, stochastic", "float8_e5m2, nearest"}
    assert names <= texts(figures["results"]["svg"])
    assert names <= texts(figures["bits"]["svg"])
    assert {"8", "32", "bits of the format", "test MSE"} <= texts(figures["bits"]["svg"])
    assert {"nearest", "stochastic", "float32", "epoch"} <= texts(figures["curves"]["svg"])
    assert {"underflow", "absorbed", "tie", "share of roundings"} <= texts(figures["events"]["svg"])
    assert "overflow" not in texts(figures["events"]["svg"])  # there was none


def test_nothing_is_drawn_of_what_was_not_recorded():
    runs = [record(0.5 + n, format="e5m2", rounding=mode) for n, mode in enumerate(("nearest", "up"))]
    assert list(figures_of(study_of(runs))) == ["results"]
    diverged = [record(None, status="diverged", losses=[1.0]), record(0.5, format="e5m2", losses=[1.0])]
    assert list(figures_of(study_of(diverged))) == ["results", "curves", "bits"]


def test_more_configurations_than_a_figure_has_room_for_are_not_drawn():
    runs = [record(0.5, learning_rate=0.01 * (n + 1)) for n in range(61)]
    assert figures_of(study_of(runs)) == {}


def test_no_two_configurations_are_drawn_alike_and_the_baseline_is_black():
    study = study_of(formats_and_roundings(seeds=1))
    styles = styles_of(study)
    assert len({(style.color, style.marker, style.filling) for style in styles}) == 6
    assert [style.color for style in styles].count("#000000") == 2
    assert {style.color for style in styles[:2]} == {"#000000"}
    # The formats differ without colour, too.
    assert len({(style.marker, style.line) for style in styles[::2]}) == 3


def test_three_roundings_are_drawn_in_three_ways_and_seven_in_panels():
    def kinds(modes):
        runs = [record(0.5, format=f, rounding=mode) for f in ("float32", "e5m2") for mode in modes]
        return [(style.color, style.marker, style.filling) for style in styles_of(study_of(runs))]

    modes = ["nearest", "stochastic", "up", "down", "toward_zero", "to_odd", "nearest_away"]
    assert len(set(kinds(modes[:3]))) == 6
    assert len(set(kinds(modes))) == 2


def test_where_every_format_has_its_own_baseline_none_is_black():
    runs = [record(0.5, format=f, rounding=mode) for f in ("e4m3", "e5m2") for mode in ("nearest", "up")]
    [study] = studies(runs, is_baseline=lambda options: options["rounding"] == "up")
    assert "#000000" not in {style.color for style in styles_of(study)}


def test_results_are_measured_against_one_or_two_baselines():
    study = study_of(formats_and_roundings())
    assert reference_means(study) == pytest.approx([0.51, 0.56])  # the middle of three seeds, 0.01 apart
    rates = [record(0.5, format=f, learning_rate=0.1 * n) for f in ("float32", "e5m2") for n in (1, 2, 3)]
    assert reference_means(study_of(rates)) == []


def test_shares_of_events_are_over_all_runs_of_a_configuration():
    runs = [
        record(0.5, seed=seed, events={"roundings": 100, "tie": ties}) for seed, ties in enumerate((1, 4))
    ]
    [group] = study_of([*runs, record(0.5, seed=9)]).groups
    shares = event_shares(group)
    assert (shares["roundings"], shares["tie"], shares["overflow"]) == (1.0, 0.025, 0.0)


def test_a_figure_in_a_page_takes_its_colours_and_keeps_its_identifiers_to_itself(figures):
    svg = figures["results"]["svg"]
    text = inlined(svg, "one", "a < b")
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"] == "a < b"
    assert "http" not in text
    assert "#000000" not in text
    assert "currentColor" in text
    named = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    used = {element.attrib["href"] for element in root.iter() if "href" in element.attrib}
    assert named and all(name.startswith("one-") for name in named)
    assert used and {name.removeprefix("#") for name in used} <= named


def test_the_link_under_a_figure_holds_the_figures_own_file(figures):
    link = ElementTree.fromstring(save_link(figures["bits"]["svg"], 'a"b.svg'))
    kind, content = link.attrib["href"].split(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content) == figures["bits"]["svg"]
    assert link.attrib["download"] == 'a"b.svg'
