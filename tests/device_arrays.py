"""A stand-in for arrays that live on a device, and for a backend of such arrays: no device is needed.

DeviceArray behaves as CuPy's ndarray does where a caller could tell the two apart: it takes part in NumPy's
dispatch protocols and has the usual methods, but nothing turns it into a NumPy array except `get`, nothing
mixes it with one that has axes, and what NumPy returns as a number is an array without axes. What CuPy has
not (`initial` of a reduction) or has in some versions only is refused. `backend()` is a backend whose
functions take and return such arrays and compute what the CPU's do.
"""

from __future__ import annotations

from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from emunum.kernels import cpu

_FUNCTIONS = {
    "all", "any", "amax", "amin", "argmax", "argmin", "argsort", "array_equal", "around", "atleast_1d",
    "broadcast_arrays", "broadcast_to", "clip", "column_stack", "concatenate", "copyto", "count_nonzero",
    "cumsum", "diff", "dot", "empty_like", "expand_dims", "flatnonzero", "flip", "full_like", "hstack",
    "isin", "matmul", "max", "mean", "min", "moveaxis", "ndim", "nonzero", "ones_like", "pad", "prod",
    "ravel", "repeat", "reshape", "result_type", "roll", "rollaxis", "shape", "size", "sort", "split",
    "squeeze", "stack", "sum", "swapaxes", "take", "take_along_axis", "tensordot", "tile", "transpose",
    "unique", "vstack", "where", "zeros_like",
}  # fmt: skip
"""Functions of NumPy that CuPy has under the same name."""
_REFUSED_OPTIONS = ("initial", "where")
_COUNTS = ("array_equal", "count_nonzero")
"""Functions whose bool or int stays on the device."""


class DeviceArray(NDArrayOperatorsMixin):
    """`inner`, a NumPy array, as if it were out of reach."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = np.asarray(inner)

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("a device array does not become a NumPy array by itself: get() copies it")

    def __iter__(self) -> Any:
        raise TypeError("iterating over a device array would wait for every element")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__":
            raise TypeError(f"{ufunc.__name__}.{method} does not work on device arrays")
        if options.keys() - {"out", "dtype", "casting"}:
            raise TypeError(f"{ufunc.__name__} of device arrays takes no {', '.join(options)}")
        out = options.pop("out", ())
        into = tuple(inner_of(x) if isinstance(x, DeviceArray) else _no_array(x, "out") for x in out)
        weak = [_operand(x) for x in inputs]
        strong = [x.inner if isinstance(x, DeviceArray) else x for x in inputs]
        found = ufunc(*weak, **options)
        if not out and _dtypes(found) != _dtypes(ufunc(*strong, **options)):
            raise TypeError(f"{ufunc.__name__}: versions of CuPy differ in the type of this; name it")
        if out:
            ufunc(*weak, out=into, **options)
            return out[0] if len(out) == 1 else out
        return on_device(found)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = function.__name__
        if name == "asarray":  # with like=a device array, which is how one is made of a NumPy array
            return DeviceArray(np.asarray(*map(inner_of, args), **kwargs))
        if name not in _FUNCTIONS:
            raise TypeError(f"no implementation of numpy.{name} for device arrays")
        for option in _REFUSED_OPTIONS:
            if option in kwargs:
                raise TypeError(f"numpy.{name} of device arrays has no option {option}")
        out = kwargs.get("out")
        found = function(
            *(_argument(x, name) for x in args), **{k: _argument(v, name) for k, v in kwargs.items()}
        )
        if out is not None:
            return out
        if name in _COUNTS:
            return DeviceArray(np.asarray(found))
        return on_device(found)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.inner.dtype

    @property
    def ndim(self) -> int:
        return self.inner.ndim

    @property
    def size(self) -> int:
        return self.inner.size

    @property
    def itemsize(self) -> int:
        return self.inner.itemsize

    @property
    def nbytes(self) -> int:
        return self.inner.nbytes

    @property
    def strides(self) -> tuple[int, ...]:
        return self.inner.strides

    @property
    def flags(self) -> Any:
        return self.inner.flags

    @property
    def T(self) -> DeviceArray:  # noqa: N802 - NumPy's name
        return DeviceArray(self.inner.T)

    def get(self) -> Any:
        """A NumPy array of its own with these numbers."""
        return self.inner.copy()

    def item(self, *index: int) -> Any:
        return self.inner.item(*index)

    def tolist(self) -> Any:
        return self.inner.tolist()

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> DeviceArray:
        with np.errstate(invalid="ignore"):  # a signalling NaN: a device warns nobody
            return DeviceArray(self.inner.astype(dtype, order=order, copy=copy))  # type: ignore[call-overload]

    def copy(self, order: str = "C") -> DeviceArray:
        return DeviceArray(self.inner.copy(order))  # type: ignore[arg-type]

    def view(self, dtype: Any = None) -> DeviceArray:
        return DeviceArray(self.inner.view() if dtype is None else self.inner.view(dtype))

    def reshape(self, *shape: Any, order: str = "C") -> DeviceArray:
        return DeviceArray(self.inner.reshape(*shape, order=order))  # type: ignore[call-overload]

    def ravel(self, order: str = "C") -> DeviceArray:
        return DeviceArray(self.inner.ravel(order))  # type: ignore[arg-type]

    def flatten(self, order: str = "C") -> DeviceArray:
        return DeviceArray(self.inner.flatten(order))  # type: ignore[arg-type]

    def swapaxes(self, a: int, b: int) -> DeviceArray:
        return DeviceArray(self.inner.swapaxes(a, b))

    def transpose(self, *axes: Any) -> DeviceArray:
        return DeviceArray(self.inner.transpose(*axes))

    def squeeze(self, axis: Any = None) -> DeviceArray:
        return DeviceArray(self.inner.squeeze(axis))

    def fill(self, value: Any) -> None:
        self.inner.fill(_operand(value))

    def max(self, axis: Any = None, out: None = None, keepdims: bool = False) -> DeviceArray:
        return DeviceArray(self.inner.max(axis=axis, keepdims=keepdims))

    def min(self, axis: Any = None, out: None = None, keepdims: bool = False) -> DeviceArray:
        return DeviceArray(self.inner.min(axis=axis, keepdims=keepdims))

    def sum(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
    ) -> DeviceArray:
        return DeviceArray(self.inner.sum(axis=axis, dtype=dtype, keepdims=keepdims))

    def mean(
        self, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
    ) -> DeviceArray:
        return DeviceArray(self.inner.mean(axis=axis, dtype=dtype, keepdims=keepdims))

    def any(self, axis: Any = None, out: None = None, keepdims: bool = False) -> DeviceArray:
        return DeviceArray(self.inner.any(axis=axis, keepdims=keepdims))

    def all(self, axis: Any = None, out: None = None, keepdims: bool = False) -> DeviceArray:
        return DeviceArray(self.inner.all(axis=axis, keepdims=keepdims))

    def argmax(self, axis: Any = None, out: None = None) -> DeviceArray:
        return DeviceArray(self.inner.argmax(axis=axis))

    def argmin(self, axis: Any = None, out: None = None) -> DeviceArray:
        return DeviceArray(self.inner.argmin(axis=axis))

    def __getitem__(self, index: Any) -> DeviceArray:
        return DeviceArray(self.inner[_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.inner[_index(index)] = _operand(value)

    def __len__(self) -> int:
        return len(self.inner)

    def __bool__(self) -> bool:
        return bool(self.inner)

    def __float__(self) -> float:
        return float(self.inner)

    def __int__(self) -> int:
        return int(self.inner)

    def __repr__(self) -> str:
        return f"DeviceArray({self.inner!r})"


def on_device(x: Any) -> Any:
    """The NumPy arrays and numbers in x as device arrays; the rest as it is."""
    if isinstance(x, np.ndarray | np.generic):
        return DeviceArray(x)
    return type(x)(map(on_device, x)) if type(x) in (tuple, list) else x


def inner_of(x: Any) -> Any:
    """The device arrays in x, also within tuples and lists, as the NumPy arrays beneath."""
    if isinstance(x, DeviceArray):
        return x.inner
    return type(x)(map(inner_of, x)) if type(x) in (tuple, list) else x


def _operand(x: Any) -> Any:
    """An operand of an operator: of a NumPy array, only the number of one without axes, typeless."""
    if isinstance(x, DeviceArray):
        return x.inner
    if isinstance(x, np.generic) or (isinstance(x, np.ndarray) and x.ndim == 0):
        return x.item()
    return _no_array(x, "an operand")


def _argument(x: Any, name: str) -> Any:
    if isinstance(x, tuple | list):
        return type(x)(_argument(part, name) for part in x)
    return x.inner if isinstance(x, DeviceArray) else _no_array(x, f"an argument of numpy.{name}")


def _index(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(map(_index, x))
    return x.inner if isinstance(x, DeviceArray) else _no_array(x, "an index")


def _no_array(x: Any, what: str) -> Any:
    if isinstance(x, np.ndarray | list):
        raise TypeError(f"a device array does not mix with {what} that is a {type(x).__name__} of the host")
    return x


def _dtypes(found: Any) -> list[np.dtype[Any]]:
    return [np.asarray(part).dtype for part in (found if isinstance(found, tuple) else (found,))]


def backend(name: str = "device") -> ModuleType:
    """A backend that computes what the CPU's does, on DeviceArrays; it counts no events."""
    module = ModuleType(name)
    for each in cpu.__all__:
        function = getattr(cpu, each)
        setattr(module, each, _wrapped(function) if callable(function) else function)
    module.NAME = name  # type: ignore[attr-defined]
    module.COUNTS_EVENTS = False  # type: ignore[attr-defined]
    module.device = lambda: "a stand-in"  # type: ignore[attr-defined]
    module.require = lambda: None  # type: ignore[attr-defined]
    module.resident = on_device  # type: ignore[attr-defined]
    module.host = inner_of  # type: ignore[attr-defined]
    return module


def _wrapped(function: Any) -> Any:
    @wraps(function)
    def on_the_device(*args: Any, **options: Any) -> Any:
        found = function(*map(inner_of, args), **{name: inner_of(x) for name, x in options.items()})
        return on_device(found)

    return on_the_device
