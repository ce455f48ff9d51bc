"""What `emunum bench train` measures: shares and ratios from fabricated times, and a small race."""

import sys
from itertools import count
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from emunum.experiments.bench import MissingPeerError, peers, training
from emunum.kernels import cpu
from emunum.nn.models import build, parameter_count

COLUMNS = {
    "name", "steps", "batch_size", "threads", "step_s", "epoch_s", "ratio_to_pytorch", "peak_bytes", "inside",
    "slowest",
}  # fmt: skip


def backend(clock):
    """Two functions that take 3 s and 4 s on the clock; the second calls the first by way of the proxy."""
    made = ModuleType("made")

    def inner():
        clock[0] += 3.0
        return "inner"

    def outer(call):
        clock[0] += 1.0
        return call()

    def fails():
        clock[0] += 2.0
        raise ValueError("no")

    made.inner, made.outer, made.fails, made.size = inner, outer, fails, 7
    return made


def test_time_inside_is_noted_by_function_and_nothing_twice():
    clock = [0.0]
    timed = training.Timed(backend(clock), clock=lambda: clock[0])
    assert timed.inner() == "inner"
    assert timed.outer(timed.inner) == "inner"
    assert timed.inner() == "inner"
    assert timed.inside_s == {"inner": 6.0, "outer": 4.0}
    assert timed.size == 7


def test_a_function_that_raises_is_noted_and_the_next_one_too():
    clock = [0.0]
    timed = training.Timed(backend(clock), clock=lambda: clock[0])
    with pytest.raises(ValueError, match="no"):
        timed.fails()
    timed.inner()
    assert timed.inside_s == {"fails": 2.0, "inner": 3.0}


def test_a_timed_backend_gives_the_results_of_the_backend():
    x = np.linspace(-2, 2, 7, dtype=np.float32)
    timed = training.Timed(cpu)
    np.testing.assert_array_equal(timed.exp(x), cpu.exp(x))
    assert set(timed.inside_s) == {"exp"}


def racer(name, seconds, clock, inside=None):
    """A case whose steps take the next of `seconds`, `inside` of it in a kernel; two are not timed."""
    timed = None if inside is None else training.Timed(ModuleType("made"), clock=lambda: clock[0])
    taken = iter([99.0, 99.0, *seconds])

    def step(number):
        duration = next(taken)
        clock[0] += duration
        if timed is not None:
            timed.inside_s["kernel"] += inside * duration

    return training._Racer(name, lambda: step, timed)


def raced(monkeypatch, ours, theirs, **options):
    clock = [0.0]
    case = racer("full e4m3 nearest", ours, clock, inside=0.75)
    monkeypatch.setattr(training, "CASES", [("full e4m3 nearest", "full", "nearest")])
    monkeypatch.setattr(training, "_emulated", lambda *_: case)
    monkeypatch.setattr(training, "_LINGERS_S", 0.0)
    peer = racer("peer", theirs, clock).prepare() if theirs else None

    def torch_steps(*_):
        if peer is None:
            raise MissingPeerError("torch")
        return peer

    monkeypatch.setattr(training, "torch_cnn_steps", torch_steps)
    return training.measure(steps=len(ours), clock=lambda: clock[0], **options)


def test_an_epoch_is_the_median_step_times_the_steps_in_it(monkeypatch):
    rows, missing = raced(monkeypatch, [8.0, 2.0, 4.0], [1.0, 1.0, 5.0], images=1000, batch=100)
    ours, theirs = rows
    assert missing == []
    assert (ours["step_s"], ours["epoch_s"], ours["ratio_to_pytorch"]) == (4.0, 40.0, 4.0)
    assert (theirs["name"], theirs["epoch_s"], theirs["ratio_to_pytorch"]) == ("PyTorch float32", 10.0, 1.0)
    assert (ours["inside"], ours["slowest"]) == (0.75, {"kernel": 0.75})
    assert (theirs["inside"], theirs["slowest"]) == (None, {})
    assert set(ours) == set(theirs) == COLUMNS


def test_without_pytorch_there_is_no_ratio_and_it_is_named(monkeypatch):
    [row], missing = raced(monkeypatch, [2.0], None, images=200, batch=100)
    assert (row["epoch_s"], row["ratio_to_pytorch"], missing) == (4.0, None, ["torch"])


def test_every_step_is_told(monkeypatch):
    told = count()
    raced(monkeypatch, [1.0, 1.0], [1.0, 1.0], images=200, batch=100, on_step=lambda: next(told))
    assert next(told) == 2 * (2 + 2)


def test_a_batch_needs_its_images():
    with pytest.raises(ValueError, match="a batch of 64 images does not come out of 32"):
        training.measure(images=32, batch=64)


def test_steps_take_full_batches_in_order_and_start_again():
    assert [training.rows_of(number, 4, 10) for number in range(4)] == [
        slice(0, 4), slice(4, 8), slice(0, 4), slice(4, 8),
    ]  # fmt: skip


def test_a_missing_pytorch_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPeerError, match=r"^torch$"):
        peers.torch_cnn_steps(None, 1, 1)


def test_pytorch_trains_the_network_that_emunum_calls_cnn(monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    found = []
    adam = torch.optim.Adam

    def watched(params, **options):
        params = list(params)
        found.append((sum(w.numel() for w in params), options))
        return adam(params, **options)

    monkeypatch.setattr(torch.optim, "Adam", watched)
    samples = training._samples(16)
    step = peers.torch_cnn_steps(samples, 8, torch.get_num_threads())
    assert all(np.isfinite(step(number)) for number in range(3))
    expected = parameter_count(build("cnn", training.SHAPE, training.CLASSES))
    options = {"lr": training.LEARNING_RATE, "weight_decay": training.WEIGHT_DECAY}
    assert found == [(expected, options)]
    assert expected == 421_642


def test_a_small_race_of_every_case(threads):
    rows, missing = training.measure(steps=1, images=4, batch=2)
    names = [name for name, _, _ in training.CASES] + ([] if missing else [training.PYTORCH])
    assert [row["name"] for row in rows] == names
    for row in rows[:4]:
        assert 0 < row["inside"] <= 1
        assert 0 < sum(row["slowest"].values()) <= row["inside"]
        assert set(row["slowest"]) <= set(cpu.__all__)


def test_memory_is_unknown_where_the_system_does_not_say(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "Path", lambda path: tmp_path / path.lstrip("/"))
    assert training._peak_bytes() is None
    monkeypatch.setattr(training, "Path", lambda path: SimpleNamespace(read_text=lambda: "VmHWM:\t 12 kB\n"))
    assert training._peak_bytes() == 12 * 1024
