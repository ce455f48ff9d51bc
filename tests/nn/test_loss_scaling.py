"""Loss scaling: every transition, the bounds, and what counts as finite."""

import dataclasses
import math

import numpy as np
import pytest
from inputs import cast

from emunum.kernels.random import Key
from emunum.nn.loss_scaling import ConstantScaling, DynamicScaling, all_finite
from emunum.ops.arithmetic import bind
from emunum.ops.policy import IntegerPolicy, Role, parse_policy
from emunum.ops.scaling import IntegerAccumulator, Scale
from emunum.ops.strict import plain

F32 = np.float32


def scales(scaling, story):
    """The scale before each step of a story, in which "x" is an overflow, and after the last."""
    found = [scaling.scale]
    for event in story:
        scaling = scaling.after(event != "x")
        found.append(scaling.scale)
    return found


def test_a_constant_scaling_stays_and_leaves_no_step_out():
    assert scales(ConstantScaling(scale=1000.0), "..x.") == [1000.0] * 5
    assert ConstantScaling().scale == 1.0
    assert not ConstantScaling().skips


def test_a_dynamic_scaling_halves_on_overflow_and_doubles_after_n_good_steps():
    scaling = DynamicScaling(scale=8.0, every=3, least=1.0, greatest=64.0)
    assert scales(scaling, "...") == [8, 8, 8, 16]
    assert scales(scaling, "......") == [8, 8, 8, 16, 16, 16, 32]
    assert scales(scaling, "..x...") == [8, 8, 8, 4, 4, 4, 8]
    assert scales(scaling, "xx..x...") == [8, 4, 2, 2, 2, 1, 1, 1, 2]
    assert scaling.skips


def test_a_dynamic_scaling_stays_within_its_bounds():
    scaling = DynamicScaling(scale=8.0, every=1, least=4.0, greatest=16.0)
    assert scales(scaling, "....") == [8, 16, 16, 16, 16]
    assert scales(scaling, "xxx.") == [8, 4, 4, 4, 8]


def test_a_scaling_is_a_value():
    scaling = DynamicScaling(scale=8.0, every=3)
    assert scaling.after(True) == DynamicScaling(scale=8.0, every=3, good=1)
    assert scaling == DynamicScaling(scale=8.0, every=3)
    assert DynamicScaling(**dataclasses.asdict(scaling.after(True))).after(True).good == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        scaling.scale = 1.0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"scale": 1000.0}, "scale 1000.0 of dynamic loss scaling must be a power of two"),
        ({"scale": -2.0}, "scale -2.0 of dynamic"),
        ({"scale": 0.0}, "scale 0.0 of dynamic"),
        ({"scale": math.inf}, "scale inf of dynamic"),
        ({"least": 3.0}, "least 3.0 of dynamic"),
        ({"greatest": math.nan}, "greatest nan of dynamic"),
        ({"scale": 2.0, "least": 4.0}, "scale 2.0 lies outside"),
        ({"scale": 2.0**30}, "lies outside"),
        ({"every": 0}, "0 good steps of 0 are out of range"),
        ({"every": 3, "good": 3}, "3 good steps of 3 are out of range"),
    ],
)
def test_what_makes_no_sense_is_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        DynamicScaling(**options)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan])
def test_one_gradient_that_is_not_finite_is_found(odd, strict):
    arith = bind(parse_policy("full", cast("float16")), Key(0), strict=strict)
    grads = [{"w": np.ones((2, 3), F32), "b": np.ones(2, F32)}, {}, {"w": np.full((4, 4), 65504, F32)}]
    grads = [{name: arith.cast(Role.GRADIENT, g) for name, g in own.items()} for own in grads]
    assert all_finite(arith, grads)
    plain(grads[2]["w"])[3, 1] = odd
    assert not all_finite(arith, grads)


def test_int8_gradients_are_finite():
    policy = IntegerPolicy(
        name="int8",
        cast=cast("int8"),
        accumulator=IntegerAccumulator(),
        scale=Scale.ABSMAX,
        per_channel=False,
        integer_master=False,
    )
    arith = bind(policy, Key(0))
    assert all_finite(arith, [{"w": arith.cast(Role.GRADIENT, np.ones((2, 3), F32))}])
