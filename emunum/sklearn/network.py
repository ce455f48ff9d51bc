"""A run on samples that are handed over, and the network that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emunum.experiments.config import RunConfig
from emunum.experiments.datasets.samples import Float32Array, TableSamples, Task
from emunum.experiments.training.counting import Phase
from emunum.experiments.training.evaluation import outputs
from emunum.experiments.training.train import Training, arithmetic_of, model_of
from emunum.nn.layers import Array, Params
from emunum.ops.arithmetic import Arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenConfig(RunConfig):
    """The configuration of a run on samples of a shape that no name stands for."""

    dataset: str = "given"
    shape: tuple[int, ...]
    task: Task

    def shape_and_task(self) -> tuple[tuple[int, ...], Task]:
        """Shape of a sample, and what is to be learned from it."""
        return self.shape, self.task


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What is left of a training: weights by name, and the steps tried, on which random bits depend.

    It holds neither samples nor compiled code, so that it can be pickled.
    """

    config: GivenConfig
    weights: Mapping[str, Array]
    steps: int
    n_out: int

    @classmethod
    def of(cls, training: Training, config: GivenConfig) -> Network:
        """Return the network as the training leaves it."""
        n_out = training.split.train.outputs
        return cls(config=config, weights=training.named_weights(), steps=training.steps, n_out=n_out)

    def outputs(
        self, x: Float32Array, last: Callable[[Arithmetic, Array], Array] = lambda arith, y: y
    ) -> Array:
        """Return the emulated output (n, k) for samples x (n, d), in the bits that a run's test has."""
        config = self.config
        model = model_of(config, config.shape, self.n_out)
        params: list[Params] = [{} for _ in model.layers]
        for name, w in self.weights.items():
            index, _, own = name.partition(".")
            params[int(index)][own] = w
        x = x.reshape(-1, *config.shape)
        samples = TableSamples(x=x, y=x[:, :0])
        return outputs(arithmetic_of(config), model, params, samples, self.steps, Phase.TEST_ON_TEST, last)
