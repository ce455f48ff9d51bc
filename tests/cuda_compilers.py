"""NVIDIA's compilers, where one is installed: CUDA source to PTX. No GPU is needed."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

Compile = Callable[[str, Sequence[str], Sequence[str], int], str]
"""(source, options, C++ names of kernels to make, architecture) -> PTX"""


@cache
def compilers() -> dict[str, tuple[tuple[int, ...], Compile]]:
    """What is installed: by name, the architectures it knows, and how to call it."""
    found: dict[str, tuple[tuple[int, ...], Compile]] = {}
    if nvcc := shutil.which("nvcc"):
        listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True).stdout
        found["nvcc"] = tuple(sorted(map(int, re.findall(r"compute_(\d+)$", listed, re.M)))), _by_nvcc
    if library := _nvrtc():
        count = ctypes.c_int()
        library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        known = (ctypes.c_int * count.value)()
        library.nvrtcGetSupportedArchs(known)
        found["NVRTC"] = tuple(sorted(known)), _by_nvrtc
    return found


def _by_nvcc(source: str, options: Sequence[str], kernels: Sequence[str], architecture: int) -> str:
    """Kernels are made where the host's code takes their addresses."""
    addresses = ",\n".join(f"(void*)&{kernel}" for kernel in kernels)
    with tempfile.TemporaryDirectory() as folder:
        text, ptx = Path(folder, "all.cu"), Path(folder, "all.ptx")
        text.write_text(f"{source}\nvoid* made[] = {{\n{addresses}\n}};\n")
        command = ["nvcc", *options, "-ptx", f"-arch=compute_{architecture}", str(text), "-o", str(ptx)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        return ptx.read_text()


def _nvrtc() -> Any:
    """NVRTC's library, of the system or of a package; None where there is none."""
    places = [ctypes.util.find_library("nvrtc")]
    for package in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            places += sorted(str(path) for path in Path(folder, "lib").glob("libnvrtc.so.*"))
    for place in filter(None, places):
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    return None


def _by_nvrtc(source: str, options: Sequence[str], kernels: Sequence[str], architecture: int) -> str:
    library, program = _nvrtc(), ctypes.c_void_p()

    def text_of(function: str) -> str:
        size = ctypes.c_size_t()
        assert getattr(library, f"{function}Size")(program, ctypes.byref(size)) == 0
        buffer = ctypes.create_string_buffer(size.value)
        assert getattr(library, function)(program, buffer) == 0
        return buffer.value.decode()

    assert library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"all.cu", 0, None, None) == 0
    for kernel in kernels:
        assert library.nvrtcAddNameExpression(program, kernel.encode()) == 0
    given = [option.encode() for option in (*options, f"--gpu-architecture=compute_{architecture}")]
    status = library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
    assert status == 0, text_of("nvrtcGetProgramLog")[:4000]
    return text_of("nvrtcGetPTX")
