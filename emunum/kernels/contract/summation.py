"""A matrix product lowered: what each of its roundings becomes, and which bits of which draw it takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emunum.formats import Accumulator, Cast, Order
from emunum.kernels.contract.counters import draw_bits, drop_bits
from emunum.kernels.contract.extents import Extent
from emunum.kernels.contract.lowered import Lowered
from emunum.kernels.contract.lowering import (
    counted,
    lower_conversion,
    lower_product,
    lower_sum,
    require_arithmetic,
    watched,
)


class Summation(NamedTuple):
    """The roundings of a sum of products; an order takes those it has."""

    to_product: Lowered
    to_sum: Lowered  # of a partial sum and a term
    to_tree: Lowered  # of two partial sums
    to_outer: Lowered  # of the outer sum and that of a chunk
    to_result: Lowered  # of an exact sum
    width: int  # of the draws of products and of sums
    product_drop: np.uint32
    drop: np.uint32
    outer_width: int
    outer_drop: np.uint32
    zero_down: bool  # an exact zero sum is -0
    term: Extent


def lower_summation(
    product: Cast | None,
    accumulator: Accumulator,
    a: Extent,
    b: Extent,
    counts: NDArray[np.int64] | None = None,
) -> Summation:
    """Lower round(a b) and the sums of such terms; `product` None keeps the products exact.

    With `counts`, in float64, and events are counted. Raises ValueError where a format is not one of numbers,
    and where a tensor core would have to round products.
    """
    inner, outer = accumulator.cast, accumulator.outer or accumulator.cast
    require_arithmetic(product, accumulator.cast, accumulator.outer)
    if accumulator.core is not None and product is not None:
        raise ValueError(
            f"tensor core {accumulator.core.name} keeps products exact: {product.format} cannot round them. "
            "Leave the product format out."
        )
    one_zero = product is not None and not product.format.has_negative_zero
    one_zero &= inner.format.has_negative_zero
    signs = inner.mode.negative_zero_sums  # +0 + -0 is -0 there, and +0 elsewhere
    to_product = lower_product(product, a, b, one_zero, zero_sign=signs)
    exact = a.times(b)
    term = Extent.of(product.format) if product else exact
    carrier = np.float64 if product is None and not exact.exact_in_float32 else np.float32
    own = Extent.of(inner.format)
    one_zero = outer.format.has_negative_zero and not inner.format.has_negative_zero
    signs |= accumulator.order is Order.KAHAN  # elsewhere sums begin with +0, and never become -0
    to_sum = lower_sum(inner, own, term, carrier, one_zero, signs)
    to_tree = lower_sum(inner, own, own)
    to_outer = lower_sum(outer, Extent.of(outer.format), own)
    to_result = lower_conversion(inner, None)
    if counts is not None:
        to_product = watched(to_product, counts) if product is None else counted(product, counts)
        to_sum = to_tree = counted(inner, counts, sums=True)
        to_outer = counted(outer, counts, sums=True)
        to_result = counted(inner, counts)
    width, outer_width = draw_bits(product, inner), draw_bits(outer)
    return Summation(
        to_product=to_product,
        to_sum=to_sum,
        to_tree=to_tree,
        to_outer=to_outer,
        to_result=to_result,
        width=width,
        product_drop=drop_bits(product, width),
        drop=drop_bits(inner, width),
        outer_width=outer_width,
        outer_drop=drop_bits(outer, outer_width),
        zero_down=inner.mode.negative_zero_sums,
        term=term,
    )
