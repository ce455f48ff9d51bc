"""Initial parameters of a linear layer, drawn from one stream that the layers of a network share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from emunum.formats.names import unknown

Float32Array = NDArray[np.float32]
Bound = Callable[[int], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How the parameters of a layer start.

    A bound maps n_in to the B of a uniform draw from [-B, B). None means zeros, which draw nothing.
    """

    name: str
    weight_bound: Bound | None
    bias_bound: Bound | None


def _torch_bound(n_in: int) -> float:
    # torch takes a bias bound of 1/sqrt(n_in) and a weight bound of sqrt(3) (sqrt(2 / (1 + 5)) / sqrt(n_in)).
    # In float64 the two may differ by an ulp; as float32, the form that is used, they are the same number
    # for every n_in below 2^27.
    return 1 / math.sqrt(n_in)


def _he_bound(n_in: int) -> float:
    return math.sqrt(6 / n_in)


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Scheme(name="torch", weight_bound=_torch_bound, bias_bound=_torch_bound),
            Scheme(name="he", weight_bound=_he_bound, bias_bound=None),
            Scheme(name="zeros", weight_bound=None, bias_bound=None),
        )
    }
)
"""Name to scheme.

`torch`: weights and biases within 1/sqrt(n_in), the bits of torch.nn.Linear.
`he`: weights within sqrt(6/n_in), biases zero. He et al. 2015, "Delving deep into rectifiers", eq. 10, ask
for the variance 2/n_in, which this uniform draw has. A normal draw would need a logarithm, whose last bit
depends on the machine.
`zeros`: zeros.
"""


def parse_scheme(name: str) -> Scheme:
    """Return the scheme called `name`, or raise ValueError."""
    if name not in SCHEMES:
        raise unknown("initialisation", name, SCHEMES)
    return SCHEMES[name]


def new_stream(seed: int) -> RandomState:
    """Return the MT19937 stream that torch.manual_seed(seed) starts on the CPU.

    One stream serves all the layers of a network, in order. NumPy promises never to change what a
    RandomState yields (NEP 19). Raises ValueError where seed is outside 0..2^32 - 1.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is outside 0..2^32 - 1. Pass an integer in that range.")
    return RandomState(seed)


def linear(scheme: Scheme, stream: RandomState, n_in: int, n_out: int) -> tuple[Float32Array, Float32Array]:
    """Return the initial weights (n_out, n_in) and biases (n_out,) of a linear layer, float32.

    Each value takes one 32-bit output of `stream`, the weights in row-major order, then the biases:

        value = round_float32(B (2 k / 2^24 - 1)), k = the low 24 bits of the output,

    with B the scheme's bound for n_in, rounded to float32. Only IEEE basic operations and square roots
    occur, so every machine gives these bits.

    Under `torch`, layers made in turn from new_stream(seed) have the bits of torch.nn.Linear layers made
    in turn after torch.manual_seed(seed), where torch runs on a CPU with fused multiply-add. A
    convolution of C input channels and an (R, S) kernel is a linear layer of C R S inputs, reshaped.
    Raises ValueError where n_in or n_out is below 1.
    Source: at::transformation::uniform_real and torch.nn.Linear.reset_parameters, torch 2.13.
    """
    w = weights(scheme, stream, n_in, n_out)
    return w, _uniform(stream, scheme.bias_bound, n_in, (n_out,))


def weights(scheme: Scheme, stream: RandomState, n_in: int, n_out: int) -> Float32Array:
    """Return the initial weights alone, of a layer that has no biases and draws none."""
    if n_in < 1 or n_out < 1:
        raise ValueError(f"a layer of {n_in} inputs and {n_out} outputs is empty. Pass at least 1 of each.")
    return _uniform(stream, scheme.weight_bound, n_in, (n_out, n_in))


def _uniform(stream: RandomState, bound: Bound | None, n_in: int, shape: tuple[int, ...]) -> Float32Array:
    if bound is None:
        return np.zeros(shape, np.float32)
    # The full range hands out the generator's outputs one by one, unchanged.
    outputs = stream.randint(0, 2**32, size=shape, dtype=np.uint32)
    k = (outputs & np.uint32(2**24 - 1)).astype(np.int32)
    # torch computes (k 2^-24) (hi - lo) + lo with one rounding. As hi = -lo = B this is B (k - 2^23) 2^-23.
    # The second factor is exact, for |k - 2^23| <= 2^23, so the product rounds once too.
    fraction = (k - np.int32(2**23)).astype(np.float32) * np.float32(2**-23)
    value: Float32Array = np.float32(bound(n_in)) * fraction
    return value
