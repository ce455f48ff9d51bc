"""Counting vector instructions: in assembly written by hand, and in kernels whose additions are known."""

import platform

import numpy as np
import pytest

from emunum.formats import Cast, Format
from emunum.kernels.contract import Extent
from emunum.kernels.cpu import inspection
from emunum.kernels.cpu.compile import compiled, widest_vectors
from emunum.kernels.cpu.inspection import Loop, vector_loops

ONE_LOOP = """
	.p2align	4
.LBB0_7:
	vmovups	(%rsi,%rax,4), %zmm1
	vaddps	(%rdx,%rax,4), %zmm1, %zmm2   # a comment, with vaddps in it
	vmulps	%zmm0, %zmm2, %zmm2
	vmovaps	%zmm2, %zmm3
	vmovups	%zmm3, (%rdx,%rax,4)
	addq	$16, %rax
	cmpq	%rax, %r9
	jne	.LBB0_7
"""


def body(*instructions: str, label: str = ".LBB1_2") -> str:
    return "\n".join([f"{label}:", *(f"\t{text}" for text in instructions), f"\tjne\t{label}", ""])


def test_arithmetic_is_counted_and_moves_are_not():
    assert vector_loops(ONE_LOOP) == [Loop(instructions=2, stored_bytes=64, width=64, philox=False)]


def test_masks_count_and_broadcasts_from_memory_do_not():
    [loop] = vector_loops(
        body(
            "vbroadcastss\t-4(%rcx), %ymm3",
            "vpbroadcastd\t%ecx, %ymm4",
            "vcmpltps\t%ymm3, %ymm4, %k1",
            "kandw\t%k1, %k2, %k1",
            "vmovups\t%ymm4, 32(%rdx) {%k1}",
        )
    )
    assert loop == Loop(instructions=3, stored_bytes=32, width=32, philox=False)


@pytest.mark.parametrize(
    ("store", "stored_bytes", "width"),
    [
        ("vmovups\t%xmm7, (%rdx,%r8,4)", 16, 16),
        ("vmovdqu\t%ymm7, -64(%rdx)", 32, 32),
        ("vmovdqu64\t%zmm7, (%rdi,%r11)", 64, 64),
        ("vpmovqd\t%zmm8, (%r8,%rsi)", 32, 64),
        ("vpmovdw\t%ymm8, (%r8)", 16, 32),
        ("vpmovdb\t%zmm8, (%r8)", 16, 64),
        ("vextracti64x4\t$1, %zmm1, 32(%rdx)", 32, 64),
        ("vextracti128\t$1, %ymm1, 16(%rdx)", 16, 32),
    ],
)
def test_what_a_store_writes(store, stored_bytes, width):
    [loop] = vector_loops(body("vpaddd\t%zmm0, %zmm1, %zmm2", store))
    assert (loop.stored_bytes, loop.width) == (stored_bytes, width)


def test_an_unrolled_loop_stores_twice_as_much():
    [loop] = vector_loops(body(*["vaddps\t%zmm0, %zmm1, %zmm1", "vmovups\t%zmm1, (%rdx)"] * 2))
    assert (loop.instructions, loop.stored_bytes) == (2, 128)


def test_philox_is_known_by_its_multiplication():
    [loop] = vector_loops(body("vpmuludq\t%zmm0, %zmm1, %zmm1", "vpmovqd\t%zmm1, (%r8)"))
    assert loop.philox


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no assembly at all",
        body("vaddss\t%xmm0, %xmm1, %xmm1", "vmovss\t%xmm1, (%rdx,%rcx,4)"),  # one number at a time
        body("vaddps\t%zmm0, %zmm1, %zmm1", "vmovups\t%zmm1, 64(%rsp)"),  # stores to the stack alone
        body("vaddps\t%zmm0, %zmm1, %zmm1"),
        body("addps\t%xmm0, %xmm1", "movups\t%xmm1, (%rdx)"),  # before AVX
        body("fadd\tv0.4s, v0.4s, v1.4s", "str\tq0, [x8], #16"),  # another architecture
        body("vaddps\t%zmm0, %zmm1, %zmm1", "ja\t.LBB9_9", "vmovups\t%zmm1, (%rdx)"),  # two blocks
        body("vmovups\t%zmm1, (%rdx)").replace("jne\t.LBB1_2", "jne\t.LBB0_1"),  # leads elsewhere
        body("vmovups\t%zmm1, (%rdx)").replace("jne", "jmp"),
    ],
)
def test_what_cannot_be_read_is_no_loop(text):
    assert vector_loops(text) == []


def test_the_outer_loop_around_a_loop_is_not_counted():
    nested = ".LBB0_2:\n\tvaddps\t%zmm4, %zmm5, %zmm5\n" + ONE_LOOP + "\tsubq\t$1, %rcx\n\tjne\t.LBB0_2\n"
    assert vector_loops(nested) == vector_loops(ONE_LOOP)


# ----------------------------------------------------------------------------------------------------
# Compiled kernels
# ----------------------------------------------------------------------------------------------------

readable = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="only the assembly of x86 is read"
)


@compiled
def _add_three_times(x, y):
    widest_vectors()
    for j in range(x.size):
        x[j] = np.float32(np.float32(x[j] + y) + y) + y


@compiled
def _multiply_and_add(x, y):
    widest_vectors()
    for j in range(x.size):
        x[j] = x[j] * y + y


@readable
@pytest.mark.parametrize(("kernel", "operations"), [(_add_three_times, 3), (_multiply_and_add, 2)])
def test_a_kernel_takes_the_operations_it_is_written_with(kernel, operations):
    # Without fast math none may be left out, and none contracted.
    loops = vector_loops(inspection._assembly_for(kernel, np.zeros(4, np.float32), np.float32(1)))
    assert loops
    assert {loop.instructions / loop.stored_bytes * loop.width for loop in loops} == {operations}


@readable
def test_calibration_takes_two_instructions_a_step_for_eight_steps():
    width = max(loop.width for loop in vector_loops(inspection._spin_assembly()))
    assert inspection.calibration_cost() == 16 / (width / 4)


@readable
def test_a_multiply_add_costs_what_its_two_roundings_do_and_random_bits_cost_more():
    e4m3 = Extent.of(Format.from_name("e4m3"))
    nearest, stochastic = (Cast.from_names("e4m3", rounding) for rounding in ("nearest", "stochastic"))
    plain = inspection.multiply_add_cost(nearest, nearest, e4m3, e4m3)
    exact = inspection.multiply_add_cost(None, Cast.from_names("float32"), e4m3, e4m3)
    width = max(loop.width for loop in vector_loops(inspection._spin_assembly()))
    # One product and one sum for width / 4 multiply-adds; with roundings at least four additions more.
    assert exact == 2 / (width / 4)
    assert plain >= 6 / (width / 4)
    assert inspection.multiply_add_cost(stochastic, stochastic, e4m3, e4m3) > plain


@readable
def test_a_multiply_add_of_integers_costs_at_least_a_product_and_a_sum():
    width = max(loop.width for loop in vector_loops(inspection._spin_assembly()))
    assert inspection.integer_cost() >= 2 / (width / 4)


def test_code_that_cannot_be_read_has_no_cost(monkeypatch):
    monkeypatch.setattr(inspection, "_assembly_for", lambda *_: "")
    e4m3 = Extent.of(Format.from_name("e4m3"))
    nearest, stochastic = (Cast.from_names("e4m3", rounding) for rounding in ("nearest", "stochastic"))
    assert inspection.calibration_cost() is None
    assert inspection.integer_cost() is None
    assert inspection.multiply_add_cost(nearest, nearest, e4m3, e4m3) is None
    assert inspection.multiply_add_cost(stochastic, stochastic, e4m3, e4m3) is None


def repeated(count: int, *others: str, label: str) -> str:
    return body(*["vaddps\t%zmm0, %zmm1, %zmm1"] * count, *others, label=label)


STORE = "vmovups\t%zmm1, (%rdx)"


def test_a_plain_multiply_add_is_a_quarter_of_what_the_loop_of_four_terms_takes_for_a_sum(monkeypatch):
    four, one = repeated(64, STORE, label=".LBB0_1"), repeated(36, STORE, STORE, label=".LBB0_2")
    e4m3, to = Extent.of(Format.from_name("e4m3")), Cast.from_names("e4m3")
    monkeypatch.setattr(inspection, "_assembly_for", lambda *_: four + one)
    assert inspection.multiply_add_cost(to, to, e4m3, e4m3) == 64 / 16 / 4
    # One loop alone may be either, and two alike may be anything.
    for unclear in (four, one, four + repeated(60, STORE, label=".LBB0_2")):
        monkeypatch.setattr(inspection, "_assembly_for", lambda *_, text=unclear: text)
        assert inspection.multiply_add_cost(to, to, e4m3, e4m3) is None


@pytest.mark.parametrize(("random_bits", "terms_a_call"), [(16, 4), (17, 2)])
def test_a_stochastic_multiply_add_is_its_rounding_and_its_part_of_a_call(
    monkeypatch, random_bits, terms_a_call
):
    # 8 calls of four words an iteration, and 32 roundings.
    calls = ["vpmuludq\t%zmm0, %zmm1, %zmm1", *["vpmovqd\t%zmm1, (%r8)"] * 4]
    text = repeated(67, *calls, label=".LBB0_1") + repeated(80, STORE, STORE, label=".LBB0_2")
    monkeypatch.setattr(inspection, "_assembly_for", lambda *_: text)
    e4m3, to = Extent.of(Format.from_name("e4m3")), Cast.from_names("e4m3", "stochastic", "auto", random_bits)
    cost = inspection.multiply_add_cost(to, to, e4m3, e4m3)
    assert cost == (67 + 1 + 4) / 8 / terms_a_call + 80 / 32


def test_calibration_steps_every_number(threads):
    x, step = np.arange(8, dtype=np.uint32), 0x9E3779B9
    inspection._spin(x, np.uint32(step), 2)
    expected = list(range(8))
    for _ in range(2 * 8):
        expected = [((value ^ step) + step) % 2**32 for value in expected]
    assert x.tolist() == expected
