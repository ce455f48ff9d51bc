"""A configuration as a command: parsed back, it is the same configuration."""

import shlex

import pytest
from emunum_cli.jobs import begun
from emunum_cli.run import command

from emunum.experiments.config import RunConfig
from emunum.experiments.defaults import configure
from emunum.experiments.spelling import arguments_of, command_of
from emunum.experiments.studies.image_rows import STUDIES


def parsed(line: str) -> RunConfig:
    """What `emunum run` makes of a command line."""
    program, name, *arguments = shlex.split(line)
    assert (program, name) == ("emunum", "run")
    options = dict(command.make_context("run", arguments).params)
    for other in ("resume", "threads", "as_json", "quiet"):
        del options[other]
    return begun(options).config


CONFIGS = [
    RunConfig(),
    RunConfig(dataset="toy", format="e4m3", rounding="stochastic", random_bits=8, overflow="ieee", seed=0),
    RunConfig(dataset="digits", policy="int8", accumulator="int16", scale="power_of_two", per_channel=True),
    RunConfig(dataset="digits", policy="int8", master="int8", overflow="wrap", rounding="stochastic"),
    RunConfig(dataset="digits", policy="hfp8", model="mlp", shuffle=False),
    RunConfig(dataset="digits", model="mlp", hidden=(16, 8), momentum=0.9, nesterov=True, loss="mse"),
    RunConfig(dataset="diabetes", model="mlp", hidden=(32,)),
    RunConfig(dataset="digits", optimizer="adam", learning_rate=1e-3, schedule="step:10:0.5"),
    RunConfig(format="bfloat16", accumulator="float32", order="chunked:64", outer="e6m9", rounding_seed=7),
    RunConfig(format="e5m2", policy="mixed", order="tensor_core:h100_fp8:128", loss_scale="dynamic"),
    RunConfig(overflow="saturate", init="he"),
    RunConfig(validation_split=0.1, patience=3, weight_decay=1e-4, test_split=0.25, batch_size=7, epochs=3),
    RunConfig(dataset="cifar10", model="cifar_quick", augment=True, loss_scale=1024.0, learning_rate=1 / 3),
    RunConfig(dataset="mnist", model="cnn", dropout=0.5, format="binary8p4se"),
]  # fmt: skip
CONFIGS += [row.config for study in STUDIES.values() for row in study().rows]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.run_id)
def test_a_command_means_the_configuration_it_was_made_from(config):
    assert parsed(command_of(config)) == config


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (RunConfig(), "emunum run --dataset diabetes"),
        (RunConfig(dataset="toy", seed=0), "emunum run --dataset toy --seed 0"),
        (RunConfig(format="e4m3"), "emunum run --dataset diabetes --format float8_e4m3fn"),
        (configure(dataset="digits", policy="int8"), "emunum run --dataset digits --policy int8"),
        (configure(dataset="digits", policy="hfp8"), "emunum run --dataset digits --policy hfp8"),
        (configure(dataset="cifar10", format="e5m2"), "emunum run --dataset cifar10 --format float8_e5m2"),
        (RunConfig(train_samples=100), "emunum run --dataset diabetes --train-samples 100"),
        (RunConfig(model="mlp"), "emunum run --dataset diabetes --model mlp"),
        (RunConfig(model="mlp", hidden=(9, 3)), "emunum run --dataset diabetes --model mlp --hidden 9,3"),
        (RunConfig(shuffle=False), "emunum run --dataset diabetes --no-shuffle"),
    ],
)  # fmt: skip
def test_only_what_differs_from_the_defaults_is_said(config, line):
    assert command_of(config) == line


def test_fields_can_be_left_out():
    config = RunConfig(dataset="toy", format="e5m2", seed=5)
    assert arguments_of(config, without=frozenset({"seed"})) == [
        "--dataset", "toy", "--format", "float8_e5m2",
    ]  # fmt: skip
