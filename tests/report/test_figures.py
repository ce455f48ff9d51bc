"""The regression figure: PNG and SVG, the same bytes every time, nothing left behind."""

import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from emunum.report.figures import regression_figure

PNG = b"\x89PNG\r\n\x1a\n"


def record(dataset="toy", format="float8_e5m2", rounding="nearest_even", policy="output", offset=0.0):
    losses = [1.0 / (step + 1) + offset for step in range(30)]
    return {"dataset": dataset, "format": format, "rounding": rounding, "policy": policy, "step_mse": losses}


RECORDS = [
    *(record(dataset, format) for dataset in ("toy", "boston") for format in ("float8_e5m2", "e6m9")),
    *(record(rounding="stochastic", offset=seed / 100) for seed in range(3)),
    record(policy="full"),
    record(policy="full", rounding="stochastic"),
]


@pytest.fixture(scope="module")
def figure():
    return regression_figure(RECORDS)


def text_of(svg):
    return {element.text for element in ElementTree.fromstring(svg).iter() if element.text}


def test_the_figure_is_a_png_and_an_svg(figure):
    assert list(figure) == ["png", "svg"]
    assert figure["png"].startswith(PNG)
    assert ElementTree.fromstring(figure["svg"]).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_same_records_give_the_same_bytes(figure):
    assert regression_figure(RECORDS) == figure


def test_the_bytes_do_not_depend_on_the_process(figure):
    # Hash seeds, dates and identifiers differ between processes; what is drawn must not.
    code = (
        "import hashlib, sys, json; from emunum.report.figures import regression_figure as f; "
        "print([hashlib.sha256(v).hexdigest() for v in f(json.loads(sys.argv[1])).values()])"
    )

    command = [sys.executable, "-c", code, json.dumps(RECORDS)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert found == str([hashlib.sha256(value).hexdigest() for value in figure.values()])


def test_another_curve_gives_another_figure(figure):
    other = regression_figure([*RECORDS[:-1], record(policy="full", rounding="stochastic", offset=0.5)])
    assert other["png"] != figure["png"]
    assert other["svg"] != figure["svg"]


def test_a_panel_is_named_after_its_data_set_and_format_and_a_line_after_its_policy_and_rounding(figure):
    written = text_of(figure["svg"])
    for dataset in ("toy", "boston"):
        for format in ("float8_e5m2", "e6m9"):
            assert f"{dataset}, {format}" in written
    for line in ("output, nearest", "output, stochastic", "full, nearest", "full, stochastic"):
        assert line in written
    assert "step" in written
    assert any("training MSE" in text for text in written)


def test_the_order_of_the_records_of_a_row_does_not_change_the_mean_line():
    runs = [record(rounding="stochastic", offset=2.0**-seed) for seed in range(4)]
    assert regression_figure(runs)["png"] == regression_figure(runs[::-1])["png"]


def test_no_setting_of_matplotlib_outlives_the_call():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    regression_figure(RECORDS[:1])
    assert dict(mpl.rcParams) == before


def test_a_users_style_does_not_change_the_bytes(figure):
    import matplotlib as mpl

    with mpl.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "savefig.dpi": 300, "font.size": 20}):
        assert regression_figure(RECORDS) == figure
