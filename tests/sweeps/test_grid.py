"""Which runs a grid asks for: products of lists, what is left out, what is overridden."""

import re
from itertools import product
from pathlib import Path

import pytest
from emunum_cli.sweep import command
from hypothesis import given
from hypothesis import strategies as st

from emunum.experiments.config import RunConfig
from emunum.experiments.defaults import configure
from emunum.experiments.sweeps import grid_file
from emunum.experiments.sweeps.grid import from_options, lists_of
from emunum.experiments.sweeps.grid_file import read_grid
from emunum.experiments.sweeps.values import OPTIONS, listed


def configs(**options):
    return from_options(options).plan().configs


def from_toml(folder, text):
    path = Path(folder) / "grid.toml"
    path.write_text(text)
    return read_grid(path)


# ----------------------------------------------------------------------------------------------------
# Values
# ----------------------------------------------------------------------------------------------------


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9).filter(bool))
def test_a_range_is_pythons(begin, end, step):
    expected = tuple(range(begin, end, step))
    if not expected:
        with pytest.raises(ValueError, match="has 0 values"):
            listed("seed", f"{begin}:{end}:{step}")
        return
    assert listed("seed", f"{begin}:{end}:{step}") == expected
    if step == 1:
        assert listed("seed", f"{begin}:{end}") == expected


@given(st.lists(st.sampled_from(["7", "0:3", "10:20:5", "none"]), min_size=1, max_size=5))
def test_commas_repetition_and_lists_mean_the_same(words):
    meaning = {"7": [7], "0:3": [0, 1, 2], "10:20:5": [10, 15], "none": [None]}
    expected = tuple(value for word in words for value in meaning[word])
    assert listed("rounding_seed", ",".join(words)) == listed("rounding_seed", words) == expected


@pytest.mark.parametrize(
    ("option", "given", "expected"),
    [
        ("format", "e4m3, e5m10", ("float8_e4m3fn", "float16")),
        ("rounding", ["nearest", "stochastic"], ("nearest_even", "stochastic")),
        ("hidden", "64,32", ((64, 32),)),
        ("hidden", ["64,32", "128", ""], ((64, 32), (128,), ())),
        ("hidden", [[64, 32], [128], []], ((64, 32), (128,), ())),
        ("nesterov", "true,false", (True, False)),
        ("nesterov", [True], (True,)),
        ("learning_rate", "0.1,1e-3", (0.1, 0.001)),
        ("learning_rate", [1, 0.5], (1.0, 0.5)),
        ("learning_rate", 0.5, (0.5,)),
        ("loss_scale", "dynamic,64", ("dynamic", 64.0)),
        ("loss_scale", [128], (128.0,)),
        ("schedule", "step:10:0.5", ("step:10:0.5",)),
        ("order", "chunked:64,tensor_core:h100_fp8:128", ("chunked:64", "tensor_core:h100_fp8:128")),
        ("accumulator", "none,e6m9", (None, "e6m9")),
        ("patience", ["none", 3], (None, 3)),
    ],
    ids=str,
)
def test_every_kind_of_value_is_read(option, given, expected):
    assert listed(option, given) == expected


@pytest.mark.parametrize(
    ("option", "given", "complaint"),
    [
        ("format", "e4m33", "--format: unknown format 'e4m33'"),
        ("format", [8], "--format 8 has to be a name."),
        ("format", "", "--format lists no value: give one, or leave the option out."),
        ("format", [], "--format lists no value: give one, or leave the option out."),
        ("format", "e4m3,,e5m2", "--format 'e4m3,,e5m2' has an empty place between its commas."),
        ("format", "none", "--format: unknown format 'none'"),
        ("rounding", "nearst", "--rounding: unknown rounding 'nearst'. Did you mean 'nearest'?"),
        ("seed", "x", "--seed 'x' is no whole number, nor a range such as 0:30."),
        ("seed", "1.5", "--seed '1.5' is no whole number, nor a range such as 0:30."),
        ("seed", "none", "--seed 'none' is no whole number, nor a range such as 0:30."),
        ("seed", [1.5], "--seed 1.5 has to be a whole number."),
        ("seed", [True], "--seed True has to be a whole number."),
        ("seed", "0:30:0", "--seed '0:30:0' is no range: 0:30 is 0, 1, ..., 29, and 0:30:5 every fifth."),
        ("seed", "3:", "--seed '3:' is no range: 0:30 is 0, 1, ..., 29, and 0:30:5 every fifth."),
        ("seed", "5:5", "--seed '5:5' has 0 values: 1 to 100,000 make sense."),
        ("seed", "0:9999999999", "--seed '0:9999999999' has 9,999,999,999 values: 1 to 100,000 make sense."),
        ("seed", "0:90000,0:90000", "--seed lists 180,000 values: 100,000 are the most."),
        ("learning_rate", "fast", "--learning-rate 'fast' is no number."),
        ("learning_rate", [True], "--learning-rate True has to be a number."),
        ("loss_scale", "big", "--loss-scale 'big' is neither a number nor 'dynamic'."),
        ("nesterov", "yes", "--nesterov 'yes' is neither true nor false."),
        ("nesterov", [1], "--nesterov 1 has to be true or false."),
        ("hidden", "64;32", "--hidden '64;32' is no list of sizes, such as 64,32."),
        ("hidden", [[6.5]], "--hidden [6.5] is no list of sizes, such as [64, 32]."),
        ("hidden", [64, 32], "--hidden [64, 32] can be read in two ways: write [[64, 32]] for one network,"),
    ],
    ids=str,
)
def test_what_is_no_value_is_refused_with_its_option(option, given, complaint):
    with pytest.raises(ValueError) as error:
        listed(option, given)
    assert str(error.value).startswith(complaint)
    assert "\n" not in str(error.value)


def test_every_option_of_a_run_can_be_listed():
    default = RunConfig().as_dict()
    assert tuple(default) == OPTIONS
    for option, value in default.items():
        text = "" if option == "hidden" else str(value).lower()  # True, None
        assert listed(option, [text]) == (() if option == "hidden" else value,)


# ----------------------------------------------------------------------------------------------------
# Products
# ----------------------------------------------------------------------------------------------------


def test_the_runs_are_the_product_and_the_last_option_varies_fastest():
    found = configs(format=["e4m3,e5m2,e6m9"], rounding=["nearest,stochastic"], seed=["0:30"])
    assert found == tuple(
        RunConfig(format=format, rounding=rounding, seed=seed)
        for format, rounding, seed in product(("e4m3", "e5m2", "e6m9"), ("nearest", "stochastic"), range(30))
    )
    assert len({config.run_id for config in found}) == 180


@given(
    st.lists(st.sampled_from(["e4m3", "float8_e4m3fn", "e5m2", "float16", "e5m10"]), min_size=1),
    st.lists(st.sampled_from(["nearest", "nearest_even", "up"]), min_size=1),
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
def test_other_spellings_of_a_run_are_the_same_run(formats, roundings, seeds):
    plan = from_options({"format": formats, "rounding": roundings, "seed": seeds}).plan()
    expected = {RunConfig(format=f, rounding=r, seed=s) for f, r, s in product(formats, roundings, seeds)}
    assert len(plan.configs) == len(expected)
    assert set(plan.configs) == expected


def test_a_value_that_is_listed_twice_is_said():
    plan = from_options({"format": ["e4m3,float8_e4m3fn"], "seed": ["1,1,1"]}).plan()
    assert len(plan.configs) == 1
    assert plan.remarks == (
        "--format lists float8_e4m3fn 2 times: once is enough.",
        "--seed lists 1 3 times: once is enough.",
    )


def test_combinations_that_are_one_configuration_run_once():
    plan = from_options({"policy": ["hfp8"], "format": ["float32,e4m3"], "seed": ["0:2"]}).plan()
    assert plan.configs == tuple(RunConfig(policy="hfp8", seed=seed) for seed in range(2))
    assert (plan.combinations, plan.excluded, plan.repeated) == (4, 0, 2)


def test_what_is_not_listed_is_as_in_a_run():
    assert configs(dataset=["digits"], seed=["3"]) == (configure(dataset="digits", seed=3),)
    assert configs(dataset=["toy"]) == (RunConfig(dataset="toy"),)


def test_what_varies_is_known():
    plan = from_options({"format": ["e4m3,e5m2"], "epochs": ["3"], "seed": ["0:2"]}).plan()
    assert plan.varied == ("format", "seed")


def test_a_combination_that_makes_no_sense_is_named():
    with pytest.raises(ValueError) as error:
        configs(format=["e4m3,e5m2"], policy=["full,hfp8"], epochs=["3"])
    assert str(error.value).startswith(
        "a combination makes no sense: format = float8_e5m2, policy = hfp8: --format 'float8_e5m2' with "
        "--policy hfp8: "
    )
    with pytest.raises(
        ValueError, match=r"^30 combinations make no sense, the first: format = float8_e5m2, "
    ):
        configs(format=["e4m3,e5m2"], policy=["full,hfp8"], seed=["0:30"])


def test_a_grid_that_nobody_means_is_refused_before_it_is_laid_out():
    with pytest.raises(ValueError) as error:
        configs(seed=["0:100000"], rounding_seed=["0:100000"])
    assert str(error.value) == (
        "the grid has 10,000,000,000 combinations: 100,000 are the most. Shorten a list."
    )


def test_an_unknown_option_is_refused_with_a_near_one():
    with pytest.raises(ValueError, match=r"^unknown option 'roundin'\. Did you mean 'rounding'\?"):
        from_options({"roundin": ["nearest"]})


# ----------------------------------------------------------------------------------------------------
# Files
# ----------------------------------------------------------------------------------------------------


def test_a_file_says_what_a_command_says(tmp_path):
    text = 'format = ["e4m3", "e5m2"]\nrounding = "nearest,stochastic"\nseed = "0:3"\nepochs = 5\n'
    words = {"format": ["e4m3,e5m2"], "rounding": ["nearest,stochastic"], "seed": ["0:3"], "epochs": ["5"]}
    assert from_toml(tmp_path, text) == from_options(words)


def test_combinations_are_left_out_where_all_of_an_exclude_agrees(tmp_path):
    plan = from_toml(
        tmp_path,
        """
        format = ["e4m3", "e5m2", "e6m9"]
        rounding = ["nearest", "stochastic"]
        seed = [0, 1]
        [[exclude]]
        format = ["e5m2", "e6m9"]
        rounding = "nearest_even"
        [[exclude]]
        format = "float8_e4m3fn"
        seed = 1
        """,
    ).plan()
    assert plan.configs == tuple(
        RunConfig(format=format, rounding=rounding, seed=seed)
        for format, rounding, seed in product(("e4m3", "e5m2", "e6m9"), ("nearest", "stochastic"), (0, 1))
        if not (format in ("e5m2", "e6m9") and rounding == "nearest")
        if not (format == "e4m3" and seed == 1)
    )
    assert (plan.combinations, plan.excluded, plan.remarks) == (12, 6, ())


def test_what_is_excluded_need_not_make_sense(tmp_path):
    text = (
        'format = ["e4m3", "e5m2"]\npolicy = ["full", "hfp8"]\n[[exclude]]\nformat = "e5m2"\npolicy = "hfp8"'
    )
    assert from_toml(tmp_path, text).plan().configs == (
        RunConfig(format="e4m3"),
        RunConfig(policy="hfp8"),
        RunConfig(format="e5m2"),
    )


def test_an_exclude_may_name_what_no_list_does(tmp_path):
    text = 'dataset = ["toy", "digits"]\npolicy = "mixed"\n[[exclude]]\noptimizer = "adam"'  # of digits
    assert from_toml(tmp_path, text).plan().configs == (RunConfig(dataset="toy", policy="mixed"),)


def test_an_exclude_without_effect_is_said(tmp_path):
    text = "seed = [1, 2]\n[[exclude]]\nseed = 2\n[[exclude]]\nseed = 3"
    assert from_toml(tmp_path, text).plan().remarks == ("[[exclude]] 2 agrees with no combination.",)


def test_overrides_set_options_from_top_to_bottom_and_lists_multiply(tmp_path):
    plan = from_toml(
        tmp_path,
        """
        format = ["e4m3", "e5m2"]
        seed = [0, 1]
        [[override]]
        when = {format = "e4m3"}
        set = {learning_rate = [0.1, 0.2], epochs = 7}
        [[override]]
        when = {epochs = 7, seed = 1}
        set = {batch_size = 8}
        """,
    ).plan()
    assert plan.configs == (
        RunConfig(format="e4m3", seed=0, learning_rate=0.1, epochs=7),
        RunConfig(format="e4m3", seed=0, learning_rate=0.2, epochs=7),
        RunConfig(format="e4m3", seed=1, learning_rate=0.1, epochs=7, batch_size=8),
        RunConfig(format="e4m3", seed=1, learning_rate=0.2, epochs=7, batch_size=8),
        RunConfig(format="e5m2", seed=0),
        RunConfig(format="e5m2", seed=1),
    )


def test_grids_are_products_of_their_own_with_what_they_share(tmp_path):
    plan = from_toml(
        tmp_path,
        """
        seed = [0, 1]
        [[grid]]
        format = ["e4m3", "e5m2"]
        [[grid]]
        format = "float32"
        seed = 9
        """,
    ).plan()
    assert plan.configs == (
        *(RunConfig(format=format, seed=seed) for seed, format in product((0, 1), ("e4m3", "e5m2"))),
        RunConfig(seed=9),
    )


def test_options_of_the_command_line_replace_the_lists_of_a_file(tmp_path):
    grid = from_toml(
        tmp_path, 'seed = "0:30"\n[[grid]]\nformat = "e4m3"\n[[grid]]\nformat = "e5m2"\nseed = 5'
    )
    short = grid.with_options(lists_of({"seed": ["0"], "epochs": ["1"]}))
    assert short.plan().configs == tuple(RunConfig(format=f, seed=0, epochs=1) for f in ("e4m3", "e5m2"))


def example(text):
    """The TOML in a docstring, which starts with the data set."""
    lines = text.splitlines()
    begin = next(at for at, line in enumerate(lines) if line.strip().startswith("dataset = "))
    kept = [line.strip() for line in lines[begin:] if re.match(r"\s+\S|$", line)]
    return "\n".join(kept)


def test_the_examples_are_what_they_say(tmp_path):
    # (e4m3 and e5m2 in 2 roundings, at 2 learning rates; e6m9 in one) x 30 seeds x 2 policies; hfp8 in 2
    assert (
        len(from_toml(tmp_path, example(grid_file.__doc__)).plan().configs) == (2 * 2 * 2 + 1) * 30 * 2 + 60
    )
    # the same at one learning rate
    assert len(from_toml(tmp_path, example(command.epilog)).plan().configs) == (2 * 2 + 1) * 30 * 2 + 60


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("seed = ", "Invalid value"),
        ("sead = 3", "unknown option 'sead'. Did you mean 'seed'?"),
        ("seed = []", "--seed lists no value"),
        ("seed = {a = 1}", "--seed {'a': 1} has to be a whole number."),
        ("seed = 3\n[exclude]\nseed = 3", "exclude has to be one table or more: write [[exclude]]."),
        ("seed = 3\n[[exclude]]\n", "[[exclude]] 1 is empty: it would leave out everything."),
        ("seed = 3\n[[exclude]]\nformat = 'e9m9'", "[[exclude]] 1: --format: unknown format 'e9m9'"),
        ("[[override]]\nwhen = {seed = 1}", "[[override]] 1: it needs a table set with options, such as"),
        ("[[override]]\nset = {seed = 1}", "[[override]] 1: it needs a table when with options, such as"),
        ("[[override]]\nwhere = {seed = 1}", "[[override]] 1: unknown table 'where'."),
        ("[[override]]\nwhen = {seed = 1}\nset = {sed = 2}", "[[override]] 1: unknown option 'sed'."),
        ("[[grid]]\nseed = 'x'", "[[grid]] 1: --seed 'x' is no whole number"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_name(tmp_path, text, complaint):
    with pytest.raises(ValueError) as error:
        from_toml(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'grid.toml'}: {complaint}")
    assert "\n" not in str(error.value)


def test_a_grid_of_which_nothing_is_left_is_refused(tmp_path):
    grid = from_toml(tmp_path, "seed = [1, 2]\n[[exclude]]\nseed = [1, 2]")
    with pytest.raises(ValueError, match="leaves nothing to run: all of its 2 combinations are excluded"):
        grid.plan()
