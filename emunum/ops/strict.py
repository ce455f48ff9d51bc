"""Arrays that refuse raw arithmetic, so that no operation of a network escapes emulation unnoticed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXACT_UFUNCS = {
    np.equal, np.not_equal, np.greater, np.greater_equal, np.less, np.less_equal,
    np.isnan, np.isinf, np.isfinite, np.signbit, np.negative, np.absolute, np.maximum, np.minimum,
}  # fmt: skip
_EXACT_FUNCTIONS = {
    np.where, np.concatenate, np.stack, np.transpose, np.reshape, np.ravel, np.squeeze, np.broadcast_to,
    np.pad, np.take, np.copyto, np.zeros_like, np.empty_like, np.array_equal, np.shape, np.ndim,
    np.argmax, np.argmin, np.broadcast_arrays, np.expand_dims, np.moveaxis, np.swapaxes, np.flip,
}  # fmt: skip


class RawOperationError(TypeError):
    """A float operation outside the emulated arithmetic was tried under strict mode."""


class Guarded(np.ndarray[Any, Any]):
    """A float32 array on which only exact NumPy operations (views, selections, comparisons) work."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Refuse every ufunc that could round."""
        if ufunc not in _EXACT_UFUNCS or method != "__call__":
            raise RawOperationError(
                f"raw float operation numpy.{ufunc.__name__} (method {method!r}) on a network's values: "
                "use the Arithmetic that the layer was given."
            )
        result = ufunc(*(plain(x) for x in inputs), **{key: plain(value) for key, value in options.items()})
        return guard(result) if result.dtype == np.float32 else result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Refuse every NumPy function that could round."""
        if function not in _EXACT_FUNCTIONS:
            raise RawOperationError(
                f"raw float operation numpy.{function.__name__} on a network's values: "
                "use the Arithmetic that the layer was given."
            )
        return super().__array_function__(function, types, args, kwargs)

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise RawOperationError("raw reduction of a network's values: use the Arithmetic's column_sum.")

    sum = mean = prod = dot = cumsum = cumprod = std = var = trace = round = _refuse


def guard(x: NDArray[Any]) -> Guarded:
    """Return x as an array that refuses raw arithmetic; no copy."""
    return x.view(Guarded)


def plain(x: Any) -> Any:
    """Return a guarded array as the plain one beneath; anything else as it is."""
    return x.view(np.ndarray) if isinstance(x, Guarded) else x
