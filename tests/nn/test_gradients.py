"""Gradients in float32 against a float64 network with error bounds, and that one against differences.

The float64 network carries, beside each value, a bound on how far a float32 computation in any order of
the same sums may be from it (running error analysis, Higham, Accuracy and Stability, section 3.3).
"""

import numpy as np
import pytest
from inputs import cast

from emunum.kernels.random import Key
from emunum.nn.initial import SCHEMES, new_stream
from emunum.nn.loss import mean_squared_error, mean_squared_error_gradient
from emunum.nn.models import build
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import parse_policy

F32 = np.float32
U = 2.0**-24

NETWORKS = {"linear": (), "mlp 6": (6,), "mlp 5, 4": (5, 4)}


def gamma(n):
    return n * U / (1 - n * U)


class Bounded:
    """A float64 value, and a bound on the distance of its float32 twin."""

    def __init__(self, value, bound=0.0):
        self.value = np.asarray(value, np.float64)
        self.bound = np.broadcast_to(np.asarray(bound, np.float64), self.value.shape)

    @property
    def most(self):
        return np.abs(self.value) + self.bound

    @property
    def T(self):  # noqa: N802
        return Bounded(self.value.T, self.bound.T)

    def __matmul__(self, other):
        # K products and K - 1 sums round: a factor of at most (1 + u)^K on every term.
        inherited = self.most @ other.most - np.abs(self.value) @ np.abs(other.value)
        own = gamma(self.value.shape[1]) * (self.most @ other.most)
        return Bounded(self.value @ other.value, inherited + own)

    def __add__(self, other):
        value = self.value + other.value
        bound = self.bound + other.bound
        return Bounded(value, bound + U * (np.abs(value) + bound))

    def __neg__(self):
        return Bounded(-self.value, self.bound)

    def scaled(self, alpha):
        # alpha is rounded to float32, then the product is.
        return Bounded(alpha * self.value, abs(alpha) * (self.bound + gamma(2) * self.most))

    def where(self, mask):
        return Bounded(np.where(mask, self.value, 0), np.where(mask, self.bound, 0))

    def column_sum(self):
        value = self.value.sum(axis=0)
        return Bounded(value, self.bound.sum(axis=0) + gamma(len(self.value)) * self.most.sum(axis=0))

    def holds(self, found):
        return (np.abs(found.astype(np.float64) - self.value) <= self.bound).all()


def reference(params, x, target):
    """Loss, output and gradients of a network of Linear layers with ReLU between, in float64."""
    layers = [(Bounded(own["w"]), Bounded(own["b"])) for own in params if own]
    h, inputs, masks = Bounded(x), [], []
    for index, (w, b) in enumerate(layers):
        inputs.append(h)
        h = h @ w.T + b
        if index < len(layers) - 1:
            assert (np.abs(h.value) > h.bound).all(), "rounding could flip a ReLU: choose another seed"
            masks.append(h.value > 0)
            h = h.where(masks[-1])
    error = (h + -Bounded(target)).scaled(2 / h.value.size)
    grads = []
    for index in reversed(range(len(layers))):
        grads.append({"w": error.T @ inputs[index], "b": error.column_sum()})
        if index:
            error = (error @ layers[index][0]).where(masks[index - 1])
    loss = float(((h.value - target) ** 2).mean())
    return loss, h, grads[::-1], masks


@pytest.fixture(params=NETWORKS)
def problem(request):
    hidden = NETWORKS[request.param]
    model = build("mlp", (4,), 2, hidden)
    params = model.initial(SCHEMES["torch"], new_stream(1))
    rng = np.random.default_rng(len(hidden))
    return model, params, rng.normal(size=(9, 4)).astype(F32), rng.normal(size=(9, 2)).astype(F32)


def test_float32_outputs_and_gradients_lie_within_the_rounding_error_of_float64(problem):
    model, params, x, target = problem
    arith = Arithmetic(policy=parse_policy("full", cast("float32")), key=Key(0))
    y, saved = model.forward(arith, params, x)
    grads = model.backward(arith, params, saved, mean_squared_error_gradient(arith, y, target))
    loss, output, expected, _ = reference(params, x, target)
    assert output.holds(y)
    assert abs(mean_squared_error(y, target) - loss) < 1e-5 * loss
    found = [own for own in grads if own]
    for own, bounded in zip(found, expected, strict=True):
        for name in ("w", "b"):
            assert bounded[name].holds(own[name])


def test_the_bounds_are_tight_enough_to_mean_something(problem):
    _, params, x, target = problem
    _, _, grads, _ = reference(params, x, target)
    for own in grads:
        for bounded in own.values():
            assert np.linalg.norm(bounded.bound) < 2e-5 * np.linalg.norm(bounded.value)


def test_the_float64_gradients_are_those_of_central_differences(problem):
    # The loss is a quadratic in any one parameter as long as no ReLU changes sides, so the difference
    # (f(p + h) - f(p - h)) / 2h has no truncation error, only the rounding of f: each f is a sum of 18
    # squares after at most 40 operations, 64 u64 f with room, so 64 u64 (f + f) / 2h in all.
    _, params, x, target = problem
    loss, _, grads, masks = reference(params, x, target)
    h = 2.0**-12
    tolerance = 64 * 2.0**-53 * 2 * (1.1 * loss) / (2 * h)
    layers = [own for own in params if own]
    for index, own in enumerate(layers):
        for name, w in own.items():
            for place in np.ndindex(w.shape):
                both = []
                for side in (h, -h):
                    moved = [
                        {key: value.astype(np.float64) for key, value in each.items()} for each in layers
                    ]
                    moved[index][name][place] += side
                    value, _, _, sides = reference(moved, x, target)
                    assert all((a == b).all() for a, b in zip(masks, sides, strict=True))
                    both.append(value)
                difference = (both[0] - both[1]) / (2 * h)
                assert abs(difference - grads[index][name].value[place]) <= tolerance
