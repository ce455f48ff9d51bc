"""What an epoch of training costs, emulated and in PyTorch's float32, and where the time goes.

The network `cnn` on images of MNIST's shape, made up here: speed does not depend on what they show. Steps
are timed and an epoch is so many of them: 54,000 images in batches of 256 are 210.9 steps.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np

from emunum.experiments.bench.case import MissingPeerError
from emunum.experiments.bench.peers import torch_cnn_steps
from emunum.experiments.datasets import Images, ImageSamples
from emunum.experiments.training.state import State
from emunum.experiments.training.stepping import Stepper
from emunum.formats import Cast
from emunum.kernels import cpu
from emunum.kernels.cpu import get_threads
from emunum.kernels.random import Key
from emunum.nn.initial import new_stream, parse_scheme
from emunum.nn.loss import LOSSES
from emunum.nn.loss_scaling import ConstantScaling
from emunum.nn.models import build
from emunum.nn.optim import Adam
from emunum.ops.arithmetic import bind
from emunum.ops.policy import Role, parse_policy

IMAGES, SHAPE, CLASSES, BATCH = 54_000, (1, 28, 28), 10, 256
LEARNING_RATE, WEIGHT_DECAY, LOSS_SCALE = 1e-3, 1e-4, 1024.0
CASES = tuple(
    (f"{policy} e4m3 {rounding}", policy, rounding)
    for policy in ("mixed", "full")
    for rounding in ("nearest", "stochastic")
)
"""Name, policy and rounding of what is measured in e4m3."""
PYTORCH = "PyTorch float32"
_SHOWN = 4
"""Kernels that a row names, those that take longest."""
_LINGERS_S = 0.2
"""How long PyTorch's threads may go on spinning, in the way of the next case."""


class Timed(ModuleType):
    """A backend whose functions note how long they take: `inside_s`, by name.

    A function that is called within another counts as part of that one.
    """

    def __init__(self, backend: ModuleType, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__("timed")
        self.inside_s: Counter[str] = Counter()
        self._backend, self._clock, self._busy = backend, clock, False

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._backend, name)
        if not callable(function):
            return function

        @wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            if self._busy:
                return function(*arguments, **options)
            self._busy, start = True, self._clock()
            try:
                return function(*arguments, **options)
            finally:
                self.inside_s[name] += self._clock() - start  # type: ignore[assignment]
                self._busy = False

        setattr(self, name, timed)
        return timed


@dataclass(slots=True)
class _Racer:
    """Something that takes steps, and what they took."""

    name: str
    prepare: Callable[[], Callable[[int], object]]
    backend: Timed | None = None
    lingers_s: float = 0.0
    times: list[float] = field(default_factory=list)
    peak_bytes: int | None = None


def measure(
    *,
    steps: int = 5,
    images: int = IMAGES,
    batch: int = BATCH,
    backend: ModuleType = cpu,
    on_step: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Take `steps` steps of every case in turns; return a row each, and the libraries not installed.

    Two steps before them compile and are not counted; peak_bytes is the most memory that the process held
    during these (with PyTorch, last, what came before is in it), None where the system does not say. epoch_s
    is the median step's time times images / batch, ratio_to_pytorch its ratio to PyTorch's. inside is the
    share of the time spent in functions of the backend, where the emulated arithmetic is (`host` waits for
    a device), and slowest those that take most of it, with their shares. `on_step` is called for each of
    steps + 2 steps a case. Raises ValueError where there are fewer images than a batch has.
    """
    if not 1 <= batch <= images:
        raise ValueError(f"a batch of {batch} images does not come out of {images}. Pass a smaller one.")
    samples = _samples(images)
    racers = [_emulated(name, policy, rounding, samples, batch, backend) for name, policy, rounding in CASES]
    racers.append(
        _Racer(PYTORCH, lambda: torch_cnn_steps(samples, batch, get_threads()), lingers_s=_LINGERS_S)
    )
    taken: dict[str, Callable[[int], object]] = {}
    missing = []
    for racer in racers:
        _forget_peak()
        try:
            taken[racer.name] = racer.prepare()
        except MissingPeerError as error:
            missing.append(str(error))
        for number in range(2):
            if racer.name in taken:
                taken[racer.name](number)
            on_step()
        racer.peak_bytes = _peak_bytes()
        if racer.backend:
            racer.backend.inside_s.clear()
        time.sleep(racer.lingers_s)
    racers = [racer for racer in racers if racer.name in taken]
    for number in range(2, steps + 2):
        for racer in racers:
            start = clock()
            taken[racer.name](number)
            racer.times.append(clock() - start)
            on_step()
            time.sleep(racer.lingers_s)
    epochs = {racer.name: median(racer.times) * images / batch for racer in racers}
    return [_row(racer, epochs, steps, batch) for racer in racers], missing


def _row(racer: _Racer, epochs: dict[str, float], steps: int, batch: int) -> dict[str, Any]:
    total, inside = sum(racer.times), racer.backend.inside_s if racer.backend else None
    slowest = {} if inside is None else {name: s / total for name, s in inside.most_common(_SHOWN)}
    return {
        "name": racer.name,
        "steps": steps,
        "batch_size": batch,
        "threads": get_threads(),
        "step_s": median(racer.times),
        "epoch_s": epochs[racer.name],
        "ratio_to_pytorch": epochs[racer.name] / epochs[PYTORCH] if PYTORCH in epochs else None,
        "peak_bytes": racer.peak_bytes,
        "inside": None if inside is None else inside.total() / total,
        "slowest": slowest,
    }


def _samples(images: int) -> ImageSamples:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, *SHAPE), np.uint8)
    labels = rng.integers(0, CLASSES, images).astype(np.uint8)
    classes = tuple(map(str, range(CLASSES)))
    made = Images(name="made up", pixels=pixels, labels=labels, classes=classes, origin="made here")
    return ImageSamples(images=made, index=np.arange(images))


def _emulated(
    name: str, policy: str, rounding: str, samples: ImageSamples, batch: int, backend: ModuleType
) -> _Racer:
    timed = Timed(backend)

    def prepare() -> Callable[[int], object]:
        model, optimizer = build("cnn", SHAPE, CLASSES), Adam(weight_decay=WEIGHT_DECAY)
        arith = bind(parse_policy(policy, Cast.from_names("e4m3", rounding)), Key(0), backend=timed)
        params = [
            {name: arith.cast(Role.MASTER, w) for name, w in own.items()}
            for own in model.initial(parse_scheme("torch"), new_stream(0))
        ]
        stepper = Stepper(
            arith=arith,
            model=model,
            loss=LOSSES["cross_entropy"],
            optimizer=optimizer,
            rate=lambda step: LEARNING_RATE,
            samples=samples.moved(backend.resident),
            augment_seed=None,
            drained=lambda: (),
        )
        scale = ConstantScaling(scale=LOSS_SCALE)
        state = State(params=params, optimizer=optimizer.state(params), scale=scale)

        def step(number: int) -> None:
            nonlocal state
            state = stepper.step(state, rows_of(number, batch, len(samples)))

        return step

    return _Racer(name, prepare, timed)


def rows_of(number: int, batch: int, images: int) -> slice:
    """Return the samples of a step: full batches in order, from the start again at the end."""
    at = number % (images // batch) * batch
    return slice(at, at + batch)


def _forget_peak() -> None:
    """Let the peak count from here on, where the system (Linux) can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int | None:
    """Most memory resident since, or None where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
