"""The figures of one run: what they say, and that they say it without colour too."""

import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from emunum.report.run.figures import confusion_figure, curves_figure, gallery_figure, scatter_figure

PNG = b"\x89PNG\r\n\x1a\n"
COUNTS = np.array([[7, 3, 0], [0, 0, 0], [1, 0, 9999]])
PIXELS = np.arange(4 * 6, dtype=np.uint8).reshape(4, 1, 2, 3)


def epoch(number, **values):
    return {
        "epoch": number, "step_loss": [1 / number, 0.5 / number], "train_loss": 0.75 / number, "lr": 0.1,
        "loss_scale": 1.0, "skipped_steps": 0, "validation_loss": None, "validation_accuracy": None,
    } | values  # fmt: skip


def curves(history, best=None, test=None):
    return curves_figure("a run", history, "MSE (some unit)", best, test)


FIGURES = {
    "curves": lambda: curves([epoch(1), epoch(2, lr=0.05)]),
    "confusion": lambda: confusion_figure("a run", COUNTS, ("cat", "dog", "bird")),
    "gallery": lambda: gallery_figure("a run", PIXELS, 23, list("0123"), list("0120")),
    "scatter": lambda: scatter_figure("a run", np.array([1.0, 2.0]), np.array([1.5, 2.5])),
}


def text_of(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if (element.text or "").strip()]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_a_png_and_an_svg_of_the_same_bytes_every_time(name):
    figure = FIGURES[name]()
    assert list(figure) == ["png", "svg"]
    assert figure["png"].startswith(PNG)
    assert ElementTree.fromstring(figure["svg"]).tag == "{http://www.w3.org/2000/svg}svg"
    assert FIGURES[name]() == figure
    assert "a run" in text_of(figure["svg"])


def test_the_bytes_do_not_depend_on_the_process():
    code = (
        "import hashlib, json, sys; import numpy as np\n"
        "from emunum.report.run.figures import gallery_figure as f\n"
        "figure = f('a run', np.array(json.loads(sys.argv[1]), np.uint8), 23, list('0123'), list('0120'))\n"
        "print([hashlib.sha256(v).hexdigest() for v in figure.values()])"
    )
    command = [sys.executable, "-c", code, json.dumps(PIXELS.tolist())]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert found == str([hashlib.sha256(value).hexdigest() for value in FIGURES["gallery"]().values()])


def test_curves_are_labelled_with_units_and_have_a_panel_for_what_varies():
    written = text_of(curves([epoch(1), epoch(2)])["svg"])
    assert {"MSE (some unit)", "epochs trained", "training, step", "training, mean of the epoch"} <= set(
        written
    )
    assert not {"learning rate", "loss scale (factor)", "accuracy (%)", "validation", "best epoch"} & set(
        written
    )
    validated = {"validation_loss": 0.5, "validation_accuracy": 0.5}
    history = [epoch(1, **validated), epoch(2, **validated, lr=0.05, loss_scale=2.0, skipped_steps=3)]
    written = text_of(curves(history, 2, 0.987654)["svg"])
    assert {"learning rate", "loss scale (factor)", "accuracy (%)"} <= set(written)
    assert "test, final weights (98.77 %)" in written
    assert "after the epoch (3 steps skipped)" in written
    assert (written.count("best epoch"), written.count("validation")) == (4, 2)


def test_what_is_not_finite_leaves_a_gap():
    # JSON's null, in a run that diverged, stands for NaN and Inf.
    history = [epoch(1), epoch(2, step_loss=[0.25, None], train_loss=0.25)]
    assert curves(history)["png"] != curves([epoch(1), epoch(2, step_loss=[0.25, 0.3])])["png"]
    assert curves([epoch(1, step_loss=[None], train_loss=None)])["png"].startswith(PNG)


def test_a_cell_of_the_confusion_matrix_has_its_number_and_its_share():
    written = text_of(FIGURES["confusion"]()["svg"])
    for text in ("7", "70.0 %", "3", "30.0 %", "9999", "100.0 %", "cat", "dog", "bird"):
        assert text in written
    assert "< 0.1 %" in written  # 1 of 10,000
    assert "0.0 %" not in written
    assert {"predicted class", "share of the true class"} <= set(written)


def test_a_hundred_classes_are_named_and_counted():
    counts = np.diag(np.arange(1000, 1100))
    written = text_of(confusion_figure("a run", counts, [f"class {i}" for i in range(100)])["svg"])
    for i in range(100):
        assert written.count(f"class {i}") == 2
        assert written.count(f"{1000 + i}") == 1


def test_a_wrong_prediction_is_marked_with_a_cross_and_a_thick_frame():
    figure = FIGURES["gallery"]()
    written = text_of(figure["svg"])
    assert [text for text in written if text.startswith("\u00d7")] == ["\u00d7 0"]
    assert written.count("3") == 1  # true, and never predicted
    right = gallery_figure("a run", PIXELS, 23, list("0123"), list("0123"))
    widths = [svg.count(b"stroke-width: 3") for svg in (right["svg"], figure["svg"])]
    assert widths == [0, 4]  # four sides


def test_a_gallery_has_thirty_places_and_says_where_it_is_empty():
    pixels = np.zeros((31, 3, 2, 2), np.uint8)
    names = [f"c{i}" for i in range(31)]
    written = text_of(gallery_figure("a run", pixels, 255, names, names)["svg"])
    assert written.count("c29") == 2
    assert "c30" not in written
    assert "none" in text_of(gallery_figure("a run", pixels[:0], 255, [], [])["svg"])


def test_a_scatter_counts_what_it_cannot_draw():
    true = np.array([0.0, 1.0, 2.0, 3.0])
    written = text_of(scatter_figure("a run", np.array([0.0, np.nan, 2.0, np.inf]), true)["svg"])
    assert "2 predictions are not finite, and not drawn" in written
    assert "2 test samples" in written
    assert any("standardised" in text for text in written)
    nothing = text_of(scatter_figure("a run", np.full(4, np.nan), true)["svg"])
    assert "0 test samples" in nothing
    assert "predicted = true" not in nothing
