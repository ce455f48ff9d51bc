"""A configuration: canonical names, the identity of a run, and a clear no to what makes no sense."""

import hashlib
import json
import math
import re
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from inputs import cast

from emunum.experiments.config import RunConfig
from emunum.formats import Accumulator, Order
from emunum.ops.policy import Role

# Of the defaults, and of a run with every option set. They name directories: they may not move.
STORED_IDS = {
    "3159b581f547": {},
    "1d74e93c9c8b": {
        "dataset": "boston",
        "format": "e5m2",
        "rounding": "stochastic",
        "overflow": "saturate",
        "random_bits": 8,
        "policy": "mixed",
        "accumulator": "e6m9",
        "model": "mlp",
        "hidden": (64, 32),
        "epochs": 3,
        "learning_rate": 0.5,
        "momentum": 0.9,
        "weight_decay": 0.001,
        "batch_size": 64,
        "test_split": 0.25,
        "shuffle": False,
        "loss_scale": 1024.0,
        "init": "he",
        "seed": 7,
        "rounding_seed": 8,
    },
}
ALL_SET = STORED_IDS["1d74e93c9c8b"] | {"order": "chunked:8", "outer": "bfloat16"}
ALL_OF_TRAINING = {
    "dropout": 0.5,
    "optimizer": "adam",
    "nesterov": True,
    "schedule": "cosine",
    "validation_split": 0.1,
    "train_samples": 100,
    "patience": 3,
    "augment": True,
    "loss": "cross_entropy",
}
ALL_OF_INT8 = {"scale": "power_of_two", "per_channel": True, "master": "int8"}


def test_the_defaults_are_the_documented_ones():
    assert RunConfig().as_dict() == {
        "dataset": "diabetes",
        "format": "float32",
        "rounding": "nearest_even",
        "overflow": "auto",
        "random_bits": 16,
        "policy": "full",
        "accumulator": None,
        "order": "sequential",
        "outer": None,
        "scale": "absmax",
        "per_channel": False,
        "master": "float32",
        "model": "linear",
        "hidden": [],
        "dropout": None,
        "epochs": 30,
        "learning_rate": 0.01,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "optimizer": "sgd",
        "nesterov": False,
        "schedule": "constant",
        "batch_size": 32,
        "test_split": 0.2,
        "validation_split": 0.0,
        "train_samples": None,
        "patience": None,
        "shuffle": True,
        "augment": False,
        "loss": "auto",
        "loss_scale": 1.0,
        "init": "torch",
        "seed": 42,
        "rounding_seed": None,
    }


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ({"format": "e4m3"}, {"format": "float8_e4m3fn"}),
        ({"format": " E5M2 "}, {"format": "float8_e5m2"}),
        ({"format": "e5m10"}, {"format": "float16"}),
        ({"format": "e6m9"}, {"format": "e6m9"}),
        ({"format": "fp32"}, {"format": "float32"}),
        ({"accumulator": "half"}, {"accumulator": "float16"}),
        ({"rounding": "nearest"}, {"rounding": "nearest_even"}),
        ({"model": "mlp"}, {"hidden": (32,)}),
        ({"model": "mlp", "dataset": "digits"}, {"hidden": (256, 128)}),
        ({"loss_scale": "1024"}, {"loss_scale": 1024.0}),
        ({"schedule": "step:03:.5"}, {"schedule": "step:3:0.5"}),
        ({"model": "mlp", "hidden": [8, 4]}, {"hidden": (8, 4)}),
    ],
    ids=str,
)
def test_names_are_settled_on_their_canonical_spelling(given, canonical):
    config = RunConfig(**given)
    assert {field: getattr(config, field) for field in canonical} == canonical
    assert config == RunConfig(**given | canonical)
    assert config.run_id == RunConfig(**given | canonical).run_id
    assert hash(config) == hash(RunConfig(**given | canonical))


@pytest.mark.parametrize("run_id", STORED_IDS)
def test_a_run_id_is_the_stored_digest_of_the_sorted_json(run_id):
    config = RunConfig(**STORED_IDS[run_id])
    later = {
        "order": "sequential",
        "outer": None,
        "scale": "absmax",
        "per_channel": False,
        "master": "float32",
        "dropout": None,
        "optimizer": "sgd",
        "nesterov": False,
        "schedule": "constant",
        "validation_split": 0.0,
        "train_samples": None,
        "patience": None,
        "augment": False,
        "loss": "auto",
    }
    options = {
        key: value for key, value in config.as_dict().items() if key not in later or value != later[key]
    }
    text = json.dumps(dict(sorted(options.items())))
    assert config.run_id == hashlib.sha256(text.encode()).hexdigest()[:12] == run_id


@pytest.mark.parametrize("field", [field.name for field in fields(RunConfig)])
def test_a_run_id_depends_on_every_field(field):
    base = RunConfig(model="mlp", order="chunked:4")  # which has an outer sum
    every = ALL_SET | ALL_OF_INT8 | ALL_OF_TRAINING
    change = {"model": "linear", "hidden": ()} if field == "model" else {field: every[field]}
    if field in ("augment", "loss"):
        base = RunConfig(dataset="digits")
    if field == "nesterov":
        base = replace(base, momentum=0.9)
    if field == "patience":
        base = replace(base, validation_split=0.1)
    if field in ALL_OF_INT8:
        base = RunConfig(policy="int8", format="int8")
    assert replace(base, **change).run_id != base.run_id


def test_equal_numbers_make_equal_run_ids():
    assert RunConfig(learning_rate=1) == RunConfig(learning_rate=1.0)
    assert RunConfig(learning_rate=1).run_id == RunConfig(learning_rate=1.0).run_id
    assert RunConfig(loss_scale=1024).run_id == RunConfig(loss_scale=1024.0).run_id


def test_a_configuration_is_json_and_comes_back():
    training = {**ALL_OF_TRAINING, "optimizer": "sgd", "loss_scale": "dynamic", "overflow": "ieee"}
    training["dataset"] = "digits"
    for config in (RunConfig(**ALL_SET), RunConfig(**ALL_SET | training)):
        assert RunConfig(**json.loads(json.dumps(config.as_dict()))) == config


def test_the_digest_covers_every_field_and_the_run_id_those_that_were_given():
    config = RunConfig()
    text = json.dumps(dict(sorted(config.as_dict().items())))
    assert config.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert RunConfig(loss="mse").sha256 != config.sha256


def test_a_configuration_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        RunConfig().epochs = 3


def test_the_cast_and_the_policy_are_the_named_ones():
    config = RunConfig(**ALL_SET)
    assert config.cast == cast("e5m2", "stochastic", "saturate", 8)
    policy = config.build_policy()
    assert policy.name == "mixed"
    assert policy.roles[Role.WEIGHT] == config.cast
    assert policy.accumulator.cast.format.name == "e6m9"
    assert (policy.accumulator.order, policy.accumulator.chunk) == (Order.CHUNKED, 8)
    assert policy.accumulator.last.format.name == policy.elementwise.format.name == "bfloat16"
    assert RunConfig(format="e4m3").build_policy().accumulator == Accumulator(cast=cast("e4m3"))


WHOLE = "it must be a whole number of at least 1."
SEED = "it must be from 0 to 2**32 - 1."
OUT_OF_RANGE = [
    ("epochs", 0, WHOLE),
    ("epochs", -3, WHOLE),
    ("epochs", 2.5, WHOLE),
    ("batch_size", 0, WHOLE),
    ("batch_size", 0.5, WHOLE),
    ("learning_rate", 0.0, "it must be a finite number above 0."),
    ("learning_rate", -1.0, "it must be a finite number above 0."),
    ("learning_rate", math.nan, "it must be a finite number above 0."),
    ("learning_rate", math.inf, "it must be a finite number above 0."),
    ("momentum", -0.1, "it must be at least 0 and below 1."),
    ("momentum", 1.0, "it must be at least 0 and below 1."),
    ("momentum", math.nan, "it must be at least 0 and below 1."),
    ("weight_decay", -0.1, "it must be a finite number of at least 0."),
    ("weight_decay", math.inf, "it must be a finite number of at least 0."),
    ("weight_decay", math.nan, "it must be a finite number of at least 0."),
    ("loss_scale", 0.0, "it must be a finite number above 0."),
    ("loss_scale", -2.0, "it must be a finite number above 0."),
    ("loss_scale", math.inf, "it must be a finite number above 0."),
    ("test_split", 0.0, "it must be between 0 and 1."),
    ("test_split", 1.0, "it must be between 0 and 1."),
    ("test_split", 1.5, "it must be between 0 and 1."),
    ("test_split", math.nan, "it must be between 0 and 1."),
    ("validation_split", -0.1, "it must be at least 0 and below 1."),
    ("validation_split", 1.0, "it must be at least 0 and below 1."),
    ("validation_split", math.nan, "it must be at least 0 and below 1."),
    ("patience", 0, WHOLE),
    ("patience", 1.5, WHOLE),
    ("seed", -1, SEED),
    ("seed", 2**32, SEED),
    ("rounding_seed", -1, SEED),
    ("rounding_seed", 2**32, SEED),
]


@pytest.mark.parametrize(("field", "value", "must_be"), OUT_OF_RANGE)
def test_a_number_out_of_range_is_refused_with_its_option_and_what_it_must_be(field, value, must_be):
    with pytest.raises(ValueError) as error:
        RunConfig(**{field: value})
    option = "--" + field.replace("_", "-")
    assert str(error.value) == f"{option} {value!r} is out of range: {must_be}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"dataset": "bosten"},
            "unknown dataset 'bosten'. Did you mean 'boston'? "
            "Known: toy, diabetes, boston, digits, mnist, fashion_mnist, cifar10, cifar100.",
        ),
        ({"format": "banana"}, "unknown format 'banana'. 'emunum formats' lists them."),
        ({"format": ""}, "unknown format ''. 'emunum formats' lists them."),
        ({"accumulator": "banana"}, "unknown format 'banana'. 'emunum formats' lists them."),
        (
            {"rounding": "stochastc"},
            "unknown rounding 'stochastc'. Did you mean 'stochastic'? "
            "Known: nearest, stochastic_a, nearest_even, nearest_away, toward_zero, up, down, to_odd, "
            "stochastic, stochastic_b, stochastic_c.",
        ),
        (
            {"overflow": "never"},
            "unknown overflow rule 'never'. Known: auto, ieee, saturate, propagate, wrap.",
        ),
        (
            {"overflow": "wrap"},
            "overflow rule 'wrap' needs a fixed-point format, such as 'q4.4' or 'int8': float32 is none. "
            "Choose ieee, saturate, propagate or auto.",
        ),
        (
            {"policy": "fuller"},
            "unknown policy 'fuller'. Did you mean 'full'? Known: full, mixed, output, input, hfp8, int8.",
        ),
        ({"master": "int8"}, "--master 'int8' is for --policy int8: full has none."),
        ({"scale": "power_of_two"}, "--scale 'power_of_two' is for --policy int8: full has none."),
        ({"per_channel": True}, "--per-channel True is for --policy int8: full has none."),
        (
            {"policy": "int8", "scale": "absmx"},
            "unknown scale 'absmx'. Did you mean 'absmax'? Known: absmax, power_of_two.",
        ),
        (
            {"policy": "hfp8", "format": "e5m2"},
            "--format 'float8_e5m2' with --policy hfp8: its formats are e4m3 forward, e5m2 backward and "
            "e6m9 for sums. Leave --format out.",
        ),
        (
            {"policy": "hfp8", "accumulator": "float32"},
            "--accumulator 'float32' with --policy hfp8: its sums are e6m9, in chunks of 64.",
        ),
        (
            {"policy": "hfp8", "order": "kahan"},
            "--order 'kahan' with --policy hfp8: its sums are e6m9, in chunks of 64.",
        ),
        (
            {"policy": "int8", "format": "e4m3"},
            "--format 'float8_e4m3fn' with --policy int8: its tensors are int8.",
        ),
        (
            {"policy": "int8", "order": "kahan"},
            "--order and --outer are for float sums: those of --policy int8 are integers.",
        ),
        (
            {"policy": "int8", "accumulator": "e5m2"},
            "--accumulator 'e5m2' with --policy int8: its sums are int2..int32.",
        ),
        (
            {"model": "cmn"},
            "unknown model 'cmn'. Did you mean 'cnn'? Known: linear, mlp, softmax_regression, cnn, lenet5, "
            "cifar_quick, resnet20.",
        ),
        ({"loss": "msr"}, "unknown loss 'msr'. Did you mean 'mse'? Known: auto, mse, cross_entropy."),
        ({"optimizer": "adm"}, "unknown optimizer 'adm'. Did you mean 'adam'? Known: sgd, adam."),
        (
            {"schedule": "cosin"},
            "unknown schedule 'cosin'. Did you mean 'cosine'? Known: constant, step, cosine.",
        ),
        *(
            (
                {"schedule": text},
                f"--schedule {text!r}: step:EPOCHS:FACTOR, such as step:10:0.5, needs a whole number of at "
                "least 1 and a factor in (0, 1].",
            )
            for text in ("step", "step:3", "step:x:0.5", "step:0:0.5", "step:3:2", "step:3:0", "step:3:0.5:1")
        ),
        ({"schedule": "cosine:3"}, "--schedule 'cosine:3': cosine takes no numbers."),
        (
            {"optimizer": "adam", "momentum": 0.9},
            "--momentum and --nesterov are for --optimizer sgd: adam has its own averages.",
        ),
        (
            {"optimizer": "adam", "nesterov": True},
            "--momentum and --nesterov are for --optimizer sgd: adam has its own averages.",
        ),
        (
            {"loss": "cross_entropy"},
            "--loss 'cross_entropy' is for classes: these data are a regression. Choose mse.",
        ),
        (
            {"augment": True, "dataset": "toy"},
            "--augment moves images, and toy is a table: leave it out.",
        ),
        (
            {"model": "lenet5", "dataset": "digits"},
            "model lenet5 takes images (channels, height, width) of at least 12 x 12 pixels, not samples of "
            "shape (1, 8, 8). What fits them: linear, mlp, softmax_regression, cnn, cifar_quick, resnet20.",
        ),
        (
            {"model": "cnn", "dropout": 1.5, "dataset": "digits"},
            "a dropout rate of 1.5 is out of range: at least 0, below 1.",
        ),
        ({"nesterov": True}, "--nesterov needs --momentum: choose one above 0, such as 0.9."),
        (
            {"patience": 3},
            "--patience 3 waits for a better validation loss: give --validation-split.",
        ),
        ({"loss_scale": "dynamc"}, "--loss-scale 'dynamc' is neither a number nor 'dynamic'."),
        (
            {"loss_scale": "dynamic", "format": "e4m3"},
            "--loss-scale 'dynamic' goes down where gradients overflow to Inf or NaN, and float8_e4m3fn "
            "saturates here. Give --overflow ieee, or a number.",
        ),
        (
            {"loss_scale": "dynamic", "policy": "int8"},
            "--loss-scale 'dynamic' is for floats: int8 tensors have scales of their own.",
        ),
        ({"init": "zero"}, "unknown initialisation 'zero'. Did you mean 'zeros'? Known: torch, he, zeros."),
        (
            {"random_bits": 0},
            "random_bits 0 is out of range: stochastic rounding takes 1 to 32 random bits.",
        ),
        (
            {"random_bits": 33},
            "random_bits 33 is out of range: stochastic rounding takes 1 to 32 random bits.",
        ),
        ({"hidden": (8,)}, "hidden sizes (8,) need --model mlp: the linear model has no hidden layer."),
        ({"model": "mlp", "hidden": (8, -1)}, "hidden sizes (8, -1): each must be at least 1."),
        (
            {"format": "e8m0fnu"},
            "format float8_e8m0fnu cannot hold a network's input values: it is a scale without zero. "
            "Choose another --format.",
        ),
    ],
    ids=str,
)
def test_a_value_that_makes_no_sense_is_refused(given, message):
    with pytest.raises(ValueError) as error:
        RunConfig(**given)
    assert str(error.value) == message


@pytest.mark.parametrize("policy", ["full", "mixed", "output"])
def test_a_scale_format_is_refused_as_an_accumulator(policy):
    with pytest.raises(ValueError, match=r"float8_e8m0fnu.*--accumulator"):
        RunConfig(policy=policy, accumulator="e8m0fnu")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 1e-60),
        ("learning_rate", 1e39),
        ("weight_decay", 1e39),
        ("loss_scale", 1e39),
        ("loss_scale", 1e-50),
    ],
)
def test_a_constant_that_float32_turns_into_zero_or_infinity_is_refused(field, value):
    option = "--" + field.replace("_", "-")
    with pytest.raises(ValueError, match=rf"^{option} {re.escape(repr(value))} is out of range: .*float32"):
        RunConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", 1.5), ("rounding_seed", 1.5), ("hidden", (1.5,))],
)
def test_a_fraction_where_a_whole_number_belongs_is_refused(field, value):
    model = "mlp" if field == "hidden" else "linear"
    with pytest.raises(ValueError, match=r"1\.5.*whole number"):
        RunConfig(**{field: value}, model=model)


def test_the_largest_seeds_pass():
    assert RunConfig(seed=2**32 - 1, rounding_seed=0).rounding_seed == 0


def test_a_split_that_leaves_nothing_to_train_on_is_the_data_sets_to_refuse():
    # How many samples there are is known only once the data set is loaded.
    assert RunConfig(dataset="toy", test_split=0.99).test_split == 0.99


def test_numpy_numbers_count_as_numbers():
    config = RunConfig(epochs=np.int64(3), batch_size=np.int32(8))
    assert config.run_id == RunConfig(epochs=3, batch_size=8).run_id


def test_hfp8_is_listed_under_its_forward_format_however_it_is_asked_for():
    config = RunConfig(policy="hfp8")
    assert config.format == "float8_e4m3fn"
    assert config == RunConfig(policy="hfp8", format="e4m3") == RunConfig(**config.as_dict())
    assert config.build_policy().accumulator.cast.format.name == "e6m9"


def test_the_policy_input_takes_int8_as_a_format():
    policy = RunConfig(policy="input", format="int8", rounding="toward_zero").build_policy()
    assert (policy.name, policy.roles[Role.INPUT].format.name) == ("input", "int8")
