"""Whole trainings, and benchmarks, over the CUDA source: compiled for this computer, or on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from host_device import HostDevice, compiler

from emunum.experiments.bench import cases, chosen, measure
from emunum.experiments.defaults import configure
from emunum.experiments.run import execute
from emunum.kernels import cuda
from emunum.kernels.cuda import devices, inspection

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler is installed")

IMAGES = {"dataset": "digits", "model": "cnn", "train_samples": 32, "test_split": 0.02, "epochs": 1}
RUNS = {
    "a table in e4m3": {
        "dataset": "diabetes",
        "model": "mlp",
        "train_samples": 64,
        "epochs": 2,
        "format": "e4m3",
    },
    "images, everything drawn": IMAGES | {"format": "e4m3", "rounding": "stochastic"},
    "images, integers": IMAGES | {"policy": "int8"},
}
SAME = ("weights_sha256", "test_loss", "test_accuracy", "final_step_loss")


@pytest.fixture(scope="module", autouse=True)
def somewhere(request: pytest.FixtureRequest) -> Iterator[None]:
    before = devices._device
    if request.config.getoption("--backend") != "cuda":
        devices.use(HostDevice())
    yield
    devices.use(before)


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_training_ends_in_the_cpus_digest_and_metrics(options: dict[str, object]) -> None:
    config = configure(**options)
    ours, of_cpu = execute(config, backend=cuda), execute(config)
    assert {key: ours[key] for key in SAME} == {key: of_cpu[key] for key in SAME}
    assert (ours["backend"], ours["device"]) == ("cuda", devices.current().name)


def test_kernels_are_timed_beside_what_bounds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_BLOCKS", 1)
    every = cases(cuda, size=16, elements=100)
    rows, missing = measure(chosen(every, "e4m3 nearest_even"), repeats=1)
    assert missing == []
    assert [row["name"] for row in rows] == [
        "copy float32", "cast e4m3 nearest_even", "the device's own float32", "simple instructions",
        "matmul e4m3 nearest_even",
    ]  # fmt: skip
    product = rows[-1]
    assert product["work"] == 16**3
    assert product["limit_per_s"] == pytest.approx(rows[-2]["median_per_s"] / product["cost"])
    assert len({case.name for case in every}) == len(every)
