"""Every test over other kernels: `pytest --backend cuda` on a GPU, `--backend host` on this computer.

The functions of kernels.cpu that the CUDA backend has too are replaced by those, arrays moved there and back,
so that a test that knows nothing of them checks their bits. `unswapped` has the CPU's own in any case.
"""

from __future__ import annotations

from functools import wraps
from inspect import signature
from types import SimpleNamespace
from typing import Any

from emunum.kernels import cpu

BACKENDS = ("cpu", "cuda", "host")
unswapped = SimpleNamespace(**{name: getattr(cpu, name) for name in cpu.__all__})


def compute_on(name: str) -> None:
    """Put the functions of a backend in the place of the CPU's, for as long as this process lives."""
    if name == "cpu":
        return
    from emunum.kernels import cuda
    from emunum.kernels.cuda import devices

    if name == "host":  # the CUDA source, compiled by the system's compiler
        from host_device import HostDevice

        devices.use(HostDevice())
    cuda.require()
    for function, of_cpu in vars(unswapped).items():
        if (
            callable(of_cpu)
            and function in cuda.__all__
            and function not in ("device", "host", "resident", "wait")
        ):
            setattr(cpu, function, _there_and_back(of_cpu, getattr(cuda, function), cuda.host))


def _there_and_back(of_cpu: Any, elsewhere: Any, host: Any) -> Any:
    def fetched(found: Any) -> Any:
        return tuple(map(fetched, found)) if type(found) is tuple else host(found)

    parameters = signature(of_cpu)

    @wraps(of_cpu)
    def moved(*args: Any, **options: Any) -> Any:
        given = parameters.bind(*args, **options).arguments
        if given.get("counts") is not None or given.get("out") is not None:
            return of_cpu(*args, **options)  # which are the CPU's alone
        return fetched(elsewhere(*args, **options))

    return moved
