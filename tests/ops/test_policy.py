"""Which cast each role has, and what a policy refuses."""

from dataclasses import FrozenInstanceError, replace

import pytest
from inputs import cast

from emunum.formats import FLOAT32, Accumulator, Cast, Format, Order
from emunum.ops.policy import POLICIES, Role, parse_policy

NARROW = cast("e4m3", "stochastic", "saturate", 12)
WIDE = Cast(format=FLOAT32)
BACKWARD, SUMS = cast("e5m2", "stochastic", "saturate", 12), cast("e6m9", "stochastic", "saturate", 12)
CHUNKS = Accumulator(cast=SUMS, order=Order.CHUNKED, chunk=64)

# One line a policy: product, accumulator, then the roles in their order.
TABLE = {
    "full": (NARROW, Accumulator(cast=NARROW), [NARROW] * 7),
    "mixed": (None, Accumulator(cast=WIDE), [NARROW, NARROW, NARROW, NARROW, WIDE, WIDE, WIDE]),
    "output": (WIDE, Accumulator(cast=WIDE), [WIDE, WIDE, NARROW, NARROW, WIDE, WIDE, WIDE]),
    "input": (WIDE, Accumulator(cast=WIDE), [NARROW, WIDE, WIDE, WIDE, WIDE, WIDE, WIDE]),
    "hfp8": (None, CHUNKS, [NARROW, NARROW, NARROW, BACKWARD, WIDE, WIDE, WIDE]),
}


def test_the_numbers_of_the_roles_are_frozen():
    names = ["INPUT", "WEIGHT", "ACTIVATION", "ERROR", "GRADIENT", "UPDATE", "MASTER"]
    assert {role.name: role.value for role in Role} == {name: n for n, name in enumerate(names)}


@pytest.mark.parametrize("name", TABLE)
def test_a_policy_gives_each_role_its_cast(name):
    product, accumulator, roles = TABLE[name]
    policy = parse_policy(name, NARROW)
    assert (policy.name, policy.product, policy.accumulator) == (name, product, accumulator)
    assert policy.elementwise == accumulator.cast
    assert dict(policy.roles) == dict(zip(Role, roles, strict=True))


def test_the_table_above_names_every_policy():
    assert list(POLICIES) == list(TABLE)


def test_the_wide_casts_round_to_nearest_even_with_infinities():
    wide = parse_policy("mixed", NARROW).accumulator.cast
    assert (wide.format.name, str(wide.mode), str(wide.rule)) == ("float32", "nearest_even", "ieee")


@pytest.mark.parametrize("name", TABLE)
def test_an_accumulator_override_changes_the_sums_and_the_elementwise_format_and_nothing_else(name):
    policy = parse_policy(name, NARROW)
    changed = policy.with_accumulator(Format.from_name("e6m9"))
    sums = replace(policy.accumulator.cast, format=Format.from_name("e6m9"))
    assert (changed.accumulator, changed.elementwise) == (Accumulator(cast=sums), sums)
    assert replace(changed, accumulator=policy.accumulator, elementwise=policy.elementwise) == policy
    assert policy == parse_policy(name, NARROW)


@pytest.mark.parametrize("name", TABLE)
def test_chunks_may_be_added_in_another_format_in_which_elementwise_arithmetic_follows(name):
    policy, inner, outer = parse_policy(name, NARROW), Format.from_name("e5m10"), Format.from_name("e8m23")
    changed = policy.with_accumulator(inner, "chunked:8", outer)
    assert changed.accumulator.order is Order.CHUNKED
    assert changed.accumulator.chunk == 8
    sums = policy.accumulator.cast
    assert changed.accumulator.cast == replace(sums, format=inner)
    assert changed.accumulator.outer == changed.elementwise == replace(sums, format=outer)


def test_a_tensor_core_takes_exact_products_and_float32_beside_it():
    changed = parse_policy("mixed", NARROW).with_accumulator(order="tensor_core:h100_fp8")
    assert changed.accumulator.core.name == "h100_fp8"
    assert changed.elementwise == WIDE
    for name in ("full", "output", "input"):
        with pytest.raises(ValueError, match=r"tensor core h100 keeps them exact\. Choose --policy mixed"):
            parse_policy(name, cast("float32")).with_accumulator(order="tensor_core:h100")


def test_hfp8_has_its_own_formats_and_the_casts_mode_and_overflow():
    given = cast("float16", "toward_zero", "ieee")
    assert parse_policy("hfp8", given) == parse_policy("hfp8", replace(given, format=FLOAT32))
    found = parse_policy("hfp8", given)
    assert found.roles[Role.ERROR] == cast("e5m2", "toward_zero", "ieee")
    assert found.accumulator.cast == cast("e6m9", "toward_zero", "ieee")


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
        ("ful", "unknown policy 'ful'. Did you mean 'full'? Known: full, mixed, output, input, hfp8, int8."),
        ("tensor", "unknown policy 'tensor'. Known: full, mixed, output, input, hfp8, int8."),
        ("", "unknown policy ''. Known: full, mixed, output, input, hfp8, int8."),
    ],
)
def test_an_unknown_policy_is_refused(name, message):
    with pytest.raises(ValueError) as error:
        parse_policy(name, NARROW)
    assert str(error.value) == message
