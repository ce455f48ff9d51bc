"""Which cast each role has, and what a policy refuses."""

from dataclasses import FrozenInstanceError, replace

import pytest
from inputs import cast

from emunum.formats import FLOAT32, Cast, Format
from emunum.ops.policy import POLICIES, Role, parse_policy

NARROW = cast("e4m3", "stochastic", "saturate", 12)
WIDE = Cast(format=FLOAT32)

# One line a policy: product, accumulator, then the roles in their order.
TABLE = {
    "full": (NARROW, NARROW, [NARROW] * 7),
    "mixed": (None, WIDE, [NARROW, NARROW, NARROW, NARROW, WIDE, WIDE, WIDE]),
    "output": (WIDE, WIDE, [WIDE, WIDE, NARROW, NARROW, WIDE, WIDE, WIDE]),
}


def test_the_numbers_of_the_roles_are_frozen():
    names = ["INPUT", "WEIGHT", "ACTIVATION", "ERROR", "GRADIENT", "UPDATE", "MASTER"]
    assert {role.name: role.value for role in Role} == {name: n for n, name in enumerate(names)}


@pytest.mark.parametrize("name", TABLE)
def test_a_policy_gives_each_role_its_cast(name):
    product, accumulator, roles = TABLE[name]
    policy = parse_policy(name, NARROW)
    assert (policy.name, policy.product, policy.accumulator) == (name, product, accumulator)
    assert dict(policy.roles) == dict(zip(Role, roles, strict=True))


def test_the_table_above_names_every_policy():
    assert list(POLICIES) == list(TABLE)


def test_the_wide_casts_round_to_nearest_even_with_infinities():
    wide = parse_policy("mixed", NARROW).accumulator
    assert (wide.format.name, str(wide.mode), str(wide.rule)) == ("float32", "nearest_even", "ieee")


@pytest.mark.parametrize("name", TABLE)
def test_an_accumulator_override_changes_the_format_of_partial_sums_and_nothing_else(name):
    policy = parse_policy(name, NARROW)
    changed = policy.with_accumulator(Format.from_name("e6m9"))
    assert changed.accumulator == replace(policy.accumulator, format=Format.from_name("e6m9"))
    assert replace(changed, accumulator=policy.accumulator) == policy
    assert policy == parse_policy(name, NARROW)


def test_a_policy_cannot_be_changed_in_place():
    policy = parse_policy("full", NARROW)
    with pytest.raises(FrozenInstanceError):
        policy.product = None
    with pytest.raises(TypeError):
        policy.roles[Role.WEIGHT] = WIDE
    with pytest.raises(TypeError):
        POLICIES["mine"] = POLICIES["full"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ful", "unknown policy 'ful'. Did you mean 'full'? Known: full, mixed, output."),
        ("tensor", "unknown policy 'tensor'. Known: full, mixed, output."),
        ("", "unknown policy ''. Known: full, mixed, output."),
    ],
)
def test_an_unknown_policy_is_refused(name, message):
    with pytest.raises(ValueError) as error:
        parse_policy(name, NARROW)
    assert str(error.value) == message
