"""Stochastic gradient descent, element by element, against its docstring in rational arithmetic."""

import numpy as np
import pytest
from inputs import cast
from oracles import CAST, MULTIPLY, SCALED_ADD_PRODUCT, SCALED_ADD_SUM, assert_same, element_draws

from emunum.formats import Accumulator
from emunum.formats.exact import add_exact, multiply_exact, round_exact
from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.nn.optim import SGD
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import Policy, Role, parse_policy

F32 = np.float32
ROUNDINGS = ["nearest", "toward_zero", "stochastic"]


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


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def network():
    """Parameters and gradients of two layers; the second is wider, so that mixing them up shows."""
    params = [{"w": numbers(1, 2, 3), "b": numbers(2, 2)}, {}, {"w": numbers(3, 4, 2), "b": numbers(4, 4)}]
    grads = [{"w": numbers(5, 2, 3), "b": numbers(6, 2)}, {}, {"w": numbers(7, 4, 2), "b": numbers(8, 4)}]
    return params, grads


class Reference:
    """One parameter's step. `part` is four times its place in the layer; each line adds one."""

    def __init__(self, policy, key, slot):
        self.policy, self.key, self.part = policy, key, 4 * slot

    def each(self, role, function, operation, part, *operands):
        to = self.policy.roles[role]
        key = self.key.fold(role, part).value
        flat = [np.asarray(x, float).ravel().tolist() for x in operands]
        size = len(flat[-1])
        draws = element_draws(size, to, key, operation).tolist() if to.stochastic else [0] * size
        flat = [values * size if len(values) == 1 < size else values for values in flat]
        return [function(*scalars, to, draw) for *scalars, draw in zip(*flat, draws, strict=True)]

    def scaled_add(self, y, alpha, x, part):
        alpha = float(F32(alpha))
        product = self.each(Role.UPDATE, multiply_exact, SCALED_ADD_PRODUCT, part, [alpha], x)
        return self.each(Role.UPDATE, add_exact, SCALED_ADD_SUM, part, y, product)

    def decayed(self, sgd, w, g, loss_scale):
        if loss_scale != 1:
            factor = float(F32(1 / loss_scale))
            g = self.each(Role.UPDATE, multiply_exact, MULTIPLY, self.part, [factor], g)
        if sgd.weight_decay:
            g = self.scaled_add(g, sgd.weight_decay, w, self.part + 1)
        return g

    def sgd_step(self, sgd, w, g, v, loss_scale, lr=0.1):
        first, g = g, self.decayed(sgd, w, g, loss_scale)
        if sgd.momentum:
            g = v = self.scaled_add(g, sgd.momentum, v, self.part + 2)
        if sgd.nesterov:
            before = self.decayed(sgd, w, first, loss_scale)
            g = self.scaled_add(before, sgd.momentum, v, self.part)
        w = self.scaled_add(w, -lr, g, self.part + 3)
        return self.each(Role.MASTER, round_exact, CAST, self.part, w), v


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("loss_scale", [1.0, 1024.0, 1000.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_three_steps_have_the_bits_of_the_formulas(momentum, nesterov, weight_decay, loss_scale, rounding):
    sgd = SGD(momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
    policy, (params, grads) = distinct(rounding), network()
    state = sgd.state(params)
    expected = {(i, name): w for i, own in enumerate(params) for name, w in own.items()}
    velocity = {place: np.zeros(w.shape) for place, w in expected.items()}
    for step in range(3):
        arith = Arithmetic(policy=policy, key=Key(7)).at(step, 1)
        params, state = sgd.step(arith, params, grads, state, 0.1, step + 1, loss_scale)
        for index, own in enumerate(grads):
            for slot, (name, g) in enumerate(own.items()):
                reference = Reference(policy, arith.key.fold(index), slot)
                place = (index, name)
                expected[place], velocity[place] = reference.sgd_step(
                    sgd, expected[place], g, velocity[place], loss_scale
                )
                assert_same(params[index][name].ravel(), np.ravel(expected[place]))
                if momentum:
                    assert_same(state[index][name].ravel(), np.ravel(velocity[place]))


def test_the_order_is_loss_scale_then_decay_then_momentum_then_step():
    # Powers of two throughout: nothing rounds, and each line leaves its own mark on the result.
    arith = Arithmetic(policy=parse_policy("full", cast("float32")), key=Key(0))
    sgd = SGD(momentum=0.25, weight_decay=0.125)
    w, v = [{"w": np.array([8.0], F32)}], [{"w": np.array([16.0], F32)}]
    [new], [kept] = sgd.step(arith, w, [{"w": np.array([64.0], F32)}], v, 0.5, 1, loss_scale=32.0)
    # g = 64 / 32 + 8 / 8 = 3; v = 16 / 4 + 3 = 7; w = 8 - 7 / 2.
    assert kept["w"].tolist() == [7.0]
    assert new["w"].tolist() == [4.5]


def test_nesterov_adds_the_new_momentum_to_the_gradient_once_more():
    arith = Arithmetic(policy=parse_policy("full", cast("float32")), key=Key(0))
    sgd = SGD(momentum=0.25, nesterov=True)
    w, g, v = ([{"w": np.array([value], F32)}] for value in (8.0, 3.0, 4.0))
    [new], [kept] = sgd.step(arith, w, g, v, 0.5, 1)
    # v = 4 / 4 + 3 = 4; w = 8 - (3 + 4 / 4) / 2.
    assert kept["w"].tolist() == [4.0]
    assert new["w"].tolist() == [6.0]


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        SGD(nesterov=True)


def calls_of(sgd, loss_scale):
    called = []

    class Spy:
        def __getattr__(self, name):
            return lambda *args, **kwargs: called.append(name) or getattr(cpu, name)(*args, **kwargs)

    arith = Arithmetic(policy=parse_policy("full", cast("e4m3")), key=Key(0), backend=Spy())
    params, grads = [{"w": numbers(1, 3)}], [{"w": numbers(2, 3)}]
    sgd.step(arith, params, grads, sgd.state(params), 0.1, 1, loss_scale)
    return called


@pytest.mark.parametrize(
    ("sgd", "loss_scale", "calls"),
    [
        (SGD(), 1.0, ["scaled_add", "cast"]),
        (SGD(), 2.0, ["multiply", "scaled_add", "cast"]),
        (SGD(weight_decay=0.1), 1.0, ["scaled_add", "scaled_add", "cast"]),
        (SGD(momentum=0.1), 1.0, ["scaled_add", "scaled_add", "cast"]),
        (SGD(momentum=0.1, nesterov=True), 1.0, [*["scaled_add"] * 3, "cast"]),
        (SGD(momentum=0.5, weight_decay=0.5), 2.0, ["multiply", *["scaled_add"] * 3, "cast"]),
    ],
    ids=["plain", "loss scale", "weight decay", "momentum", "nesterov", "all"],
)
def test_a_coefficient_that_changes_nothing_costs_no_rounding(sgd, loss_scale, calls):
    assert calls_of(sgd, loss_scale) == calls


def test_state_is_kept_only_with_momentum():
    params, _ = network()
    assert SGD().state(params) == [{}, {}, {}]
    state = SGD(momentum=0.9).state(params)
    assert [{name: v.tolist() for name, v in own.items()} for own in state] == [
        {name: np.zeros(w.shape).tolist() for name, w in own.items()} for own in params
    ]


@pytest.mark.parametrize("power", [-6, 1, 10])
def test_a_loss_scale_of_a_power_of_two_is_undone_exactly_in_float32(power):
    params, grads = network()
    sgd = SGD(momentum=0.9, weight_decay=0.01)
    arith = Arithmetic(policy=parse_policy("full", cast("float32")), key=Key(0))
    scaled = [{name: g * F32(2.0**power) for name, g in own.items()} for own in grads]
    plain, _ = sgd.step(arith, params, grads, sgd.state(params), 0.1, 1)
    undone, _ = sgd.step(arith, params, scaled, sgd.state(params), 0.1, 1, loss_scale=2.0**power)
    for left, right in zip(plain, undone, strict=True):
        for name in left:
            assert_same(left[name], right[name])


def test_a_step_leaves_the_old_parameters_and_state_alone():
    params, grads = network()
    sgd = SGD(momentum=0.9)
    arith = Arithmetic(policy=parse_policy("full", cast("float32")), key=Key(0))
    state = sgd.state(params)
    sgd.step(arith, params, grads, state, 0.1, 1)
    same, _ = network()
    for old, copy in zip(params, same, strict=True):
        for name in old:
            assert_same(old[name], copy[name])
    assert all((v == 0).all() for own in state for v in own.values())


def test_layers_and_parameters_round_with_different_bits():
    coins = {"w": np.full(256, 1.0625, F32), "b": np.full(256, 1.0625, F32)}
    zeros = {name: np.zeros(256, F32) for name in coins}
    arith = Arithmetic(policy=parse_policy("full", cast("e4m3", "stochastic")), key=Key(0))
    new, _ = SGD().step(arith, [coins, coins], [zeros, zeros], [{}, {}], 1.0, 1)
    found = [w.tobytes() for own in new for w in own.values()]
    assert len(set(found)) == 4
    assert set(np.ravel([list(own.values()) for own in new]).tolist()) == {1.0, 1.125}
