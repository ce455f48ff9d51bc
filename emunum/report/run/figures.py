"""The figures of one run: training curves, confusion matrix, gallery of predictions, scatter.

Every difference shows in more than colour: in line style, marker, frame or words. Colours are Okabe and
Ito's; shades grow darker as shares grow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.report.figures import drawn

_BLACK, _BLUE, _ORANGE, _VERMILION, _GREY = "#000000", "#0072B2", "#E69F00", "#D55E00", "#808080"
_FEW = 20
"""Classes up to which a cell of the confusion matrix has room for its share too."""
_ROWS, _COLUMNS = 3, 10
GALLERY = _ROWS * _COLUMNS


def curves_figure(
    title: str, history: Sequence[Mapping[str, Any]], unit: str, best_epoch: int | None, test: float | None
) -> dict[str, bytes]:
    """Loss of steps, epochs and validation; validation accuracy, learning rate and loss scale if they vary.

    `history` has an epoch's dict each, `unit` is what the loss is in, `test` the accuracy on the test set.

    The mean of an epoch stands in its middle, what was measured after it at its end.
    """
    draws = [_draw_loss]
    if any(epoch["validation_accuracy"] is not None for epoch in history):
        draws.append(_draw_accuracy)
    draws += [_draw_rate] if _varies(history, "lr") else []
    draws += [_draw_scale] if _varies(history, "loss_scale") else []

    def draw(figure: Any) -> None:
        figure.suptitle(title, fontsize=9)
        panels = figure.subplots(len(draws), 1, sharex=True, squeeze=False)[:, 0]
        for panel, one in zip(panels, draws, strict=True):
            one(panel, history, unit, test)
            if best_epoch is not None:
                panel.axvline(best_epoch, color=_GREY, linestyle=":", linewidth=1.2, label="best epoch")
            panel.grid(alpha=0.3, linewidth=0.5)
            panel.legend(loc="best", fontsize=7)
        epochs = len(history)
        panels[-1].set_xlim(-0.02 * epochs, 1.02 * epochs)
        panels[-1].set_xlabel("epochs trained")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)

    return drawn(draw, (6.4, 1.0 + 2.6 * len(draws) - 0.5 * (len(draws) - 1)))


def _draw_loss(panel: Any, history: Sequence[Mapping[str, Any]], unit: str, test: float | None) -> None:
    at = [epoch["epoch"] for epoch in history]
    steps = [
        (epoch["epoch"] - 1 + (step + 1) / len(epoch["step_loss"]), value)
        for epoch in history
        for step, value in enumerate(epoch["step_loss"])
    ]
    means, validation = _numbers(history, "train_loss"), _numbers(history, "validation_loss")
    if len(steps) > len(history):
        x, y = np.array(steps, np.float64).T
        panel.plot(x, y, color=_GREY, alpha=0.6, linewidth=0.6, label="training, step")
    panel.plot(
        np.array(at) - 0.5, means, color=_BLUE, marker="o", markersize=3, label="training, mean of the epoch"
    )
    if np.isfinite(validation).any():
        panel.plot(
            at, validation, color=_VERMILION, linestyle="--", marker="s", markersize=3, label="validation"
        )
    shown = np.array([value for _, value in steps if value is not None], np.float64)
    if len(shown) and shown.min() > 0 and np.nanmax(means) > 10 * np.nanmin(means):
        panel.set_yscale("log")
    panel.set_ylabel(unit)


def _draw_accuracy(panel: Any, history: Sequence[Mapping[str, Any]], unit: str, test: float | None) -> None:
    at, values = [epoch["epoch"] for epoch in history], 100 * _numbers(history, "validation_accuracy")
    panel.plot(at, values, color=_VERMILION, linestyle="--", marker="s", markersize=3, label="validation")
    if test is not None:
        label = f"test, final weights ({100 * test:.2f} %)"
        panel.axhline(100 * test, color=_BLACK, linestyle="-.", linewidth=1, label=label)
    panel.set_ylabel("accuracy (%)")


def _draw_rate(panel: Any, history: Sequence[Mapping[str, Any]], unit: str, test: float | None) -> None:
    _draw_points(panel, history, "lr", "^", "at the last step of the epoch")
    panel.set_ylabel("learning rate")


def _draw_scale(panel: Any, history: Sequence[Mapping[str, Any]], unit: str, test: float | None) -> None:
    skipped = sum(epoch["skipped_steps"] for epoch in history)
    _draw_points(panel, history, "loss_scale", "D", f"after the epoch ({skipped} steps skipped)")
    panel.set_yscale("log", base=2)
    panel.set_ylabel("loss scale (factor)")


def _draw_points(panel: Any, history: Sequence[Mapping[str, Any]], key: str, marker: str, label: str) -> None:
    """A point for each epoch; the thin line between them leads the eye and claims nothing."""
    at, values = [epoch["epoch"] for epoch in history], _numbers(history, key)
    panel.plot(at, values, color=_BLACK, marker=marker, markersize=4, linewidth=0.5, label=label)


def confusion_figure(title: str, counts: NDArray[np.int64], classes: Sequence[str]) -> dict[str, bytes]:
    """Counts (k, k) of samples of class i taken for class j, shaded by their share of class i.

    Up to 20 classes each cell has the share in words too. A cell without samples is empty.
    """
    k = len(classes)
    of_class = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(of_class, 1)
    few = k <= _FEW
    cell, font = (0.52, 7.5) if few else (0.19, 5.0)

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        # The root spreads small shares, which are the errors; the bar beside it is labelled with shares.
        image = panel.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        for i, j in np.argwhere(counts):
            text = f"{counts[i, j]}\n{_percent(share[i, j])}" if few else f"{counts[i, j]}"
            color = "white" if np.sqrt(share[i, j]) > 0.6 else "black"
            panel.text(
                j, i, text, ha="center", va="center", fontsize=font - (few and k > 10), color=color,
                fontweight="bold" if i == j else "normal",
            )  # fmt: skip
        panel.set_xticks(range(k), classes, rotation=90 if max(map(len, classes)) > 3 or not few else 0)
        panel.set_yticks(range(k), classes)
        panel.tick_params(labelsize=font if not few else 8, length=0 if few else 1.5)
        for side in ("x", "y"):
            panel.tick_params(axis=side, which="minor", length=0)
        panel.set_xticks(np.arange(k + 1) - 0.5, minor=True)
        panel.set_yticks(np.arange(k + 1) - 0.5, minor=True)
        panel.grid(which="minor", color="#D0D0D0", linewidth=0.4)
        size = 9 if few else 16
        panel.set_xlabel("predicted class", fontsize=size)
        panel.set_ylabel("true class (samples" + ("; share of the class)" if few else ")"), fontsize=size)
        panel.set_title(title, fontsize=size)
        ticks = np.array([0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1])
        bar = figure.colorbar(image, ax=panel, shrink=0.8, pad=0.02, aspect=30)
        bar.set_ticks(np.sqrt(ticks), labels=[f"{100 * tick:g} %" for tick in ticks])
        bar.ax.tick_params(labelsize=8 if few else 12)
        bar.set_label("share of the true class", fontsize=size)

    return drawn(draw, (cell * k + 2.2, cell * k + 1.2))


def gallery_figure(
    title: str, pixels: NDArray[np.uint8], top: int, true: Sequence[str], predicted: Sequence[str]
) -> dict[str, bytes]:
    """Up to 3 x 10 images (n, C, H, W) of values 0 to `top`, its true class above each, the predicted below.

    A wrong one has a thick frame, and its prediction is bold behind a cross.
    """

    def draw(figure: Any) -> None:
        figure.suptitle(title, fontsize=9)
        panels = list(figure.subplots(_ROWS, _COLUMNS).flat)
        for panel in panels:
            panel.set_axis_off()
        for panel, image, own, other in zip(panels, pixels, true, predicted, strict=False):
            _draw_image(panel, image, top, own, other)
        if not len(pixels):
            figure.text(0.5, 0.45, "none", ha="center", fontsize=12)

    return drawn(draw, (10.5, 4.6))


def _draw_image(panel: Any, image: NDArray[np.uint8], top: int, true: str, predicted: str) -> None:
    wrong = true != predicted
    shown = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1) / top
    panel.imshow(shown, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
    panel.set_axis_on()
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set(color=_VERMILION if wrong else _GREY, linewidth=3.0 if wrong else 0.6)
    panel.set_title(true, fontsize=7, pad=3)
    panel.set_xlabel(
        f"\u00d7 {predicted}" if wrong else predicted,
        fontsize=7, labelpad=3, color=_BLACK, fontweight="bold" if wrong else "normal",
    )  # fmt: skip


def scatter_figure(title: str, predicted: NDArray[Any], true: NDArray[Any]) -> dict[str, bytes]:
    """Predicted against true targets (n,); what is not finite is counted and not drawn."""
    finite = np.isfinite(predicted) & np.isfinite(true)
    hidden = int(np.sum(~finite))
    x, y = true[finite], predicted[finite]

    def draw(figure: Any) -> None:
        panel = figure.subplots()
        panel.scatter(
            x, y, s=18, facecolors="none", edgecolors=_BLUE, linewidths=0.9, label=f"{len(x)} test samples"
        )
        if len(x):
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            panel.plot(ends, ends, color=_BLACK, linestyle="--", linewidth=1, label="predicted = true")
        panel.set_aspect("equal", adjustable="datalim")
        panel.grid(alpha=0.3, linewidth=0.5)
        panel.set_xlabel("true target (standardised: in standard deviations)")
        panel.set_ylabel("predicted target (standardised)")
        panel.set_title(title + (f"\n{hidden} predictions are not finite, and not drawn" if hidden else ""))
        panel.legend(loc="best", fontsize=7)

    return drawn(draw, (4.6, 4.4))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"


def _varies(history: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({epoch[key] for epoch in history}) > 1


def _numbers(history: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    return np.array([np.nan if epoch[key] is None else epoch[key] for epoch in history], np.float64)
