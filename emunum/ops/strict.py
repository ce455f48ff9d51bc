"""Arrays that refuse raw arithmetic, so that no operation of a network escapes emulation unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_EXACT_UFUNCS = {
    np.equal, np.not_equal, np.greater, np.greater_equal, np.less, np.less_equal,
    np.isnan, np.isinf, np.isfinite, np.signbit, np.negative, np.absolute, np.maximum, np.minimum,
}  # fmt: skip
_EXACT_FUNCTIONS = {
    np.where, np.concatenate, np.stack, np.transpose, np.reshape, np.ravel, np.squeeze, np.broadcast_to,
    np.pad, np.take, np.copyto, np.zeros_like, np.empty_like, np.array_equal, np.shape, np.ndim,
    np.argmax, np.argmin, np.broadcast_arrays, np.expand_dims, np.moveaxis, np.swapaxes, np.flip,
}  # fmt: skip
_REFUSED_METHODS = (
    "sum", "mean", "prod", "dot", "cumsum", "cumprod", "std", "var", "trace", "round",
    "fill", "put", "item", "tolist", "__float__", "__int__", "__complex__",
)  # fmt: skip


class RawOperationError(TypeError):
    """A float operation outside the emulated arithmetic was tried under strict mode."""

    def __init__(self, operation: str) -> None:
        super().__init__(
            f"raw float operation {operation} on a network's values: use the Arithmetic the layer was given."
        )


class Guarded(np.ndarray[Any, Any]):
    """A float32 array on which only exact NumPy operations (views, selections, comparisons) work.

    Single elements stay guarded, as arrays without axes. NumPy does not ask a subclass before asarray,
    view and the buffer protocol: these remain ways out, for those who look for one.
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Refuse every ufunc that could round."""
        if ufunc not in _EXACT_UFUNCS or method != "__call__":
            raise RawOperationError(f"numpy.{ufunc.__name__} (method {method!r})")
        return _checked(ufunc(*plain(inputs), **plain(options)), f"numpy.{ufunc.__name__}")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Refuse every NumPy function that could round."""
        name = f"numpy.{function.__name__}"
        if function not in _EXACT_FUNCTIONS:
            raise RawOperationError(name)
        if function is np.pad and (args[2:] or kwargs.get("mode", "constant")) not in (
            "constant",
            ("constant",),
        ):
            raise RawOperationError(f"{name} (which computes what it pads with)")
        if function is np.copyto:
            _checked(np.asarray(plain(args[1])), name)
        return _checked(function(*plain(args), **plain(kwargs)), name)

    def __getitem__(self, index: Any) -> Any:
        """Return the selection; a single element as a guarded array without axes."""
        return guard(plain(self)[plain(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        """Assign float32 values or Python numbers that are such."""
        plain(self)[plain(index)] = _checked(np.asarray(plain(value)), "assignment", python=value)

    def astype(self, dtype: Any, *args: Any, **options: Any) -> Any:
        """Return a copy; any dtype but float32 would round or hand out raw numbers."""
        if np.dtype(dtype) != np.float32:
            raise RawOperationError(f"astype({np.dtype(dtype)})")
        return super().astype(dtype, *args, **options)


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(self: Guarded, *args: Any, **options: Any) -> Any:
        raise RawOperationError(f"ndarray.{name}")

    return refuse


for _name in _REFUSED_METHODS:
    setattr(Guarded, _name, _refusal(_name))


def guard(x: Any) -> Any:
    """Return x as an array that refuses raw arithmetic; no copy."""
    return np.asarray(x).view(Guarded)


def plain(x: Any) -> Any:
    """Return a guarded array as the plain one beneath, also inside tuples, lists and dicts."""
    if isinstance(x, Guarded):
        return x.view(np.ndarray)
    if isinstance(x, tuple | list):
        return type(x)(plain(value) for value in x)
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    return x


def _checked(result: Any, name: str, python: Any = None) -> Any:
    """Guard what an exact operation returned; refuse another float type, which is not a carrier."""
    if isinstance(result, tuple):
        return tuple(_checked(value, name) for value in result)
    kind = np.asarray(result).dtype
    if isinstance(python, float | int) and float(np.float32(python)) == python:
        return result
    if kind.kind in "fc" and kind != np.float32:
        raise RawOperationError(f"{name} (result {kind})")
    return guard(result) if kind == np.float32 else result
