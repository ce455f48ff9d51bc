"""Learning-rate schedules against MPFR, exact powers and torch."""

import math
from itertools import pairwise

import gmpy2
import pytest
from gmpy2 import mpfr

from emunum.nn.schedule import SCHEDULES, Constant, Cosine, Step


def rates(schedule, steps_per_epoch, epochs):
    total = steps_per_epoch * epochs
    return [schedule.rate(step, steps_per_epoch, total) for step in range(1, total + 1)]


def test_a_constant_schedule_is_1_throughout():
    assert rates(Constant(), 7, 3) == [1.0] * 21


def test_a_step_schedule_falls_after_every_n_epochs():
    assert rates(Step(every=2, factor=0.5), 3, 5) == [1.0] * 6 + [0.5] * 6 + [0.25] * 3


@pytest.mark.parametrize("factor", [0.1, 0.3, 1.0])
def test_a_step_schedule_multiplies_by_its_factor_within_rounding(factor):
    found = [Step(every=1, factor=factor).rate(step, 1, 30) for step in range(1, 31)]
    for power, rate in enumerate(found):
        with gmpy2.context(precision=200):
            # At most one rounding for each of `power` factors and each bit of `power` (5).
            assert abs(rate - mpfr(factor) ** power) <= mpfr(factor) ** power * (power + 6) * 2.0**-53


@pytest.mark.parametrize("floor", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("total", [1, 7, 1000])
def test_a_cosine_schedule_is_the_formula_of_its_docstring(floor, total):
    for step in range(1, total + 1):
        rate = Cosine(floor=floor).rate(step, 1, total)
        with gmpy2.context(precision=200):
            exact = floor + (1 - mpfr(floor)) * (1 + gmpy2.cos(gmpy2.const_pi() * (step - 1) / total)) / 2
            # pi t / T is off by 3 u of at most pi, u = 2^-53; the cosine by 2 u; four more roundings of
            # numbers of at most 2.
            assert abs(rate - exact) <= 20 * 2.0**-53


def test_a_cosine_schedule_starts_at_1_and_falls_to_its_floor():
    found = rates(Cosine(floor=0.1), 10, 10)
    assert found[0] == 1.0
    assert all(after < before for before, after in pairwise(found))
    # One step before the end (1 - cos(pi / 100)) / 2 is left, which is below (pi / 200)^2.
    assert 0.1 < found[-1] < 0.1 + 0.9 * (math.pi / 200) ** 2


def test_schedules_follow_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    schedulers = torch.optim.lr_scheduler
    for schedule, make in [
        (Step(every=3, factor=0.2), lambda optimizer: schedulers.StepLR(optimizer, 3 * 4, 0.2)),
        (Cosine(floor=0.05), lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 40, 0.05)),
    ]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = make(optimizer)
        for rate in rates(schedule, 4, 10):
            # torch multiplies step by step: a few roundings each, of numbers of at most 1.
            assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=0, abs=1e-13)
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Step(every=0), "a step every 0 epochs is out of range"),
        (lambda: Step(every=1, factor=0.0), "factor 0.0 is out of range"),
        (lambda: Step(every=1, factor=1.5), "factor 1.5 is out of range"),
        (lambda: Cosine(floor=-0.1), "floor -0.1 is out of range"),
        (lambda: Cosine(floor=math.nan), "floor nan is out of range"),
    ],
)
def test_what_makes_no_sense_is_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_schedules_go_by_name():
    assert SCHEDULES["constant"]() == Constant()
    assert SCHEDULES["step"](every=3) == Step(every=3, factor=0.1)
    assert SCHEDULES["cosine"]() == Cosine(floor=0.0)
