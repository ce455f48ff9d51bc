"""Other libraries at the same work. Each is optional, and imported when its first case is prepared.

Work is smaller where a library is slow: rates are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from emunum.experiments.bench.case import Call, Case, MissingPeerError
from emunum.experiments.bench.casts import COPY
from emunum.experiments.bench.products import BLAS

_SLOW, _SLOWER, _SLOWEST = 1 << 22, 1 << 20, 1 << 18


def cast_peers(elements: int) -> Iterator[Case]:
    """Yield casts of float32 arrays by ml_dtypes, qtorch, pychop and gfloat."""

    def case(name: str, prepare: Callable[[Any], Call], most: int) -> Case:
        count = min(elements, most)

        def with_input() -> Call:
            x = np.random.default_rng(0).standard_normal(count).astype(np.float32)
            return _of_peer(name.split()[0], lambda: prepare(x))

        return Case(
            group="cast", name=name, work=count, unit="elements/s", prepare=with_input, reference=COPY
        )

    for dtype in ("float8_e4m3fn", "float8_e5m2", "bfloat16"):
        yield case(f"ml_dtypes {dtype}", lambda x, dtype=dtype: _ml_dtypes(x, dtype), elements)  # type: ignore[misc]
    for rounding in ("nearest", "stochastic"):
        yield case(f"qtorch e5m2 {rounding}", lambda x, how=rounding: _qtorch(x, how), _SLOW)  # type: ignore[misc]
    for rounding, number in (("nearest", 1), ("stochastic", 5)):
        yield case(f"pychop e5m2 {rounding}", lambda x, how=number: _pychop(x, how), _SLOWER)  # type: ignore[misc]
    yield case("gfloat e4m3 nearest", _gfloat, _SLOWEST)


def matmul_peers(size: int) -> Iterator[Case]:
    """Yield APyTypes' product with a rounded accumulator, in the IEEE-like format e4m3."""
    n = min(size, 128)
    yield Case(
        group="matmul",
        name="apytypes float8_e4m3 nearest",
        work=n**3,
        unit="multiply-adds/s",
        prepare=lambda: _of_peer("apytypes", lambda: _apytypes(n)),
        reference=BLAS,
    )


def _of_peer(name: str, prepare: Callable[[], Call]) -> Call:
    try:
        return prepare()
    except (ImportError, OSError, RuntimeError) as error:  # qtorch compiles its own code when imported
        raise MissingPeerError(name) from error


def _ml_dtypes(x: Any, dtype: str) -> Call:
    import ml_dtypes

    return lambda: x.astype(getattr(ml_dtypes, dtype))


def _qtorch(x: Any, rounding: str) -> Call:
    import torch
    from qtorch.quant import float_quantize

    tensor = torch.from_numpy(x)
    return lambda: float_quantize(tensor, exp=5, man=2, rounding=rounding)


def _pychop(x: Any, rounding: int) -> Call:
    from pychop import Chop

    chop = Chop(5, 2, rmode=rounding)
    return lambda: chop(x)


def _gfloat(x: Any) -> Call:
    import gfloat
    from gfloat.formats import format_info_ocp_e4m3

    return lambda: gfloat.round_ndarray(format_info_ocp_e4m3, x)


def _apytypes(size: int) -> Call:
    from apytypes import APyFloatAccumulatorContext, APyFloatArray

    x = np.random.default_rng(0).standard_normal((size, size))
    matrix = APyFloatArray.from_float(x, exp_bits=4, man_bits=3)

    def call() -> object:
        with APyFloatAccumulatorContext(exp_bits=4, man_bits=3):
            return matrix @ matrix

    return call


def torch_cnn_steps(samples: Any, batch: int, threads: int) -> Callable[[int], object]:
    """Return PyTorch's training step, of float32, of the network that emunum calls `cnn`.

    Adam as bench.training has it, on the batches of `samples` in order. Uses `threads` threads. Raises
    MissingPeerError.
    """
    try:
        return _torch_cnn_steps(samples, batch, threads)
    except (ImportError, OSError) as error:
        raise MissingPeerError("torch") from error


def _torch_cnn_steps(samples: Any, batch: int, threads: int) -> Callable[[int], object]:
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    channels, height, width = samples.shape
    flat = 64 * (height // 4) * (width // 4)
    model = nn.Sequential(
        *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(flat, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, samples.outputs)),
    )
    loss, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)

    def step(number: int) -> object:
        at = number % (len(samples) // batch) * batch
        rows = slice(at, at + batch)
        x = torch.from_numpy(samples.features(rows))
        labels = torch.from_numpy(samples.targets(rows).argmax(axis=1))
        optimizer.zero_grad()
        value = loss(model(x), labels)
        value.backward()
        optimizer.step()
        return value.item()

    return step
