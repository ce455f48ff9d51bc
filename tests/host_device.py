"""A device for the CUDA backend that is this computer: its source, compiled by the system's C++ compiler.

A kernel is compiled when it is first launched, and its threads run one after another; arrays are
DeviceArrays, which refuse what CuPy's would.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from device_arrays import DeviceArray

from emunum.kernels.cuda.devices import THREADS, sizes_agree
from emunum.kernels.cuda.source import source
from emunum.kernels.cuda.structs import Struct

_OPTIONS = ("-std=c++17", "-O1", "-ffp-contract=off", "-fno-strict-aliasing", "-fPIC", "-w")
_PRELUDE = Path(__file__).with_name("host_cuda.h")
_WITH_BARRIERS = ("multiply<", "measure")


@cache
def compiler() -> str | None:
    """The system's C++ compiler; None where there is none."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)


class HostDevice:
    """What kernels/cuda/device.py asks of a device."""

    name = "this computer"

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="emunum-host-")
        self.kernels: dict[str, Any] = {}
        text = _PRELUDE.read_text() + source()
        header = Path(self.folder.name, "all.h")
        header.write_text(text)
        subprocess.run([str(compiler()), *_OPTIONS, "-x", "c++-header", str(header)], check=True)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        rubbish = np.empty(shape, dtype)
        rubbish.reshape(-1).view(np.uint8)[:] = 0xA5  # what is not written shows
        return DeviceArray(rubbish)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        return DeviceArray(np.zeros(shape, dtype))

    def asarray(self, x: Any) -> DeviceArray:
        return x if isinstance(x, DeviceArray) else DeviceArray(np.array(x))

    def contiguous(self, x: DeviceArray) -> DeviceArray:
        assert isinstance(x, DeviceArray)
        return x if x.flags["C_CONTIGUOUS"] else DeviceArray(np.ascontiguousarray(x.inner))

    def host(self, x: Any) -> Any:
        return x.get() if isinstance(x, DeviceArray) else x

    def pointer(self, x: DeviceArray) -> int:
        return int(x.inner.ctypes.data)

    def wait(self) -> None:
        pass  # a launch returns when it is done

    def ptx(self, kernel: str) -> str:
        return "bar.sync 0;\n add.rn.f32 %f1, %f2, %f3;\nbar.sync 0;\n"  # there is none

    def launch(self, kernel: str, blocks: int, arguments: Sequence[Any]) -> None:
        assert 0 < blocks < 1 << 31
        if kernel not in self.kernels:
            self.kernels[kernel] = self._compiled(kernel, sizes_agree(arguments))
        values = [self._value(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        barriers = kernel.startswith(_WITH_BARRIERS)
        self.kernels[kernel](ctypes.c_uint(blocks), ctypes.c_uint(THREADS), pointers, ctypes.c_int(barriers))

    def _value(self, argument: Any) -> Any:
        """A NumPy array of one element that holds a parameter's bytes."""
        if isinstance(argument, Struct):
            return argument.fields
        if isinstance(argument, DeviceArray):
            assert argument.size == 0 or argument.flags["C_CONTIGUOUS"]
            return np.array([self.pointer(argument)], np.uint64)
        assert isinstance(argument, np.generic), f"{argument!r} has no type of its own"
        return np.array([argument])

    def _compiled(self, kernel: str, checks: str) -> Any:
        number = len(self.kernels)
        text, library = Path(self.folder.name, f"{number}.cpp"), Path(self.folder.name, f"{number}.so")
        text.write_text(
            f"""#include "all.h"
{checks}
using namespace emunum;
static void thread() {{ call(&{kernel}, given); }}
extern "C" void launch(unsigned blocks, unsigned threads, void** arguments, int barriers) {{
    gridDim.x = blocks, blockDim.x = threads, given = arguments, body = thread;
    if (barriers) return run_with_barriers();
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++) thread();
}}
"""
        )
        command = [
            str(compiler()),
            *_OPTIONS,
            "-shared",
            f"-I{self.folder.name}",
            str(text),
            "-o",
            str(library),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{kernel}:\n{done.stderr[:4000]}"
        function = ctypes.CDLL(str(library)).launch
        function.restype = None
        return function
