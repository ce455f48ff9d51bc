"""Quantize, encode, decode and multiply arrays, by the names people use. No training needed.

These are the public conveniences: names are parsed here, arrays are checked here, and the backend does
the rest. Input is anything NumPy takes: float16, float32, float64, ml_dtypes arrays, integers, lists; any
memory order, byte order or stride; and what has an array interface, a buffer, __array__ or __dlpack__, such
as a tensor in main memory that needs no gradient. Results are new C-contiguous arrays.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emunum.formats import (
    NAMED,
    Accumulator,
    Cast,
    Format,
    Mode,
    parse_accumulator,
    parse_mode,
    parse_overflow,
)
from emunum.formats.rounding import DEFAULT_RANDOM_BITS
from emunum.kernels import cpu
from emunum.kernels.contract import code_dtype
from emunum.kernels.random import Key
from emunum.ops.events import Errors, errors_of

_NARROW_INTEGER = re.compile("u?int[124]")
"""Names of ml_dtypes's integers below 8 bits, whose kind NumPy does not know."""


def quantize(
    x: ArrayLike,
    format: str | Format,
    *,
    rounding: str | Mode = "nearest",
    overflow: str = "auto",
    random_bits: int = DEFAULT_RANDOM_BITS,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Round every element once into a format; float64 is rounded from float64 directly.

    x: any shape. Returns float32 of the same shape, which holds every value of every format.

    rounding: "nearest" (ties to even), "nearest_away", "toward_zero", "up", "down", "to_odd", or
    "stochastic", "stochastic_b", "stochastic_c" (variants A, B and C with `random_bits` = N bits, 1..32,
    from Philox4x32-10 under `seed`; element n of the flattened array always gets the same bits).
    overflow: "ieee" (Inf, or NaN where there is no Inf), "saturate" (+-max, for Inf too), or "auto": ieee
    where the format has infinities. NaN stays NaN; -0 stays -0 where the format has one.

    >>> quantize([0.3, 500.0], "e4m3").tolist()
    [0.3125, 448.0]

    Raises ValueError for an unknown name or a number out of range, TypeError for data that is not real.
    """
    cast = _cast(format, rounding, overflow, random_bits)
    return cpu.cast(real(x, "x"), cast, Key(seed))


def encode(x: ArrayLike, format: str | Format) -> NDArray[np.unsignedinteger[Any]]:
    """Return the codes of values of a format: uint8, uint16 or uint32, whichever is just wide enough.

    NaN gets the format's one canonical NaN code. Raises ValueError for the first value that the format
    does not hold (round first, with quantize), and for NaN where it has no NaN.
    """
    return cpu.encode(_carrier(x, "x"), _format(format))


def decode(codes: ArrayLike, format: str | Format) -> NDArray[np.float32]:
    """Return the values of codes: integers of any shape and width, 0 <= code < 2^bits.

    Raises ValueError for a code out of range, TypeError for codes that are not integers.
    """
    fmt = _format(format)
    array = array_of(codes, "codes")
    if array.size == 0:
        return np.empty(array.shape, np.float32)
    if _NARROW_INTEGER.fullmatch(array.dtype.name):
        array = array.astype(np.int8)
    if array.dtype.kind not in "ui":
        raise TypeError(f"codes are {array.dtype}: codes are integers. 'encode' turns values into codes.")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= fmt.code_count:
        wrong = low if low < 0 else high
        raise ValueError(f"code {wrong} is out of range: {fmt} has codes 0 to {fmt.code_count - 1}.")
    return cpu.decode(array.astype(code_dtype(fmt)), fmt)


def matmul(
    a: ArrayLike,
    b: ArrayLike,
    *,
    product: str | Format | None = None,
    accumulator: str | Format | Accumulator = "float32",
    rounding: str | Mode = "nearest",
    overflow: str = "auto",
    fma: bool = False,
    order: str = "sequential",
    outer: str | Format | None = None,
    out: str | Format | None = None,
    random_bits: int = DEFAULT_RANDOM_BITS,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Matrix product with every product and partial sum rounded.

    acc = round_acc(acc + round_product(a[i, k] b[k, j])), k = 0, 1, ..., K - 1, from +0; with `fma`, or
    without a product format, acc = round_acc(acc + a[i, k] b[k, j]) with the exact product. At the end
    round_out(acc), where `out` names a format.

    a: (M, K), b: (K, N), values as they are (round them first where the hardware would). float64 input
    must hold float32 values: to round it on the way in would round twice. Returns (M, N) float32.

    accumulator: a format, which `order` and `outer` complete, or an emunum.Accumulator as it is.
    order: how the terms of a sum are added. "sequential" as above; "chunked:64" sums chunks of 64 terms,
    then the chunk sums, in the format `outer` (None: the accumulator's; "float32": promotion);
    "pairwise" in a binary tree; "kahan" with a compensation for each output; "exact" with one rounding;
    "tensor_core:h100" and its like as that hardware does, "tensor_core:h100_fp8:128" with promotion to
    float32 every 128 terms. emunum.formats.Order defines them step by step.

    rounding, overflow and random_bits hold for all roundings. Random bits depend on the seed, the
    entry (i, j), k and which rounding it is, so a leading block of the result is the product of the
    leading rows and columns. The order over k is part of the contract: every backend gives these bits.

    Raises ValueError for shapes that do not fit, unknown names and values float32 cannot hold.
    """
    x, y = _carrier(a, "a"), _carrier(b, "b")
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[0]:
        raise ValueError(f"shapes {x.shape} and {y.shape} do not multiply: (M, K) and (K, N) are needed.")
    exact = fma or product is None
    return cpu.matmul(
        x,
        y,
        None if exact or product is None else _cast(product, rounding, overflow, random_bits),
        accumulator_of(accumulator, rounding, overflow, order, outer, random_bits),
        Key(seed),
        result=None if out is None else _cast(out, rounding, overflow, random_bits),
    )


def sum(
    x: ArrayLike,
    axis: int | None = None,
    *,
    accumulator: str | Format | Accumulator = "float32",
    rounding: str | Mode = "nearest",
    overflow: str = "auto",
    order: str = "sequential",
    outer: str | Format | None = None,
    random_bits: int = DEFAULT_RANDOM_BITS,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Sum in index order, every partial sum rounded: acc = round_acc(acc + x[k]), k = 0, 1, ..., from +0.

    x: any shape, values as they are; `axis` None sums the elements of the flattened array. Returns
    float32 of x's shape without the axis. The other options are matmul's.

    >>> sum(np.ones(1000), accumulator="bfloat16").tolist()
    256.0
    """
    array = _carrier(x, "x")
    if axis is None:
        array, axis = array.reshape(-1), 0
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"axis {axis} is out of range: x has {array.ndim} axes.")
    moved = np.moveaxis(array, axis, 0)
    columns = moved.reshape(moved.shape[0], int(np.prod(moved.shape[1:])))
    how = accumulator_of(accumulator, rounding, overflow, order, outer, random_bits)
    return cpu.column_sum(columns, how, Key(seed)).reshape(moved.shape[1:])


def dot(a: ArrayLike, b: ArrayLike, **options: Any) -> NDArray[np.float32]:
    """Inner product of vectors a (K,) and b (K,), as an array without axes; the options are matmul's.

    >>> dot([1, 2, 3], [1, 1, 1], accumulator="e4m3").tolist()
    6.0
    """
    x, y = array_of(a, "a"), array_of(b, "b")
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"shapes {x.shape} and {y.shape} have no inner product: (K,) and (K,) are needed.")
    return matmul(x[None, :], y[:, None], **options).reshape(())


def matmul_error(a: ArrayLike, b: ArrayLike, **options: Any) -> Errors:
    """Return how far matmul(a, b, **options) lies from the exact product, beside n u and sqrt(n) u.

    The exact product is taken in float64, whose error is far below any here; u is the unit roundoff of
    the format the sums end in.
    """
    names = ("accumulator", "rounding", "overflow", "order", "outer", "random_bits")
    given = {name: options[name] for name in names if name in options}
    last = accumulator_of(**_ACCUMULATOR | given).last.format
    return errors_of(_carrier(a, "a"), _carrier(b, "b"), matmul(a, b, **options), last)


def to_ml_dtypes(codes: NDArray[np.unsignedinteger[Any]], format: str | Format) -> NDArray[Any]:
    """View codes as an ml_dtypes (or float16, float32) array, without a copy.

    Raises ValueError where no such type exists, ImportError where ml_dtypes is not installed.
    """
    fmt = _format(format)
    dtype = _dtype_of(fmt)
    if codes.dtype != code_dtype(fmt):
        raise TypeError(f"codes are {codes.dtype}: {fmt} has {np.dtype(code_dtype(fmt))} codes.")
    return codes.view(dtype)


def from_ml_dtypes(x: NDArray[Any]) -> tuple[NDArray[np.unsignedinteger[Any]], Format]:
    """View an ml_dtypes (or float16, float32) array as codes, without a copy, and say its format.

    Raises ValueError for a dtype that is no format here.
    """
    if x.dtype.name not in NAMED:
        raise ValueError(f"dtype {x.dtype} is no format of emunum. 'emunum formats' lists them.")
    fmt = NAMED[x.dtype.name]
    if not x.dtype.isnative:
        raise ValueError(
            f"byte order {x.dtype.byteorder!r} is not this machine's: x.astype({fmt.name}) first."
        )
    return x.view(code_dtype(fmt)), fmt


def _dtype_of(format: Format) -> np.dtype[Any]:
    if format.name in ("float16", "float32"):
        return np.dtype(format.name)
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError("ml_dtypes is not installed: pip install ml_dtypes") from None
    if not hasattr(ml_dtypes, format.name):
        raise ValueError(f"ml_dtypes has no type for {format}.")
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, format.name))
    return dtype


def _format(format: str | Format) -> Format:
    return format if isinstance(format, Format) else Format.from_name(format)


def _cast(format: str | Format, rounding: str | Mode, overflow: str, random_bits: int) -> Cast:
    return Cast(
        format=_format(format),
        mode=rounding if isinstance(rounding, Mode) else parse_mode(rounding),
        overflow=parse_overflow(overflow),
        random_bits=random_bits,
    )


_ACCUMULATOR: dict[str, Any] = {
    "accumulator": "float32",
    "rounding": "nearest",
    "overflow": "auto",
    "order": "sequential",
    "outer": None,
    "random_bits": DEFAULT_RANDOM_BITS,
}
"""matmul's defaults."""


def accumulator_of(
    accumulator: str | Format | Accumulator,
    rounding: str | Mode,
    overflow: str,
    order: str,
    outer: str | Format | None,
    random_bits: int,
) -> Accumulator:
    """Return the accumulator that names describe, or the one given in place of a format."""
    if isinstance(accumulator, Accumulator):
        if order != "sequential" or outer is not None:
            raise ValueError("an Accumulator has an order and an outer sum of its own: leave them out here.")
        return accumulator
    inner = _cast(accumulator, rounding, overflow, random_bits)
    last = None if outer is None else _cast(outer, rounding, overflow, random_bits)
    return parse_accumulator(order, inner, last)


def array_of(x: ArrayLike, name: str) -> NDArray[Any]:
    """Return x as NumPy reads it: through its array interface, its buffer, __array__ or DLPack.

    Raises ValueError or TypeError where it cannot, or where elements are masked.
    """
    try:
        array = np.asarray(x)
        if array.dtype == object and not isinstance(x, np.ndarray) and hasattr(x, "__dlpack__"):
            array = np.from_dlpack(x)  # type: ignore[arg-type]
    except (ValueError, TypeError, RuntimeError, BufferError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(
            f"{name}, a {type(x).__name__}, cannot be read as an array: {str(error).rstrip('.')}. "
            "Hand over a NumPy array of its numbers."
        ) from None
    if np.ma.is_masked(x):
        raise ValueError(f"{name} has masked elements: give them values, for example {name}.filled(0).")
    return array


def real(x: ArrayLike, name: str) -> NDArray[np.floating[Any]]:
    """Return x as native float32 or float64, exactly."""
    array = array_of(x, name)
    if array.dtype == np.float32:
        return array.astype(np.float32, copy=False)
    if array.dtype.name in NAMED or array.dtype.kind == "b" or _NARROW_INTEGER.fullmatch(array.dtype.name):
        return array.astype(np.float32)
    if array.dtype.kind not in "fui":
        raise TypeError(f"{name} is {array.dtype}: emunum computes with real numbers.")
    with np.errstate(over="ignore"):
        wide = array.astype(np.float64)
    if array.dtype.kind in "ui":
        same = array.size == 0 or max(-int(array.min()), int(array.max())) <= 2**53
    else:
        same = array.dtype.itemsize <= 8 or bool(((wide == array) | np.isnan(wide)).all())
    if not same:
        raise ValueError(f"{name} is {array.dtype} and holds values that float64 cannot: convert it first.")
    return wide


def _carrier(x: ArrayLike, name: str) -> NDArray[np.float32]:
    """Return x as float32, exactly."""
    array = real(x, name)
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32, copy=False)
    if narrow is not array:
        lost = (narrow != array) & ~np.isnan(array)
        if lost.any():
            raise ValueError(
                f"{name} holds {float(array[lost].flat[0])!r}, which is no float32 value: rounding it here "
                f"would round twice. Round it first, for example emunum.quantize({name}, 'float32')."
            )
    return narrow
