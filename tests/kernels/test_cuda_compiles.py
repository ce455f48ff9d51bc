"""The CUDA source through NVIDIA's compilers: nothing in it is contracted or flushed.

PTX is read. An `add` or `mul` of floats without `.rn` might be fused later on, one with it never is: the
PTX ISA, "add", "mul" ("an add instruction with an explicit rounding modifier is treated conservatively").
"""

from __future__ import annotations

import re
from collections import Counter

import pytest
from cuda_compilers import compilers

from emunum.kernels.cuda.inspection import instructions_between_barriers
from emunum.kernels.cuda.source import COMPILER_OPTIONS, source

ARCHITECTURES = (70, 80, 90)
_WORD, _LOTS = "WordDeterministic<double>", "WordStochastic<double>"
_NEAREST = "Sequential<MagicClamped, MagicScaled, 16>"
_STOCHASTIC = "Sequential<OffsetStochastic<false>, TwoSum<OffsetStochastic<true>>, 16>"
_ORDERS = (
    f"Chunked<MagicNearest, BitsNearest, OneZero<TwoSum<{_WORD}>>, 16, 32>",
    f"Pairwise<Unrounded<double>, TwoSum<{_WORD}>, TwoSum<{_LOTS}>, 32>",
    f"Kahan<OffsetLots<true>, TwoSum<OffsetLots<false>>, ZeroDown<TwoSum<Ranged<Flushed<{_LOTS}>>>>, 16>",
    f"Exact<Unrounded<double>, Ranged<{_LOTS}>, 32>",
    f"TensorCore<{_WORD}, Unrounded<float>, 16>",
)
_MATRICES = "Matrix<float>, Matrix<float>, Matrix<float>"
KERNELS = (
    *(f"multiply<{_NEAREST}, {_MATRICES}, {tile}>" for tile in ("4, 16", "2, 16", "1, 32")),
    *(f"multiply<{_STOCHASTIC}, {_MATRICES}, {tile}>" for tile in ("2, 16", "1, 32")),
    *(f"multiply<{order}, {_MATRICES}, 1, 32>" for order in _ORDERS),
    f"multiply<{_NEAREST}, Matrix<float>, Patches<float>, Images<float>, 4, 16>",
    f"multiply<{_STOCHASTIC}, Images<float>, Transposed<Patches<float>>, Matrix<float>, 1, 32>",
    f"multiply<{_STOCHASTIC}, Ones<float>, Spread<float>, Matrix<float>, 1, 32>",
    "multiply<WideIntegers, Matrix<i8>, Patches<i8>, Images<i32>, 4, 16>",
    "multiply<NarrowIntegers, Ones<i32>, Spread<i32>, Matrix<i32>, 1, 32>",
    *(f"cast<{to}, float>" for to in ("MagicNearest", "WordStochastic<float>", "OffsetDeterministic<true>")),
    f"cast<OneZero<Wrapped<{_LOTS}>>, double>",
    "sum<TwoSum<OffsetDeterministic<false>>>",
    "multiply_each<BitsNearest>",
    f"divide<{_WORD}>",
    f"square_root_each<{_LOTS}>",
    f"rescale<{_WORD}, i32>",
    "exp_each",
    "log_each",
    "spin",
    "keep",
    "select<i8>",
    "philox_each",
    "encode<u8>",
    "decode<u16>",
    "measure",
    "round_result<MagicNearest>",
    "max_pool<float, u8>",
    "window_terms<float>",
    "pixel_terms<float, u8, true>",
)

if not compilers():
    pytest.skip("neither nvcc nor NVRTC is installed", allow_module_level=True)


@pytest.fixture(scope="module", params=sorted(compilers()))
def compiler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_is_contracted_or_flushed(compiler: str, architecture: int) -> None:
    known, compile_ = compilers()[compiler]
    architecture = max(architecture, known[0])  # CUDA 13 begins with sm_75
    ptx = compile_(source(), COMPILER_OPTIONS, [f"emunum::{kernel}" for kernel in KERNELS], architecture)
    assert ptx.count(".entry ") >= len(KERNELS)
    found = Counter(re.findall(r"\b((?:add|sub|mul|div|sqrt|fma|mad)\.[\w.]*f(?:32|64))\b", ptx))
    rounded = {f"{operation}.rn.{type}" for operation in ("add", "sub", "mul") for type in ("f32", "f64")}
    rounded |= {"div.rn.f32", "div.rn.f64", "sqrt.rn.f64"}
    assert set(found) == rounded
    assert ".ftz" not in ptx
    assert ".approx" not in ptx


def test_every_kernel_of_the_source_is_among_those_compiled() -> None:
    named = set(re.findall(r"^KERNEL (\w+)\(", source(), re.M))
    assert named == {kernel.partition("<")[0] for kernel in KERNELS}
    orders = set(re.findall(r"^struct (\w+) \{\n(?:.*\n)*?.*struct State", source(), re.M))
    assert {order for order in orders if any(order in kernel for kernel in KERNELS)} == orders


def test_the_instructions_of_a_multiply_add_are_counted_in_the_longest_stretch_between_barriers() -> None:
    ptx = """
        bar.sync        0;
        add.rn.f32      %f1, %f2, %f3;
        bar.sync        0;
        setp.ge.s32     %p5, %r7, %r8;
        @%p5 bra        $L__BB0_9;
        ld.shared.f32   %f4, [%r9];
        mov.u32         %r2, %r3;
    $L__BB0_9:
        @!%p5 mul.rn.f32  %f5, %f4, %f4;
        bar.sync        0;
        st.global.f32   [%rd1], %f5;
    """
    assert instructions_between_barriers(ptx) == 3  # setp, ld.shared, mul


def test_a_multiply_add_takes_at_least_its_eight_roundings_steps(compiler: str) -> None:
    """Product, exponent, floor, magic number, + and -, two bounds, and the same for the sum: MagicClamped."""
    known, compile_ = compilers()[compiler]
    kernel = f"emunum::multiply<Sequential<MagicClamped, MagicClamped, 16>, {_MATRICES}, 4, 16>"
    ptx = compile_(source(), COMPILER_OPTIONS, [kernel], max(80, known[0]))
    assert 16 <= instructions_between_barriers(ptx) / (4 * 4 * 16) <= 30
