"""The choice of a backend by name, and what the CPU's says of itself."""

import sys
from pathlib import Path

import numpy as np
import pytest
from device_arrays import backend

from emunum.experiments.defaults import configure
from emunum.experiments.run import execute
from emunum.kernels import cpu
from emunum.kernels.backends import NAMES, BackendError, BackendMemoryError, backend_named, found

HOME = "emunum.kernels.cuda"


def refusing(message):
    def require():
        raise BackendError(message)

    module = backend("cuda")
    module.require = require
    return module


def test_there_are_two_backends_and_the_cpu_is_chosen_unless_another_is_asked_for():
    assert NAMES == ("auto", "cpu", "cuda")
    assert backend_named("auto") is backend_named("cpu") is cpu


def test_a_backend_is_imported_when_it_is_asked_for(monkeypatch):
    other = backend("cuda")
    monkeypatch.setitem(sys.modules, HOME, other)
    assert backend_named("cuda") is other


def test_a_backend_that_cannot_compute_here_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, HOME, refusing("no driver was found."))
    with pytest.raises(BackendError, match=r"^no driver was found\.$"):
        backend_named("cuda")
    assert found() == {"cpu": cpu.device(), "cuda": "not here: no driver was found."}


def test_a_backend_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, HOME, None)
    with pytest.raises(BackendError, match=r"^backend cuda is not installed: .*Choose cpu\.$"):
        backend_named("cuda")


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"unknown backend 'cdua'\. Did you mean 'cuda'\? Known: auto, cpu, cuda"
    ):
        backend_named("cdua")


def test_arrays_of_the_cpu_are_numpys_and_no_copy_is_made():
    x = np.arange(3, dtype=np.float32)
    assert cpu.host(x) is x
    assert cpu.resident(x) is x
    assert cpu.NAME == "cpu"
    assert cpu.COUNTS_EVENTS is True


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the system has no /proc/cpuinfo")
def test_the_cpu_is_named_as_the_system_names_it():
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    if names:
        assert cpu.device() == names[0]
    else:  # some architectures have no such line
        assert cpu.device() != ""


def test_out_of_memory_says_what_was_needed_and_which_batch_should_fit():
    error = BackendMemoryError("a GPU", needed=6 << 30, free=1 << 30, total=8 << 30)
    said = "a GPU is out of memory: an array of 6,144 MiB is needed, and 1,024 MiB of 8,192 MiB are left."
    assert str(error) == said
    # 7 GiB in use and 6 needed: 13 GiB for a batch of 256; 0.9 times 8 GiB hold 141 of it, and so 128.
    assert str(error.for_batch(256)) == f"{said} A batch of 128 should fit: --batch-size 128."
    assert (
        str(error.for_batch(1)) == f"{said} A batch of 1 is too much for it: choose another model or device."
    )


def test_a_run_out_of_memory_names_the_batch_that_should_fit(monkeypatch):
    def out_of_memory(*args, **options):
        raise BackendMemoryError("a GPU", needed=1 << 20, free=0, total=1 << 20)

    device = backend("device")
    monkeypatch.setattr(device, "matmul", out_of_memory)
    with pytest.raises(BackendError, match=r"1 MiB is needed.* A batch of 8 should fit: --batch-size 8\.$"):
        execute(configure(dataset="toy", batch_size=32), backend=device)
