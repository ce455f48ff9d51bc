"""The CPU backend: casts, codes, elementwise arithmetic and matrix products on NumPy arrays.

Values are float32 arrays (casts also take float64). Every function takes Casts, lowers them, shares the
work over threads and returns a new C-contiguous float32 array; the bits depend on the values, casts and
keys alone. Nothing here parses a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emunum.formats import FLOAT32, Accumulator, Cast, Format, Order, Overflow, Special
from emunum.kernels import contract
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cpu import codes, elementwise, integers, orders
from emunum.kernels.cpu import matmul as products
from emunum.kernels.cpu.threads import get_threads, set_threads, share
from emunum.kernels.random import Key

__all__ = [
    "add",
    "cast",
    "column_sum",
    "decode",
    "divide",
    "encode",
    "get_threads",
    "matmul",
    "matmul_integers",
    "measure",
    "multiply",
    "rescale",
    "scaled_add",
    "set_threads",
    "square_root",
    "subtract",
]

Array = NDArray[np.float32]
Counts = NDArray[np.int64]
"""One counter for each contract.Event. Functions that are given one count in it, on one thread."""
Result = TypeVar("Result")
_ANY = Extent.of(FLOAT32)
_NARROW = 32  # outputs with fewer columns than this are computed transposed
_PANEL = 1 << 18  # numbers of a transposed left operand copied at a time


def cast(
    x: NDArray[np.floating[Any]],
    to: Cast,
    key: Key,
    *,
    out: Array | None = None,
    counts: Counts | None = None,
) -> Array:
    """Round each element of x, float32 or float64 of any shape, to a format; see contract.py for draws.

    `out`, contiguous and of x's shape, takes the result in place of a new array.
    """
    narrow = x.dtype == np.float32
    if to.format.special is Special.SCALE:
        return _cast_to_scale(x, to, key, out)
    lowered = _counted(to, counts) or contract.lower_conversion(to, _ANY if narrow else None)
    random = _random(to, key, Operation.CAST)
    result = np.empty(x.shape, np.float32) if out is None else out
    source, target = np.ascontiguousarray(x).reshape(-1), result.reshape(-1)

    def job(begin: int, end: int) -> None:
        elementwise.cast(source, target, lowered, random, begin, end)

    _share(job, target.size, counts)
    return result


def _cast_to_scale(x: NDArray[np.floating[Any]], to: Cast, key: Key, out: Array | None) -> Array:
    """Scales have no zero and no sign: what rounds to 0 is the smallest one, 0 and negatives are NaN."""
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
        source = np.ascontiguousarray(x, np.float64).reshape(-1)
    result = np.empty(x.shape, np.float32) if out is None else out
    target = result.reshape(-1)
    lowered, random = contract.lower_conversion(to, None), _random(to, key, Operation.CAST)
    _share(lambda begin, end: elementwise.cast(source, target, lowered, random, begin, end), target.size)
    target[target == 0] = np.float32(to.format.smallest)
    target[~(source > 0)] = np.nan
    return result


def add(
    a: Array,
    b: Array,
    to: Cast,
    key: Key,
    operation: Operation = Operation.ADD,
    counts: Counts | None = None,
) -> Array:
    """round(a + b), operands broadcast."""
    return _sum(a, b, np.float32(1), to, key, operation, counts)


def subtract(a: Array, b: Array, to: Cast, key: Key, counts: Counts | None = None) -> Array:
    """round(a - b), operands broadcast."""
    return _sum(a, b, np.float32(-1), to, key, Operation.SUBTRACT, counts)


def _sum(
    a: Array, b: Array, sign: np.float32, to: Cast, key: Key, operation: Operation, counts: Counts | None
) -> Array:
    contract.require_arithmetic(to)
    one_zero = not to.format.has_negative_zero
    lowered = _counted(to, counts, sums=True) or contract.lower_sum(to, _ANY, _ANY, one_zero=one_zero)
    random = _random(to, key, operation)
    x, y, shape = _flat_pair(a, b)
    out = np.empty(x.size, np.float32)
    _share(lambda begin, end: elementwise.add(x, y, sign, out, lowered, random, begin, end), out.size, counts)
    return out.reshape(shape)


def multiply(
    a: Array,
    b: Array,
    to: Cast,
    key: Key,
    operation: Operation = Operation.MULTIPLY,
    counts: Counts | None = None,
) -> Array:
    """round(a b), operands broadcast."""
    contract.require_arithmetic(to)
    one_zero = not to.format.has_negative_zero
    lowered = _counted(to, counts) or contract.lower_product(to, _ANY, _ANY, one_zero=one_zero)
    random = _random(to, key, operation)
    x, y, shape = _flat_pair(a, b)
    out = np.empty(x.size, np.float32)
    _share(lambda begin, end: elementwise.multiply(x, y, out, lowered, random, begin, end), out.size, counts)
    return out.reshape(shape)


def divide(a: Array, b: Array, to: Cast, key: Key, counts: Counts | None = None) -> Array:
    """round(a / b), operands broadcast; x / 0 is an infinity, but NaN in a P3109 format."""
    contract.require_arithmetic(to)
    _require_division(to)
    lowered = _counted(to, counts) or contract.lower_quotient(to)
    random = _random(to, key, Operation.DIVIDE)
    x, y, shape = _flat_pair(a, b)
    out = np.empty(x.size, np.float32)
    _share(lambda begin, end: elementwise.divide(x, y, out, lowered, random, begin, end), out.size, counts)
    if to.format.p3109:
        out[(y == 0) & np.isfinite(x)] = np.nan
    return out.reshape(shape)


def square_root(x: Array, to: Cast, key: Key, counts: Counts | None = None) -> Array:
    """round(sqrt(x)); NaN below zero, -0 for -0."""
    contract.require_arithmetic(to)
    _require_division(to)
    lowered = _counted(to, counts) or contract.lower_quotient(to)
    random = _random(to, key, Operation.SQUARE_ROOT)
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty(flat.size, np.float32)
    _share(
        lambda begin, end: elementwise.square_root(flat, out, lowered, random, begin, end), out.size, counts
    )
    return out.reshape(x.shape)


def rescale(x: Any, scale: Any, divisor: Any, to: Cast, key: Key) -> Array:
    """round(x scale / divisor), operands broadcast: 31, 48 and 24 significant bits.

    With scale = 1, x may be any float64 and the divisor have 44 bits: see rounding.quotient.
    """
    lowered, random = contract.lower_quotient(to), _random(to, key, Operation.RESCALE)
    shape = np.broadcast_shapes(np.shape(x), np.shape(scale), np.shape(divisor))
    flat, scales, divisors = (
        np.ascontiguousarray(np.broadcast_to(part, shape), np.float64).reshape(-1)
        for part in (x, scale, divisor)
    )
    out = np.empty(flat.size, np.float32)

    def job(begin: int, end: int) -> None:
        elementwise.rescale(flat, scales, divisors, out, lowered, random, begin, end)

    _share(job, out.size)
    return out.reshape(shape)


def _require_division(to: Cast) -> None:
    if to.rule is Overflow.WRAP:
        raise ValueError(
            f"quotients and roots do not wrap: {to.format} has no modular division. Choose saturate."
        )


def scaled_add(
    y: Array, alpha: np.float32, x: Array, to: Cast, key: Key, counts: Counts | None = None
) -> Array:
    """round(y + round(alpha x)): both roundings into the same format, alpha a float32 constant."""
    product = multiply(np.asarray(alpha, np.float32), x, to, key, Operation.SCALED_ADD_PRODUCT, counts)
    return add(y, product, to, key, Operation.SCALED_ADD_SUM, counts)


def matmul(
    a: Array,
    b: Array,
    product: Cast | None,
    accumulator: Cast | Accumulator,
    key: Key,
    *,
    result: Cast | None = None,
    extents: tuple[Extent, Extent] | None = None,
    origin: tuple[int, int] = (0, 0),
    operation: Operation = Operation.MATMUL,
    counts: Counts | None = None,
) -> Array:
    """acc = round(acc + round(a[i, k] b[k, j])), k = 0, 1, ..., from +0; a (M, K), b (K, N) -> (M, N).

    `product` None leaves the products exact (fma). `result` rounds once more at the end. `extents` bound
    what a and b hold and are measured where not given. `origin` is the (row, column) of the output's
    first entry in a larger product of which this is a part: its random bits are that entry's.
    """
    summation = accumulator if isinstance(accumulator, Accumulator) else Accumulator(cast=accumulator)
    contract.require_arithmetic(product, summation.cast, summation.outer, result)
    kernel, how = _order_kernel(
        product, summation, *(extents or (measure(a), measure(b))), a.shape[1], counts
    )
    last = summation.last

    def fill(a: Array, b: Array, out: Array, place: tuple[Any, ...]) -> None:
        def job(tile: tuple[int, int, int, int]) -> None:
            kernel(a, b, out, how, place, tile)
            if result is not None:
                r0, r1, c0, c1 = tile
                _with_zeros_of(last, out[r0:r1, c0:c1])
                bits = contract.draw_bits(result)
                lowered = _counted(result, counts) or contract.lower_conversion(result, _ANY)
                products.round_result(out, lowered, bits, _drop(result, bits), place, tile)

        _share_tiles(job, out.shape, a.shape[1], counts)

    tail = (np.uint32(operation), *_key_words(key))
    (m, terms), n = a.shape, b.shape[1]
    if n >= _NARROW or n >= m:
        out = np.empty((m, n), np.float32)
        place = (origin[1], 0, 1, origin[0], 1, 0, *tail)
        fill(np.ascontiguousarray(a), np.ascontiguousarray(b), out, place)
        return _with_zeros_of(result or last, out)
    out = np.empty((n, m), np.float32)
    left = np.ascontiguousarray(b.T)
    rows = max(_PANEL // max(terms, 1), 256)
    for begin in range(0, m, rows):
        panel = np.ascontiguousarray(a[begin : begin + rows].T)
        part = np.empty((n, panel.shape[1]), np.float32)
        fill(left, panel, part, (origin[1], 1, 0, origin[0] + begin, 0, 1, *tail))
        out[:, begin : begin + rows] = part
    return _with_zeros_of(result or last, np.ascontiguousarray(out.T))


def _order_kernel(
    product: Cast | None, accumulator: Accumulator, a: Extent, b: Extent, terms: int, counts: Counts | None
) -> tuple[Callable[..., None], tuple[Any, ...]]:
    """Return the kernel of an order of summation and what it needs to know: kernel(a, b, out, how, ...)."""
    inner, outer = accumulator.cast, accumulator.outer or accumulator.cast
    one_zero = product is not None and not product.format.has_negative_zero
    one_zero &= inner.format.has_negative_zero
    signs = inner.mode.negative_zero_sums  # +0 + -0 is -0 there, and +0 elsewhere
    to_product = contract.lower_product(product, a, b, one_zero, zero_sign=signs)
    exact = a.times(b)
    term = Extent.of(product.format) if product else exact
    carrier = np.float64 if product is None and not exact.exact_in_float32 else np.float32
    own = Extent.of(inner.format)
    one_zero = outer.format.has_negative_zero and not inner.format.has_negative_zero
    signs |= accumulator.order is Order.KAHAN  # elsewhere sums begin with +0, and never become -0
    to_sum = contract.lower_sum(inner, own, term, carrier, one_zero, signs)  # a partial sum and a term
    to_tree = contract.lower_sum(inner, own, own)  # two partial sums
    to_outer = contract.lower_sum(outer, Extent.of(outer.format), own)
    to_result = _counted(inner, counts) or contract.lower_conversion(inner, None)
    if counts is not None:
        to_product = to_product if product is None else contract.counted(product, counts)
        to_sum = to_tree = contract.counted(inner, counts, sums=True)
        to_outer = contract.counted(outer, counts, sums=True)
    width = contract.draw_bits(product, inner)
    random = (width, _drop(product, width), _drop(inner, width))
    outer_width = contract.draw_bits(outer)
    outer_random = (outer_width, _drop(outer, outer_width))

    match accumulator.order:
        case Order.CHUNKED:
            how = (to_product, to_sum, to_outer, accumulator.chunk, random, outer_random)
            return orders.matmul_chunked, how
        case Order.PAIRWISE:
            return orders.matmul_pairwise, (to_product, to_sum, to_tree, random)
        case Order.KAHAN:
            return orders.matmul_kahan, (to_product, to_sum, to_tree, random)
        case Order.EXACT:
            zero_down = inner.mode.negative_zero_sums
            return orders.matmul_exact, (
                to_product, to_result, zero_down, contract.slices_of(term, terms), random,
            )  # fmt: skip
        case Order.TENSOR_CORE:
            core = accumulator.core
            assert core is not None
            if product is not None:
                raise ValueError(
                    f"tensor core {core.name} keeps products exact: {product.format} cannot round them. "
                    "Leave the product format out."
                )
            promotes = accumulator.chunk is not None
            chunk = accumulator.chunk or max(terms, 1)
            return orders.matmul_tensor_core, (
                to_result, to_outer, core.terms, core.fraction_bits, chunk, promotes, outer_random,
            )  # fmt: skip
        case Order.SEQUENTIAL:
            if not any(cast is not None and cast.stochastic for cast in (product, inner)):
                return products.matmul_plain, (to_product, to_sum)
            return products.matmul_random, (to_product, to_sum, random)


def matmul_integers(a: Any, b: Any, bits: int, wraps: bool) -> tuple[NDArray[np.int32], int]:
    """acc = acc + a[i, k] b[k, j] of int8 matrices (M, K), (K, N) in integers of `bits` bits, 2..32.

    Beyond their range sums saturate or wrap. Returns the int32 product and how many additions left it.
    """
    x, y = np.ascontiguousarray(a, np.int8), np.ascontiguousarray(b, np.int8)
    out = np.empty((x.shape[0], y.shape[1]), np.int32)
    if bits == 32 and x.shape[1] < 1 << 17:  # 2^17 products of at most 2^14 each
        _share_tiles(lambda tile: integers.matmul_wide(x, y, out, tile), out.shape, work=x.shape[1])
        return out, 0
    counts = _share_tiles(
        lambda tile: integers.matmul_narrow(x, y, out, bits, wraps, tile), out.shape, work=x.shape[1]
    )
    return out, sum(map(int, counts))


def column_sum(x: Array, accumulator: Cast | Accumulator, key: Key, counts: Counts | None = None) -> Array:
    """acc = round(acc + x[i, j]), i = 0, 1, ..., from +0, or in another order; x (M, N) -> (N,)."""
    ones = np.ones((1, x.shape[0]), np.float32)
    out = matmul(ones, x, None, accumulator, key, operation=Operation.COLUMN_SUM, counts=counts)
    return out.reshape(-1)


def measure(x: Array) -> Extent:
    """Return an extent that holds every finite value of x."""
    fractions, least, greatest = map(int, codes.measure(np.ascontiguousarray(x).reshape(-1)))
    if greatest == 0:
        return Extent(1, 0, 1)
    trailing = (fractions & -fractions).bit_length() - 1 if fractions else 23
    return Extent(24 - trailing, least - 150 + trailing, greatest - 126)


def encode(x: Array, format: Format) -> NDArray[np.unsignedinteger[Any]]:
    """Return the codes of values of a format, uint8, uint16 or uint32; ValueError names a stranger."""
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty(flat.size, contract.code_dtype(format))
    if format.fixed_point:
        with np.errstate(invalid="ignore"):
            integers = np.where(abs(flat) <= -format.min, flat / np.float32(format.smallest), 0).astype(
                np.int64
            )
        out[:] = integers & (format.code_count - 1)
        strangers = np.flatnonzero(decode(out, format).view(np.uint32) != flat.view(np.uint32))
        wrong = strangers[:1].tolist()
    else:
        layout = contract.lower_codes(format)
        found = _share(lambda begin, end: codes.encode(flat, out, layout, begin, end), flat.size)
        wrong = [index for index in found if index >= 0]
    if wrong:
        value = float(flat[wrong[0]])
        raise ValueError(
            f"{value!r} (element {wrong[0]}) is not a value of {format}. Round first, for example with "
            f"emunum.quantize(x, {format.name!r})."
        )
    return out.reshape(x.shape)


def decode(code: NDArray[np.unsignedinteger[Any]], format: Format) -> Array:
    """Return the values of codes of any shape."""
    flat = np.ascontiguousarray(code).reshape(-1)
    if format.fixed_point:
        integers = flat.astype(np.int64)
        integers -= integers >> (format.bits - 1) << format.bits  # two's complement
        return (integers * format.smallest).astype(np.float32).reshape(code.shape)
    out = np.empty(flat.size, np.float32)
    layout = contract.lower_codes(format)
    _share(lambda begin, end: codes.decode(flat, out, layout, begin, end), flat.size)
    return out.reshape(code.shape)


def _counted(to: Cast, counts: Counts | None, sums: bool = False) -> Any:
    return None if counts is None else contract.counted(to, counts, sums=sums)


def _share(job: Callable[[int, int], Result], size: int, counts: Counts | None = None) -> list[Result]:
    return [job(0, size)] if counts is not None else share(job, size, work=size, grain=elementwise.CHUNK)


def _share_tiles(
    job: Callable[[tuple[int, int, int, int]], Result],
    shape: tuple[int, int],
    work: int,
    counts: Counts | None = None,
) -> list[Result]:
    rows, columns = shape
    total = rows * columns * work
    if counts is not None:
        return [job((0, rows, 0, columns))]
    if rows >= get_threads():
        return share(lambda begin, end: job((begin, end, 0, columns)), rows, total)
    return share(lambda begin, end: job((0, rows, begin, end)), columns, total, grain=64)


def _random(to: Cast, key: Key, operation: Operation) -> tuple[Any, ...]:
    width = contract.draw_bits(to)
    return width, _drop(to, width), np.uint32(operation), *_key_words(key)


def _drop(to: Cast | None, width: int) -> np.uint32:
    return np.uint32(width - to.random_bits if to is not None and to.stochastic else 0)


def _key_words(key: Key) -> tuple[np.uint32, np.uint32]:
    low, high = key.words
    return np.uint32(low), np.uint32(high)


def _flat_pair(a: Array, b: Array) -> tuple[Array, Array, tuple[int, ...]]:
    shape = np.broadcast_shapes(a.shape, b.shape)
    x, y = (v if v.shape == shape else np.broadcast_to(v, shape).copy() for v in (a, b))
    return np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(y).reshape(-1), shape


def _with_zeros_of(to: Cast, out: Array) -> Array:
    """Formats without -0 have one zero. Inside a sum in such a format its sign decides nothing."""
    if not to.format.has_negative_zero:
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            out += np.float32(0.0)
    return out
