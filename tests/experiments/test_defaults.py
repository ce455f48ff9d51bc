"""What is not given is settled by the data set: tables as published, images by a recipe that trains them."""

import pytest

from emunum.experiments.config import RunConfig
from emunum.experiments.datasets import EMBEDDED, PUBLISHED
from emunum.experiments.defaults import configure, loss_scale_for

TABLES = ("toy", "diabetes", "boston")
IMAGES = ("digits", *PUBLISHED)


def chosen(config, *names):
    return tuple(getattr(config, name) for name in names)


@pytest.mark.parametrize("dataset", TABLES)
def test_tables_have_the_defaults_of_the_regression_study(dataset):
    config = configure(dataset=dataset, format="e5m2")
    assert config == RunConfig(dataset=dataset, format="e5m2")
    assert chosen(config, "model", "optimizer", "learning_rate", "epochs", "loss_scale") == (
        "linear", "sgd", 0.01, 30, 1.0,
    )  # fmt: skip


def test_every_data_set_is_a_table_or_has_a_recipe():
    assert {*TABLES, *IMAGES} == {*EMBEDDED, *PUBLISHED}


@pytest.mark.parametrize("dataset", IMAGES)
def test_images_have_a_convolutional_network_and_adam(dataset):
    config = configure(dataset=dataset, policy="mixed", format="e4m3")
    assert config.model == ("cifar_quick" if dataset.startswith("cifar") else "cnn")
    assert chosen(config, "optimizer", "momentum", "loss_scale") == ("adam", 0.0, 1024.0)


def test_where_the_state_is_rounded_images_have_momentum():
    config = configure(dataset="mnist", policy="full", format="e4m3")
    assert chosen(config, "optimizer", "momentum", "learning_rate") == ("sgd", 0.9, 0.1)


def test_what_is_given_stands():
    given = {
        "dataset": "mnist", "model": "lenet5", "optimizer": "sgd", "learning_rate": 0.5, "momentum": 0.0,
        "batch_size": 7, "epochs": 2, "loss_scale": 2.0, "policy": "mixed", "format": "e4m3",
    }  # fmt: skip
    assert configure(**given) == RunConfig(**given)


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({"optimizer": "sgd"}, 0.01),
        ({"optimizer": "adam", "policy": "full"}, 0.001),
        ({"momentum": 0.5}, 0.01),
        ({"momentum": 0.5, "nesterov": True}, 0.01),
    ],
)
def test_another_optimizer_has_its_own_rate_and_not_the_recipes(given, rate):
    config = configure(dataset="digits", **given)
    assert config.learning_rate == rate
    assert config.optimizer == given.get("optimizer", "sgd")
    assert config.momentum == given.get("momentum", 0.0)


# Smallest positive value: e4m3 2^-9, e5m2 2^-16, float16 2^-24, q4.12 2^-12; e6m9 2^-39, bfloat16 2^-133.
@pytest.mark.parametrize(
    ("options", "scale"),
    [
        *[({"policy": "mixed", "format": name}, 1024.0) for name in ("e4m3", "e5m2", "float16", "q4.12")],
        *[({"policy": "full", "format": name}, 64.0) for name in ("e4m3", "e5m2", "float16")],
        *[({"policy": "mixed", "format": name}, 1.0) for name in ("e6m9", "bfloat16", "float32")],
        ({"policy": "output", "format": "e5m2"}, 1024.0),
        ({"policy": "input", "format": "e4m3"}, 1.0),
        ({"policy": "hfp8"}, 1024.0),
        ({"policy": "int8"}, 1.0),
    ],
    ids=str,
)
def test_the_loss_is_scaled_where_errors_are_narrow(options, scale):
    config = configure(dataset="mnist", **options)
    assert config.loss_scale == loss_scale_for(config.build_policy()) == scale


def test_an_unknown_name_is_refused_as_always():
    with pytest.raises(ValueError, match="unknown dataset 'minst'"):
        configure(dataset="minst")
    with pytest.raises(ValueError, match="unknown policy 'ful'"):
        configure(dataset="mnist", policy="ful")
