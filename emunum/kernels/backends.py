"""The backend, chosen by name: the one place that knows which there are.

A backend is a module with the functions of `emunum.kernels.cpu`, and none of its results has other bits than
theirs. Its functions take NumPy arrays or its own, and return its own, which take part in NumPy's protocols
(np.where(x), x.reshape, operators) and may live where NumPy cannot reach them; then nothing mixes the two
kinds but its functions. Beside these it has

    NAME            as below
    COUNTS_EVENTS   whether its functions count what their roundings do
    device()        what it computes on, by name
    resident(x)     x, of either kind, as an array of its own
    host(x)         x, of either kind, as a NumPy array
    wait()          returns once what was begun is done
    require()       raises BackendError where it cannot compute here; the CPU's, always there, has none
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from emunum.formats.names import unknown

NAMES = ("auto", "cpu", "cuda")
"""`auto` is the CPU: another backend is asked for by name."""
DEFAULT = "auto"


class BackendError(RuntimeError):
    """A backend cannot compute on this machine; the message is a line that says why, and what helps."""


class BackendMemoryError(BackendError):
    """An array does not fit on the device: `needed` bytes, `free` of `total` being left."""

    def __init__(self, name: str, needed: int, free: int, total: int) -> None:
        self.needed, self.free, self.total = needed, free, total
        super().__init__(
            f"{name} is out of memory: an array of {_mib(needed)} is needed, and {_mib(free)} of "
            f"{_mib(total)} are left."
        )

    def for_batch(self, batch: int) -> BackendError:
        """Return the error with the largest power of two of samples, below `batch`, that should fit.

        All that was in use, and the array, are taken to grow with the batch, up to nine tenths of the device.
        """
        share = 0.9 * self.total / (self.total - self.free + self.needed)
        fitting = int(batch * min(share, 0.99))
        if fitting == 0:
            return BackendError(
                f"{self} A batch of {batch} is too much for it: choose another model or device."
            )
        fitting = 1 << (fitting.bit_length() - 1)
        return BackendError(f"{self} A batch of {fitting} should fit: --batch-size {fitting}.")


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def backend_named(name: str) -> ModuleType:
    """Return the backend called `name`.

    Raises ValueError where there is none of that name, and BackendError where it cannot compute here.
    """
    if name not in NAMES:
        raise unknown("backend", name, NAMES)
    if name in (DEFAULT, "cpu"):
        return import_module("emunum.kernels.cpu")
    try:
        backend = import_module(f"emunum.kernels.{name}")
    except ModuleNotFoundError as error:
        raise BackendError(f"backend {name} is not installed: {error}. Choose cpu.") from None
    backend.require()
    return backend


def found() -> dict[str, str]:
    """Return, by name, what each backend computes on here, or why it does not."""
    seen = {}
    for name in NAMES[1:]:
        try:
            seen[name] = backend_named(name).device()
        except BackendError as error:
            seen[name] = f"not here: {error}"
    return seen
