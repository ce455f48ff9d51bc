"""The door to CuPy: arrays on a device, and kernels compiled for it at first use.

Everything else in this package asks `current()` for the device. Tests put another one there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np

from emunum.kernels.backends import BackendError, BackendMemoryError
from emunum.kernels.cuda.source import COMPILER_OPTIONS, source
from emunum.kernels.cuda.structs import Struct

THREADS = 256
"""Threads of a block."""


class Device(Protocol):
    """Where arrays live and kernels run. Arrays are C-contiguous unless they are views of others."""

    name: str

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of anything."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of zeros."""

    def asarray(self, x: Any) -> Any:
        """Return x on the device; itself where it is there."""

    def contiguous(self, x: Any) -> Any:
        """Return an array of the device in C order; itself where it is."""

    def host(self, x: Any) -> Any:
        """Return x as a NumPy array, once everything it waits for is done; itself where it is one."""

    def pointer(self, x: Any) -> int:
        """Return where the first element of an array of the device lies."""

    def wait(self) -> None:
        """Return once everything that was launched is done."""

    def ptx(self, kernel: str) -> str:
        """Return a kernel in NVIDIA's assembly."""

    def launch(self, kernel: str, blocks: int, arguments: Sequence[Any]) -> None:
        """Run `blocks` blocks of THREADS threads of a kernel, named as C++ names an instance of it.

        Arguments are arrays of the device, NumPy scalars of the parameters' own types, and Structs.
        """


_device: Device | None = None


def current() -> Device:
    """Return the device in use: the first GPU, from the first call on. Raises BackendError."""
    global _device
    if _device is None:
        _device = Gpu()
    return _device


def use(device: Device | None) -> None:
    """Let kernels run on another device from now on; None: the GPU again."""
    global _device
    _device = device


def sizes_agree(arguments: Sequence[Any]) -> str:
    """Return C++ that compiles only if structs have the size that their bytes here have."""
    structs = {
        argument.type: argument.fields.itemsize for argument in arguments if isinstance(argument, Struct)
    }
    return "".join(
        f'namespace emunum {{ static_assert(sizeof({type}) == {size}, "layout"); }}\n'
        for type, size in structs.items()
    )


class Gpu:
    """A CUDA device by way of CuPy."""

    def __init__(self) -> None:
        self._cupy = _cupy()
        properties = self._cupy.cuda.runtime.getDeviceProperties(self._cupy.cuda.Device().id)
        self.name = properties["name"].decode()
        self._kernels: dict[str, Any] = {}

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of anything."""
        return self._allocated(lambda: self._cupy.empty(shape, dtype), shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array of zeros."""
        return self._allocated(lambda: self._cupy.zeros(shape, dtype), shape, dtype)

    def asarray(self, x: Any) -> Any:
        """Return x on the device."""
        if isinstance(x, self._cupy.ndarray):
            return x
        x = np.asarray(x)
        return self._allocated(lambda: self._cupy.asarray(x), x.shape, x.dtype)

    def contiguous(self, x: Any) -> Any:
        """Return an array in C order."""
        return self._allocated(lambda: self._cupy.ascontiguousarray(x), x.shape, x.dtype)

    def host(self, x: Any) -> Any:
        """Return x as a NumPy array."""
        return self._cupy.asnumpy(x) if isinstance(x, self._cupy.ndarray) else x

    def pointer(self, x: Any) -> int:
        """Return the address of an array's first element."""
        return int(x.data.ptr)

    def wait(self) -> None:
        """Return once everything that was launched is done."""
        self._cupy.cuda.Device().synchronize()

    def ptx(self, kernel: str) -> str:
        """Return a kernel as NVRTC makes it for this device."""
        nvrtc = self._cupy.cuda.nvrtc
        architecture = f"--gpu-architecture=compute_{self._cupy.cuda.Device().compute_capability}"
        program = nvrtc.createProgram(source(), "emunum.cu", (), ())
        try:
            nvrtc.addNameExpression(program, f"emunum::{kernel}")
            nvrtc.compileProgram(program, (*COMPILER_OPTIONS, architecture))
            return str(nvrtc.getPTX(program))
        finally:
            nvrtc.destroyProgram(program)

    def launch(self, kernel: str, blocks: int, arguments: Sequence[Any]) -> None:
        """Run a kernel, compiled where it is not yet; CuPy keeps what it compiled on disk."""
        if kernel not in self._kernels:
            module = self._cupy.RawModule(
                code=source() + "\n" + sizes_agree(arguments),
                options=COMPILER_OPTIONS,
                name_expressions=[f"emunum::{kernel}"],
            )
            self._kernels[kernel] = module.get_function(f"emunum::{kernel}")
        values = tuple(a.fields if isinstance(a, Struct) else a for a in arguments)
        self._kernels[kernel]((blocks,), (THREADS,), values)

    def _allocated(self, make: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """What `make` returns; where memory is short, after what CuPy keeps for later is given back."""
        out_of_memory = self._cupy.cuda.memory.OutOfMemoryError
        try:
            return make()
        except out_of_memory:
            self._cupy.get_default_memory_pool().free_all_blocks()
        try:
            return make()
        except out_of_memory:
            needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            free, total = self._cupy.cuda.runtime.memGetInfo()
            raise BackendMemoryError(self.name, needed, free, total) from None


@cache
def _cupy() -> Any:
    """Return CuPy, once it is known to have a device. Raises BackendError."""
    try:
        import cupy
    except ImportError as error:
        raise BackendError(
            f"the cuda backend needs CuPy ({error}). Install it with: pip install 'emunum[cuda13]' (or "
            "emunum[cuda12] where the driver is for CUDA 12)."
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendError(
            f"the cuda backend finds no GPU that it can use: {error}. Check with nvidia-smi that there is "
            "one and that its driver is as new as CuPy's CUDA; without one, leave --backend out."
        ) from None
    if count == 0:
        raise BackendError("the cuda backend finds no GPU. Without one, leave --backend out.")
    return cupy
