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

from emunum.formats import FLOAT32, Cast, Format, Special
from emunum.kernels import contract
from emunum.kernels.contract import Extent, Operation
from emunum.kernels.cpu import codes, elementwise
from emunum.kernels.cpu import matmul as products
from emunum.kernels.cpu.threads import get_threads, set_threads, share
from emunum.kernels.random import Key

__all__ = [
    "add",
    "cast",
    "column_sum",
    "decode",
    "encode",
    "get_threads",
    "matmul",
    "measure",
    "multiply",
    "scaled_add",
    "set_threads",
    "subtract",
]

Array = NDArray[np.float32]
Result = TypeVar("Result")
_ANY = Extent.of(FLOAT32)
_NARROW = 32  # outputs with fewer columns than this are computed transposed
_PANEL = 1 << 18  # numbers of a transposed left operand copied at a time


def cast(x: NDArray[np.floating[Any]], to: Cast, key: Key, *, out: Array | None = None) -> Array:
    """Round each element of x, float32 or float64 of any shape, to a format; see contract.py for draws.

    `out`, contiguous and of x's shape, takes the result in place of a new array.
    """
    narrow = x.dtype == np.float32
    if to.format.special is Special.SCALE:
        return _cast_to_scale(x, to, key, out)
    lowered, random = (
        contract.lower_conversion(to, _ANY if narrow else None),
        _random(to, key, Operation.CAST),
    )
    result = np.empty(x.shape, np.float32) if out is None else out
    source, target = np.ascontiguousarray(x).reshape(-1), result.reshape(-1)
    _share(lambda begin, end: elementwise.cast(source, target, lowered, random, begin, end), target.size)
    return _with_zeros_of(to, result)


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


def add(a: Array, b: Array, to: Cast, key: Key, operation: Operation = Operation.ADD) -> Array:
    """round(a + b), operands broadcast."""
    return _sum(a, b, np.float32(1), to, key, operation)


def subtract(a: Array, b: Array, to: Cast, key: Key) -> Array:
    """round(a - b), operands broadcast."""
    return _sum(a, b, np.float32(-1), to, key, Operation.SUBTRACT)


def _sum(a: Array, b: Array, sign: np.float32, to: Cast, key: Key, operation: Operation) -> Array:
    contract.require_arithmetic(to)
    lowered, random = contract.lower_sum(to, _ANY, _ANY), _random(to, key, operation)
    x, y, shape = _flat_pair(a, b)
    out = np.empty(x.size, np.float32)
    _share(lambda begin, end: elementwise.add(x, y, sign, out, lowered, random, begin, end), out.size)
    return _with_zeros_of(to, out.reshape(shape))


def multiply(a: Array, b: Array, to: Cast, key: Key, operation: Operation = Operation.MULTIPLY) -> Array:
    """round(a b), operands broadcast."""
    contract.require_arithmetic(to)
    lowered, random = contract.lower_product(to, _ANY, _ANY), _random(to, key, operation)
    x, y, shape = _flat_pair(a, b)
    out = np.empty(x.size, np.float32)
    _share(lambda begin, end: elementwise.multiply(x, y, out, lowered, random, begin, end), out.size)
    return _with_zeros_of(to, out.reshape(shape))


def scaled_add(y: Array, alpha: np.float32, x: Array, to: Cast, key: Key) -> Array:
    """round(y + round(alpha x)): both roundings into the same format, alpha a float32 constant."""
    product = multiply(np.asarray(alpha, np.float32), x, to, key, Operation.SCALED_ADD_PRODUCT)
    return add(y, product, to, key, Operation.SCALED_ADD_SUM)


def matmul(
    a: Array,
    b: Array,
    product: Cast | None,
    accumulator: Cast,
    key: Key,
    *,
    result: Cast | None = None,
    extents: tuple[Extent, Extent] | None = None,
    origin: tuple[int, int] = (0, 0),
    operation: Operation = Operation.MATMUL,
) -> Array:
    """acc = round(acc + round(a[i, k] b[k, j])), k = 0, 1, ..., from +0; a (M, K), b (K, N) -> (M, N).

    `product` None leaves the products exact (fma). `result` rounds once more at the end. `extents` bound
    what a and b hold and are measured where not given. `origin` is the (row, column) of the output's
    first entry in a larger product of which this is a part: its random bits are that entry's.
    """
    contract.require_arithmetic(product, accumulator, result)
    a_extent, b_extent = extents or (measure(a), measure(b))
    one_zero = product is not None and not product.format.has_negative_zero
    to_product = contract.lower_product(
        product, a_extent, b_extent, one_zero and accumulator.format.has_negative_zero
    )
    exact = a_extent.times(b_extent)
    to_sum = contract.lower_sum(
        accumulator,
        Extent.of(accumulator.format),
        Extent.of(product.format) if product else exact,
        np.float64 if product is None and not exact.exact_in_float32 else np.float32,
    )
    width = contract.draw_bits(product, accumulator)
    drops = (_drop(product, width), _drop(accumulator, width))
    random = any(cast is not None and cast.stochastic for cast in (product, accumulator))

    def fill(a: Array, b: Array, out: Array, place: tuple[Any, ...]) -> None:
        def job(tile: tuple[int, int, int, int]) -> None:
            if not random:
                products.matmul_plain(a, b, out, to_product, to_sum, tile)
            elif width == 16:
                products.matmul_random16(a, b, out, to_product, to_sum, drops, place, tile)
            else:
                products.matmul_random32(a, b, out, to_product, to_sum, drops, place, tile)
            if result is not None:
                r0, r1, c0, c1 = tile
                _with_zeros_of(accumulator, out[r0:r1, c0:c1])
                bits = contract.draw_bits(result)
                lowered = contract.lower_conversion(result, _ANY)
                products.round_result(out, lowered, bits, _drop(result, bits), place, tile)

        _share_tiles(job, out.shape, work=a.shape[1])

    tail = (np.uint32(operation), *_key_words(key))
    (m, terms), n = a.shape, b.shape[1]
    if n >= _NARROW or n >= m:
        out = np.empty((m, n), np.float32)
        place = (origin[1], 0, 1, origin[0], 1, 0, *tail)
        fill(np.ascontiguousarray(a), np.ascontiguousarray(b), out, place)
        return _with_zeros_of(result or accumulator, out)
    out = np.empty((n, m), np.float32)
    left = np.ascontiguousarray(b.T)
    rows = max(_PANEL // max(terms, 1), 256)
    for begin in range(0, m, rows):
        panel = np.ascontiguousarray(a[begin : begin + rows].T)
        part = np.empty((n, panel.shape[1]), np.float32)
        fill(left, panel, part, (origin[1], 1, 0, origin[0] + begin, 0, 1, *tail))
        out[:, begin : begin + rows] = part
    return _with_zeros_of(result or accumulator, np.ascontiguousarray(out.T))


def column_sum(x: Array, accumulator: Cast, key: Key) -> Array:
    """acc = round(acc + x[i, j]), i = 0, 1, ..., from +0; x (M, N) -> (N,)."""
    ones = np.ones((1, x.shape[0]), np.float32)
    return matmul(ones, x, None, accumulator, key, operation=Operation.COLUMN_SUM).reshape(-1)


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
    out = np.empty(flat.size, np.float32)
    layout = contract.lower_codes(format)
    _share(lambda begin, end: codes.decode(flat, out, layout, begin, end), flat.size)
    return out.reshape(code.shape)


def _share(job: Callable[[int, int], Result], size: int) -> list[Result]:
    return share(job, size, work=size, grain=elementwise.CHUNK)


def _share_tiles(job: Any, shape: tuple[int, int], work: int) -> None:
    rows, columns = shape
    total = rows * columns * work
    if rows >= get_threads():
        share(lambda begin, end: job((begin, end, 0, columns)), rows, total)
    else:
        share(lambda begin, end: job((0, rows, begin, end)), columns, total, grain=64)


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
