"""Conditions on records: what they say, and that nothing else can be said."""

import pytest

from emunum.experiments.results.filtering import parse_where

RECORD = {
    "format": "float8_e4m3fn",
    "rounding": "nearest_even",
    "accumulator": "bfloat16",
    "seed": 3,
    "test_mse": 0.25,
    "shuffle": True,
    "augment": False,
    "hidden": [16, 8],
    "reason": None,
    "status": "completed",
    "momentum": -0.5,
}
NAMES = [*RECORD, "test_f1"]  # which this record lacks


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("format == 'float8_e4m3fn'", True),
        ("format != 'float8_e4m3fn'", False),
        ("seed < 5", True),
        ("seed <= 3", True),
        ("seed > 3", False),
        ("seed >= 3.0", True),
        ("0 < seed < 5", True),
        ("0 < seed < 3", False),
        ("5 > seed", True),
        ("momentum == -0.5", True),
        ("momentum > -.25", False),
        ("seed in (1, 2, 3)", True),
        ("seed not in [1, 2, 3]", False),
        ("seed in {4}", False),
        ("16 in hidden", True),
        ("hidden == [16, 8]", True),
        ("hidden == (16, 8)", True),
        ("'complete' in status", True),
        ("shuffle", True),
        ("not augment", True),
        ("augment == False", True),
        ("reason == None", True),
        ("reason is None", True),
        ("reason is not None", False),
        ("test_f1 == None", True),
        ("format == 'float8_e4m3fn' and seed < 3", False),
        ("format == 'e5m2' or seed == 3", True),
        ("not (seed == 3 and shuffle)", False),
        ("seed == 4 or seed == 3 and not augment", True),
        ("  seed == 3  ", True),
        ("True", True),
    ],
)
def test_a_condition_says_what_python_would(expression, holds):
    assert parse_where(expression, NAMES)(RECORD) is holds


@pytest.mark.parametrize(
    "expression", ["reason < 1", "reason > 1", "test_f1 <= 0", "0 < test_f1", "reason in [1]", "1 in reason"]
)
def test_what_a_record_lacks_is_in_no_order_with_anything(expression):
    assert parse_where(expression, NAMES)(RECORD) is False


@pytest.mark.parametrize(
    "expression",
    [
        "format == 'e4m3'",
        "'e4m3' == format",
        "format in ('e5m2', 'e4m3')",
        "format == 'FLOAT8_E4M3FN' or rounding == 'nearest'",
        "accumulator == 'bf16' or accumulator == 'bfloat16'",
        "rounding == 'nearest'",
        "rounding not in ['stochastic', 'up']",
    ],
)
def test_a_format_and_a_rounding_may_be_called_by_any_of_their_names(expression):
    assert parse_where(expression, NAMES)(RECORD) is True


@pytest.mark.parametrize("name", ["sead", "wall_s", "__class__", "print"])
def test_an_unknown_key_is_named_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"unknown key '{name}'.* Known: format, rounding, .*test_f1"):
        parse_where(f"{name} == 3", NAMES)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "seed.__class__",
        "hidden[0] == 16",
        "len(hidden) == 2",
        "seed + 1 == 4",
        "-seed < 0",
        "(lambda: 1)()",
        "[x for x in hidden]",
        "{'a': 1}",
        "f'{seed}'",
        "b'3' == status",
        "seed if seed else 1",
        "(seed := 4)",
        "1j == seed",
        "[seed] == [3]",
        "...",
        "*hidden,",
        "~3 < seed",
    ],
)
def test_nothing_but_conditions_is_understood(expression):
    with pytest.raises(ValueError, match=r"^--where (cannot say|'.+' is no condition)"):
        parse_where(expression, NAMES)


@pytest.mark.parametrize("expression", ["", "seed ==", "seed = 3", "seed; seed", "\0", "((" * 200, "'open"])
def test_what_is_no_expression_is_one_line_with_an_example(expression):
    with pytest.raises(ValueError, match=r"is no condition\. Write, for instance: ") as error:
        parse_where(expression, NAMES)
    assert "\n" not in str(error.value)


def test_depth_is_bounded():
    assert parse_where("not " * 200 + "seed == 3", NAMES)(RECORD) is True
    with pytest.raises(ValueError, match="--where is 4009 characters long: 1000 are the most"):
        parse_where("not " * 1000 + "seed == 3", NAMES)


@pytest.mark.parametrize("expression", ["seed < 'a'", "hidden > 3", "status >= 1"])
def test_what_is_in_no_order_is_an_error_that_names_both(expression):
    with pytest.raises(ValueError, match=r"^--baseline compares .+ with .+: they are in no order\."):
        parse_where(expression, NAMES, "--baseline")(RECORD)


def test_a_number_holds_nothing():
    with pytest.raises(ValueError, match=r"looks for 1 in 3, which is no list and no text\."):
        parse_where("1 in seed", NAMES)(RECORD)
