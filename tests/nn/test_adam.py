"""Adam, element by element, against its docstring in fractions and in NumPy's float32, and against torch."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from inputs import cast
from oracles import (
    ADD,
    CAST,
    DIVIDE,
    MULTIPLY,
    SCALED_ADD_PRODUCT,
    SCALED_ADD_SUM,
    SQUARE_ROOT,
    SUBTRACT,
    assert_same,
    element_draws,
)

from emunum.formats import Accumulator, Format
from emunum.formats.exact import add_exact, divide_exact, multiply_exact, round_exact, sqrt_exact
from emunum.kernels.random import Key
from emunum.nn.optim import SGD, Adam
from emunum.ops.arithmetic import Arithmetic, bind
from emunum.ops.policy import IntegerPolicy, Policy, Role, parse_policy
from emunum.ops.scaling import IntegerAccumulator, Scale

F32 = np.float32


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def distinct(rounding):
    """The update's format and the master weights' differ, and no other role has a usable cast."""
    roles = {Role.UPDATE: cast("e5m6", rounding), Role.MASTER: cast("e4m3", rounding)}
    return Policy(
        name="distinct",
        product=None,
        accumulator=Accumulator(cast=cast("e2m1")),
        elementwise=cast("e2m1"),
        roles=roles,
    )


def float32():
    return bind(parse_policy("full", cast("float32")), Key(0))


def constants(adam, lr, step, smallest):
    """lr_t and eps_t from exact powers: float64 errors of either way round to the same float32 here."""
    corrections = [1 - Fraction(beta) ** step for beta in (adam.beta1, adam.beta2)]
    root = math.sqrt(float(corrections[1]))
    return F32(lr * root / float(corrections[0])), max(F32(adam.eps * root), F32(smallest))


class Reference:
    """One parameter's step in rational arithmetic. `part` is eight times its place in the layer."""

    def __init__(self, policy, key, slot):
        self.policy, self.key, self.part = policy, key, 8 * slot

    def each(self, function, operation, part, *operands, role=Role.UPDATE):
        to, key = self.policy.roles[role], self.key.fold(role, self.part + part).value
        flat = [np.asarray(x, float).ravel() for x in np.broadcast_arrays(*operands)]
        size = flat[0].size
        draws = element_draws(size, to, key, operation).tolist() if to.stochastic else [0] * size
        return np.array([function(*scalars, to, draw) for *scalars, draw in zip(*flat, draws, strict=True)])

    def scaled_add(self, y, alpha, x, part):
        product = self.each(multiply_exact, SCALED_ADD_PRODUCT, part, float(F32(alpha)), x)
        return self.each(add_exact, SCALED_ADD_SUM, part, y, product)

    def moved(self, mean, x, beta, part):
        return self.scaled_add(mean, 1 - beta, self.each(add_exact, SUBTRACT, part, x, -mean), part)

    def step(self, adam, w, g, m, v, lr, step, loss_scale):
        rate, eps = constants(adam, lr, step, self.policy.roles[Role.UPDATE].format.smallest)
        if loss_scale != 1:
            g = self.each(multiply_exact, MULTIPLY, 0, float(F32(1 / loss_scale)), g)
        if adam.weight_decay:
            g = self.scaled_add(g, adam.weight_decay, w, 1)
        m = self.moved(m, g, adam.beta1, 2)
        v = self.moved(v, self.each(multiply_exact, MULTIPLY, 3, g, g), adam.beta2, 3)
        size = self.each(add_exact, ADD, 4, self.each(sqrt_exact, SQUARE_ROOT, 4, v), float(eps))
        q = self.each(divide_exact, DIVIDE, 4, m, size)
        w = self.scaled_add(w, -rate, q, 5)
        return self.each(round_exact, CAST, 0, w, role=Role.MASTER), m, v


@pytest.mark.parametrize("rounding", ["nearest", "toward_zero", "stochastic"])
@pytest.mark.parametrize(
    ("adam", "loss_scale"),
    [
        (Adam(), 1.0),
        (Adam(weight_decay=0.3), 8.0),
        (Adam(beta1=0.5, beta2=0.75, eps=0.25, weight_decay=0.3), 1000.0),
        (Adam(beta1=0.0, beta2=0.0), 1.0),
    ],
    ids=["default", "decay", "all", "no memory"],
)
def test_three_steps_have_the_bits_of_the_formulas(adam, loss_scale, rounding):
    policy = distinct(rounding)
    params = [{"w": numbers(1, 2, 3), "b": numbers(2, 2)}, {}, {"w": numbers(3, 4, 2)}]
    state = adam.state(params)
    expected = {(i, name): w.ravel() for i, own in enumerate(params) for name, w in own.items()}
    moments = {place: (np.zeros(w.size), np.zeros(w.size)) for place, w in expected.items()}
    for step in (1, 2, 3):
        grads = [
            {name: numbers(10 * step + i, *w.shape) for name, w in own.items()}
            for i, own in enumerate(params)
        ]
        arith = Arithmetic(policy=policy, key=Key(7)).at(step, 1)
        params, state = adam.step(arith, params, grads, state, 0.1, step, loss_scale)
        for index, own in enumerate(grads):
            for slot, (name, g) in enumerate(own.items()):
                place, reference = (index, name), Reference(policy, arith.key.fold(index), slot)
                expected[place], *moments[place] = reference.step(
                    adam, expected[place], g.ravel(), *moments[place], 0.1, step, loss_scale
                )
                found = (params[index][name], state[index][f"{name}.m"], state[index][f"{name}.v"])
                for mine, theirs in zip(found, (expected[place], *moments[place]), strict=True):
                    assert_same(mine.ravel(), theirs)


def float32_steps(adam, w, grads, lr, loss_scale=1.0):
    """The docstring's lines in NumPy's float32, whose operations round to nearest even."""
    m, v = np.zeros_like(w), np.zeros_like(w)
    for step, g in enumerate(grads, 1):
        rate, eps = constants(adam, lr, step, 2.0**-149)
        g = F32(1 / loss_scale) * g if loss_scale != 1 else g
        g = g + F32(adam.weight_decay) * w if adam.weight_decay else g
        m = m + F32(1 - adam.beta1) * (g - m)
        v = v + F32(1 - adam.beta2) * (g * g - v)
        w = w - rate * (m / (np.sqrt(v) + eps))
    return w


INT8 = IntegerPolicy(
    name="int8",
    cast=cast("int8"),
    accumulator=IntegerAccumulator(),
    scale=Scale.ABSMAX,
    per_channel=False,
    integer_master=False,
)


@pytest.mark.parametrize("policy", [parse_policy("full", cast("float32")), INT8], ids=["float32", "int8"])
@pytest.mark.parametrize("loss_scale", [1.0, 1024.0])
def test_thirty_float32_steps_have_the_bits_of_numpy(policy, loss_scale):
    adam, w = Adam(weight_decay=1e-2), numbers(0, 500)
    grads = [numbers(seed, 500) * F32(2.0 ** (-seed % 7)) for seed in range(1, 31)]
    params, arith = [{"w": w}], bind(policy, Key(0))
    state = adam.state(params)
    for step, g in enumerate(grads, 1):
        params, state = adam.step(arith.at(step), params, [{"w": g}], state, 1e-2, step, loss_scale)
    assert_same(params[0]["w"], float32_steps(adam, w, grads, 1e-2, loss_scale))


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adam_follows_torch(weight_decay):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    # Gradients between 1/2 and 1, the decay at most 0.04 of that: m and v are averages of numbers of one
    # sign, and a step adds at most 2 u to their relative errors, u = 2^-24. After T = 20 steps those of m,
    # of sqrt v and of the quotient come to at most 20 (2 + 1) u + 6 u = 66 u, in either computation. w moves
    # by lr |q| <= 1.5 lr a step, off by 2 (66 u) 1.5 lr, and rounds by u |w| in each, |w| <= 4.
    steps, lr, rng = 20, 1e-2, np.random.default_rng(1)
    tolerance = steps * 2.0**-24 * (2 * 66 * 1.5 * lr + 2 * 4)
    w = rng.uniform(-3, 3, 1000).astype(F32)
    theirs = torch.nn.Parameter(torch.from_numpy(w.copy()))
    optimizer = torch.optim.Adam([theirs], lr, weight_decay=weight_decay)
    adam, params = Adam(weight_decay=weight_decay), [{"w": w}]
    state = adam.state(params)
    for step in range(1, steps + 1):
        g = rng.uniform(0.5, 1, 1000).astype(F32)
        theirs.grad = torch.from_numpy(g)
        optimizer.step()
        params, state = adam.step(float32(), params, [{"w": g}], state, lr, step)
    moved = np.abs(params[0]["w"] - w)
    assert moved.min() > 0.1
    np.testing.assert_allclose(params[0]["w"], theirs.detach().numpy(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["e4m3", "e5m2", "q4.4"])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_a_gradient_of_zero_moves_nothing_and_makes_no_nan(name, rounding):
    arith = bind(parse_policy("full", cast(name, rounding, "saturate")), Key(0))
    params = [{"w": np.array([1.0, -2.0, 0.0], F32)}]
    adam, zeros = Adam(), [{"w": np.zeros(3, F32)}]
    new, state = adam.step(arith, params, zeros, adam.state(params), 0.1, 1)
    assert_same(new[0]["w"], params[0]["w"])
    assert state[0]["w.m"].tolist() == state[0]["w.v"].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("rounding", ["nearest", "stochastic", "up", "down"])
@pytest.mark.parametrize("name", ["e4m3", "bfloat16"])
def test_the_average_square_never_falls_below_zero(name, rounding):
    arith = bind(parse_policy("full", cast(name, rounding)), Key(0))
    adam, rng = Adam(beta2=0.5), np.random.default_rng(2)
    params = [{"w": np.zeros(500, F32)}]
    state = adam.state(params)
    for step in range(1, 30):
        grads = [{"w": (rng.normal(size=500) * np.exp2(rng.integers(-9, 2, 500))).astype(F32)}]
        grads[0]["w"][: 20 * step] = 0
        params, state = adam.step(arith.at(step), params, grads, state, 1e-3, step)
        assert (state[0]["w.v"] >= 0).all()


@pytest.mark.parametrize("beta", [-0.1, 1.0, math.nan])
@pytest.mark.parametrize("name", ["beta1", "beta2"])
def test_a_beta_out_of_range_is_refused(name, beta):
    with pytest.raises(ValueError, match=f"{name} .* is out of range"):
        Adam(**{name: beta})


@pytest.mark.parametrize("optimizer", [Adam(), SGD(momentum=0.9), SGD()], ids=["adam", "momentum", "sgd"])
def test_parameters_without_gradients_and_old_arrays_stay_as_they_are(optimizer):
    params = [{"mean": numbers(1, 3), "w": numbers(2, 3), "var": numbers(3, 3)}]
    before = [{name: w.copy() for name, w in own.items()} for own in params]
    state = optimizer.state(params)
    kept = [{name: x.copy() for name, x in own.items()} for own in state]
    new, next_state = optimizer.step(float32(), params, [{"w": numbers(4, 3)}], state, 0.1, 1)
    assert list(new[0]) == ["mean", "w", "var"]
    assert new[0]["mean"] is params[0]["mean"]
    assert new[0]["var"] is params[0]["var"]
    assert (new[0]["w"] != params[0]["w"]).all()
    for old, copy in zip([*params, *state], [*before, *kept], strict=True):
        for name in copy:
            assert_same(old[name], copy[name])
    assert next_state[0].keys() == state[0].keys()


def test_a_state_is_arrays_alone_in_the_updates_format():
    params, adam = [{"w": numbers(1, 4, 2)}, {}], Adam()
    arith = bind(parse_policy("full", cast("e4m3", "stochastic")), Key(1))
    _, state = adam.step(arith, params, [{"w": numbers(2, 4, 2)}, {}], adam.state(params), 0.1, 1)
    assert [list(own) for own in state] == [["w.m", "w.v"], []]
    e4m3 = Format.from_name("e4m3")
    for x in state[0].values():
        assert x.dtype == F32
        assert all(round_exact(value, cast("e4m3")) == value for value in x.ravel().tolist())
        assert np.abs(x).max() <= e4m3.max
