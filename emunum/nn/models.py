"""Models by name: from the shape of a sample and the number of outputs to layers in a row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from emunum.formats.names import unknown
from emunum.kernels.windows import Window
from emunum.nn.convolution import Conv2d
from emunum.nn.initial import SCHEMES, new_stream
from emunum.nn.layers import Dropout, Flatten, Layer, Linear, ReLU, trained
from emunum.nn.normalisation import BatchNorm2d
from emunum.nn.pooling import AvgPool2d, MaxPool2d
from emunum.nn.residual import Residual, Shortcut
from emunum.nn.sequential import Sequential

Shape = tuple[int, ...]
"""Of one sample: (d,) of a table, (channels, height, width) of an image."""

DEFAULT_HIDDEN = (32,)
"""Hidden sizes of `mlp` for tables."""
IMAGE_HIDDEN = (256, 128)
"""Hidden sizes of `mlp` for images."""
IMAGE_DROPOUT = 0.2
"""Dropout rate of `mlp` for images; there is none for tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be chosen of a model: hidden sizes (mlp) and the dropout rate; None is the model's own."""

    hidden: tuple[int, ...] | None = None
    dropout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model's name, what it takes, and how it is built.

    `least` is the smallest height and width of an image it takes; 0 means that it takes tables as well.
    """

    name: str
    layers: Callable[[Shape, int, Options], list[Layer]]
    least: int = 0
    hidden: bool = False
    """Whether hidden sizes can be chosen."""
    dropout: bool = False
    """Whether the dropout rate can be chosen."""

    def check(self, options: Options) -> None:
        """Raise ValueError where an option makes no sense with this model."""
        if options.hidden and not self.hidden:
            raise ValueError(
                f"hidden sizes {options.hidden!r} need --model mlp: the {self.name} model "
                f"{'has no hidden layer' if not self.least else 'has its own'}."
            )
        if any(size < 1 for size in options.hidden or ()):
            raise ValueError(f"hidden sizes {options.hidden!r}: each must be at least 1.")
        if options.dropout is not None:
            if not self.dropout:
                able = ", ".join(model.name for model in _MODELS if model.dropout)
                raise ValueError(
                    f"a dropout rate of {options.dropout!r} is for models with dropout ({able}): "
                    f"{self.name} has none."
                )
            Dropout(rate=options.dropout)

    def fits(self, shape: Shape) -> bool:
        """Whether the model takes samples of this shape."""
        return not self.least or (len(shape) == 3 and min(shape[1:]) >= self.least)

    def build(self, shape: Shape, outputs: int, options: Options) -> Sequential:
        """Return the model for samples of a shape, or raise ValueError."""
        self.check(options)
        if not self.fits(shape):
            fitting = ", ".join(model.name for model in _MODELS if model.fits(shape))
            raise ValueError(
                f"model {self.name} takes images (channels, height, width) of at least {self.least} x "
                f"{self.least} pixels, not samples of shape {shape}. What fits them: {fitting}."
            )
        return Sequential(layers=tuple(self.layers(shape, outputs, options)))


def parse_model(name: str) -> Model:
    """Return the model called `name`, or raise ValueError."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]


def build(
    name: str, shape: Shape, outputs: int, hidden: tuple[int, ...] | None = None, dropout: float | None = None
) -> Sequential:
    """Return the model called `name`, see MODELS, for samples of a shape.

    Raises ValueError for an unknown name, hidden sizes below 1 or for a model that has its own, a dropout
    rate outside [0, 1) or for a model without dropout, and a shape that the model does not take.
    """
    return parse_model(name).build(shape, outputs, Options(hidden=hidden, dropout=dropout))


def parameter_count(model: Sequential) -> int:
    """Return the number of trained parameters."""
    params = model.initial(SCHEMES["zeros"], new_stream(0))
    return sum(w.size for own in params for w in trained(own).values())


def _linear(shape: Shape, outputs: int, options: Options) -> list[Layer]:
    return [*_flat(shape), Linear(n_in=math.prod(shape), n_out=outputs)]


def _mlp(shape: Shape, outputs: int, options: Options) -> list[Layer]:
    hidden, rate = (IMAGE_HIDDEN, IMAGE_DROPOUT) if len(shape) == 3 else (DEFAULT_HIDDEN, 0.0)
    layers, n_in = _flat(shape), math.prod(shape)
    for size in hidden if options.hidden is None else options.hidden:
        layers += [Linear(n_in=n_in, n_out=size), ReLU(), *_dropout(options, rate)]
        n_in = size
    return [*layers, Linear(n_in=n_in, n_out=outputs)]


def _cnn(shape: Shape, outputs: int, options: Options) -> list[Layer]:
    layers: list[Layer] = []
    channels, height, width = shape
    for n_out in (32, 64):
        layers += [_convolution(channels, n_out, 3, 1), ReLU(), MaxPool2d(window=_HALVES)]
        channels, height, width = n_out, height // 2, width // 2
    layers += [Flatten(), Linear(n_in=channels * height * width, n_out=128), ReLU()]
    return [*layers, *_dropout(options, 0.5), Linear(n_in=128, n_out=outputs)]


def _lenet5(shape: Shape, outputs: int, options: Options) -> list[Layer]:
    channels, height, width = shape
    padding = 2 if min(height, width) < 32 else 0
    pixels = math.prod(((size + 2 * padding - 4) // 2 - 4) // 2 for size in (height, width))
    return [
        _convolution(channels, 6, 5, padding), ReLU(), MaxPool2d(window=_HALVES),
        _convolution(6, 16, 5, 0), ReLU(), MaxPool2d(window=_HALVES),
        Flatten(), Linear(n_in=16 * pixels, n_out=120), ReLU(), *_dropout(options, 0.0),
        Linear(n_in=120, n_out=84), ReLU(), *_dropout(options, 0.0), Linear(n_in=84, n_out=outputs),
    ]  # fmt: skip


def _cifar_quick(shape: Shape, outputs: int, options: Options) -> list[Layer]:
    channels, *size = shape
    pixels = math.prod(-(-pixel // 8) for pixel in size)
    pool = Window(kernel=(3, 3), stride=(2, 2), padding=(1, 1))
    return [
        _convolution(channels, 32, 5, 2), MaxPool2d(window=pool), ReLU(),
        _convolution(32, 32, 5, 2), ReLU(), AvgPool2d(window=pool),
        _convolution(32, 64, 5, 2), ReLU(), AvgPool2d(window=pool),
        Flatten(), Linear(n_in=64 * pixels, n_out=64), *_dropout(options, 0.0),
        Linear(n_in=64, n_out=outputs),
    ]  # fmt: skip


def _resnet20(shape: Shape, outputs: int, options: Options) -> list[Layer]:
    layers: list[Layer] = [_convolution(shape[0], 16, 3, 1, bias=False)]
    channels = 16
    for n_out in (16, 32, 64):
        for _ in range(3):
            layers.append(_block(channels, n_out))
            channels = n_out
    layers += [BatchNorm2d(n=channels), ReLU(), AvgPool2d(), Flatten()]
    return [*layers, Linear(n_in=channels, n_out=outputs)]


def _block(n_in: int, n_out: int) -> Residual:
    stride = 1 if n_in == n_out else 2
    body = (
        *(BatchNorm2d(n=n_in), ReLU(), _convolution(n_in, n_out, 3, 1, stride, bias=False)),
        *(BatchNorm2d(n=n_out), ReLU(), _convolution(n_out, n_out, 3, 1, bias=False)),
    )
    return Residual(body=body, shortcut=None if stride == 1 else Shortcut(n_out=n_out, stride=stride))


_HALVES = Window(kernel=(2, 2), stride=(2, 2))


def _convolution(
    n_in: int, n_out: int, size: int, padding: int, stride: int = 1, bias: bool = True
) -> Conv2d:
    window = Window(kernel=(size, size), stride=(stride, stride), padding=(padding, padding))
    return Conv2d(n_in=n_in, n_out=n_out, window=window, bias=bias)


def _flat(shape: Shape) -> list[Layer]:
    return [Flatten()] if len(shape) > 1 else []


def _dropout(options: Options, rate: float) -> list[Layer]:
    rate = rate if options.dropout is None else options.dropout
    return [Dropout(rate=rate)] if rate else []


_MODELS = (
    Model(name="linear", layers=_linear),
    Model(name="mlp", layers=_mlp, hidden=True, dropout=True),
    Model(name="softmax_regression", layers=_linear),
    Model(name="cnn", layers=_cnn, least=4, dropout=True),
    Model(name="lenet5", layers=_lenet5, least=12, dropout=True),
    Model(name="cifar_quick", layers=_cifar_quick, least=8, dropout=True),
    Model(name="resnet20", layers=_resnet20, least=4),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _MODELS})
"""Name to model; images are flattened where a model takes tables.

`linear`, `softmax_regression`: one affine layer (the second name is the classifier's: 784-10, 7,850
parameters).
`mlp`: ReLU layers of the hidden sizes, each followed by dropout where there is any, then an affine layer:
32 without dropout for tables, 256, 128 with 0.2 for images (784-256-128-10: 235,146).
`cnn`: twice a 3 x 3 convolution with padding 1, ReLU and 2 x 2 max-pooling, of 32 and 64 channels; then
128 ReLU units, dropout 0.5, and the outputs (1 x 28 x 28: 421,642).
`lenet5`: 5 x 5 convolutions of 6 and 16 channels, ReLU and 2 x 2 max-pooling, then 120, 84 ReLU units;
images below 32 pixels are padded by 2 (1 x 28 x 28: 61,706). LeCun et al. (Proc. IEEE 1998) with ReLU and
max-pooling in place of their sigmoids, trained averages and partial connections.
`cifar_quick`: three 5 x 5 convolutions with padding 2, of 32, 32, 64 channels, and 3 x 3 pooling with
stride 2 (largest, mean, mean), then 64 units and the outputs (3 x 32 x 32: 145,578): Caffe's CIFAR10-quick,
whose rounding up of sizes is padding 1 here.
`resnet20`: a 3 x 3 convolution of 16 channels and three stages of three pre-activation blocks (batch
normalisation, ReLU, 3 x 3 convolution, twice) of 16, 32, 64 channels, the second and third stage starting
with stride 2, batch normalisation, ReLU, the mean over pixels and an affine layer; convolutions have no
biases, shortcuts no parameters (option A). 3 x 32 x 32: 269,722, the published 0.27 M (He et al., CVPR
2016, table 6); 1 x 1 convolutions as shortcuts would add 2,560.
"""
