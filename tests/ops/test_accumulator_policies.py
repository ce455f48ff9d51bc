"""Policies with another accumulator: its casts, where elementwise arithmetic goes, and that layers use it."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from inputs import F32, cast, label
from oracles import assert_same

from emunum.formats import Accumulator, Cast, Format, Mode, Order, Overflow
from emunum.kernels import cpu
from emunum.kernels.random import Key
from emunum.nn.layers import Linear
from emunum.nn.loss import mean_squared_error_gradient
from emunum.nn.models import build
from emunum.ops.arithmetic import Arithmetic
from emunum.ops.policy import POLICIES, Policy, Role, parse_policy

E5M2, FLOAT32 = Format.from_name("e5m2"), Format.from_name("float32")
TO = cast("e4m3", "stochastic", "saturate", 11)


class Spy(ModuleType):
    """The CPU backend, which writes down the casts and accumulators it is asked for."""

    def __init__(self) -> None:
        super().__init__("spy")
        self.sums: list[Accumulator] = []
        self.products: list[Cast | None] = []
        self.elementwise: list[Cast] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(cpu, name)

    def matmul(self, a: Any, b: Any, product: Any, accumulator: Any, key: Key, **options: Any) -> Any:
        self.sums.append(accumulator)
        self.products.append(product)
        return cpu.matmul(a, b, product, accumulator, key, **options)

    def column_sum(self, x: Any, accumulator: Any, key: Key, **options: Any) -> Any:
        self.sums.append(accumulator)
        return cpu.column_sum(x, accumulator, key, **options)

    def add(self, a: Any, b: Any, to: Cast, *rest: Any, **options: Any) -> Any:
        self.elementwise.append(to)
        return cpu.add(a, b, to, *rest, **options)

    def subtract(self, a: Any, b: Any, to: Cast, *rest: Any, **options: Any) -> Any:
        self.elementwise.append(to)
        return cpu.subtract(a, b, to, *rest, **options)


# ----------------------------------------------------------------------------------------------------
# with_accumulator
# ----------------------------------------------------------------------------------------------------

PLAIN = {
    "sequential": Order.SEQUENTIAL,
    "pairwise": Order.PAIRWISE,
    "kahan": Order.KAHAN,
    "exact": Order.EXACT,
}


@pytest.mark.parametrize("format", [None, E5M2, FLOAT32], ids=str)
@pytest.mark.parametrize("order", PLAIN)
@pytest.mark.parametrize("name", POLICIES)
def test_sums_go_to_the_format_and_order_and_keep_the_policys_rounding(
    name: str, order: str, format: Format | None
) -> None:
    policy = parse_policy(name, TO)
    sums = policy.accumulator.cast
    expected = sums if format is None else replace(sums, format=format)
    changed = policy.with_accumulator(format, order)
    assert changed.accumulator == Accumulator(cast=expected, order=PLAIN[order])
    assert changed.elementwise == expected
    assert changed == replace(
        policy, accumulator=changed.accumulator, elementwise=expected
    )  # and nothing else
    if name == "full":
        assert (expected.mode, expected.overflow, expected.random_bits) == (
            Mode.STOCHASTIC,
            Overflow.SATURATE,
            11,
        )


@pytest.mark.parametrize("name", POLICIES)
def test_elementwise_arithmetic_goes_where_the_chunks_are_added(name: str) -> None:
    policy = parse_policy(name, TO)
    sums = policy.accumulator.cast
    changed = policy.with_accumulator(E5M2, "chunked:16", FLOAT32)
    inner, outer = replace(sums, format=E5M2), replace(sums, format=FLOAT32)
    assert changed.accumulator == Accumulator(cast=inner, order=Order.CHUNKED, chunk=16, outer=outer)
    assert changed.elementwise == outer
    alone = policy.with_accumulator(E5M2, "chunked:16")
    assert (alone.accumulator.outer, alone.elementwise) == (None, inner)


@pytest.mark.parametrize(
    ("order", "chunk", "outer"),
    [("tensor_core:h100_fp8", None, None), ("tensor_core:h100_fp8:128", 128, Cast(format=FLOAT32))],
)
def test_beside_a_tensor_core_elementwise_arithmetic_is_float32(
    order: str, chunk: int | None, outer: Cast | None
) -> None:
    policy = parse_policy("mixed", TO).with_accumulator(order=order)
    core = Cast(format=Format.from_name("e8m13"), mode=Mode.TOWARD_ZERO)  # Fout = 13, cut
    assert (policy.accumulator.cast, policy.accumulator.chunk, policy.accumulator.outer) == (
        core,
        chunk,
        outer,
    )
    assert policy.elementwise == Cast(format=FLOAT32)


def test_a_tensor_core_with_float16_sums_has_float16_elementwise_arithmetic() -> None:
    float16 = Format.from_name("float16")
    policy = parse_policy("mixed", TO).with_accumulator(float16, "tensor_core:v100")
    assert policy.accumulator.cast == policy.elementwise == Cast(format=float16)


@pytest.mark.parametrize("name", ["full", "output"])
def test_policies_that_round_products_have_no_tensor_core(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"tensor core h100 keeps them exact. Choose --policy mixed.$"
    ) as error:
        parse_policy(name, cast("float32")).with_accumulator(order="tensor_core:h100")
    assert str(error.value).startswith(f"policy {name} rounds products to float32")
    assert "\n" not in str(error.value)


def test_orders_and_outer_sums_that_make_no_sense_are_refused() -> None:
    policy = parse_policy("mixed", TO)
    for order in (
        "",
        "chunked",
        "chunked:0",
        "chunked:-1",
        "chunked:1.5",
        "chunked:4:4",
        "pairwise:2",
        "kahn",
    ):
        with pytest.raises(ValueError, match="unknown order"):
            policy.with_accumulator(order=order)
    for order in ("tensor_core", "tensor_core:h100:0", "tensor_core:"):
        with pytest.raises(ValueError, match=r"unknown (order|tensor core)"):
            policy.with_accumulator(order=order)
    with pytest.raises(ValueError, match="unknown tensor core 'h200'"):
        policy.with_accumulator(order="tensor_core:h200")
    for order in ("sequential", "pairwise", "kahan", "exact", "tensor_core:h100"):
        with pytest.raises(ValueError, match="no outer sum: only sums of chunks have one"):
            policy.with_accumulator(order=order, outer=FLOAT32)
    with pytest.raises(ValueError, match=r"accumulates in float32 .* or float16"):
        policy.with_accumulator(E5M2, "tensor_core:h100")


# ----------------------------------------------------------------------------------------------------
# Layers
# ----------------------------------------------------------------------------------------------------


def _policies() -> list[Policy]:
    full, mixed = parse_policy("full", cast("e4m3")), parse_policy("mixed", cast("e5m2"))
    return [
        full.with_accumulator(E5M2, "pairwise"),
        full.with_accumulator(None, "chunked:3", Format.from_name("float16")),
        mixed.with_accumulator(Format.from_name("bfloat16"), "kahan"),
        mixed.with_accumulator(order="tensor_core:h100_fp8"),
        mixed.with_accumulator(Format.from_name("float16"), "exact"),
    ]


def _id(policy: Policy) -> str:
    return f"{policy.name}-{policy.accumulator.order}-{label(policy.accumulator.last)}"


@pytest.mark.parametrize("policy", _policies(), ids=_id)
def test_every_sum_of_a_network_is_the_policys(policy: Policy) -> None:
    spy = Spy()
    arith = Arithmetic(policy=policy, key=Key(1), backend=spy)
    rng = np.random.default_rng(1)
    model = build("mlp", (6,), 2, (5, 4))
    params = [
        {name: rng.normal(size=w.shape).astype(F32) for name, w in own.items()}
        for own in model.initial(_scheme(), np.random.RandomState(0))
    ]
    x = arith.cast(Role.INPUT, rng.normal(size=(8, 6)).astype(F32))
    y, saved = model.forward(arith, params, x)
    assert len(spy.sums) == 3
    dy = mean_squared_error_gradient(arith, y, np.zeros((8, 2), F32))
    model.backward(arith, params, saved, dy)
    # dW and db of three layers, dx of all but the first; biases and y - t are elementwise.
    assert len(spy.sums) == 3 + 3 + 3 + 2
    assert set(spy.sums) == {policy.accumulator}
    assert set(spy.products) == {policy.product}
    assert len(spy.elementwise) == 3 + 1
    assert set(spy.elementwise) == {policy.elementwise}


def _scheme() -> Any:
    from emunum.nn.initial import parse_scheme

    return parse_scheme("torch")


@pytest.mark.parametrize("policy", _policies(), ids=_id)
def test_a_linear_layer_is_these_products_and_sums_of_the_backend(policy: Policy) -> None:
    arith = Arithmetic(policy=policy, key=Key(1))
    rng = np.random.default_rng(2)
    layer = Linear(n_in=7, n_out=3)
    w, b = rng.normal(size=(3, 7)).astype(F32), rng.normal(size=3).astype(F32)
    x = cpu.cast(rng.normal(size=(9, 7)).astype(F32), policy.roles[Role.INPUT], Key(0))
    dy = rng.normal(size=(9, 3)).astype(F32)
    y, saved = layer.forward(arith, {"w": w, "b": b}, x)
    dx, grads = layer.backward(arith, {"w": w, "b": b}, saved, dy, needs_dx=True)

    def rounded(value: np.ndarray, role: Role) -> np.ndarray:
        return cpu.cast(value, policy.roles[role], Key(0))

    def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return cpu.matmul(left, right, policy.product, policy.accumulator, Key(0))

    w, b, dy = rounded(w, Role.WEIGHT), rounded(b, Role.WEIGHT), rounded(dy, Role.ERROR)
    assert_same(y, rounded(cpu.add(product(x, w.T), b, policy.elementwise, Key(0)), Role.ACTIVATION))
    assert_same(grads["w"], rounded(product(dy.T, x), Role.GRADIENT))
    assert_same(grads["b"], rounded(cpu.column_sum(dy, policy.accumulator, Key(0)), Role.GRADIENT))
    assert_same(dx, product(dy, w))


def test_the_order_of_the_accumulator_shows_in_a_layers_output() -> None:
    # 17 ones in e4m3: 16 in index order, and 17 -> 16 with one rounding; 24 ones: 16, 24 in pairs.
    x, w = np.ones((1, 24), F32), np.ones((1, 24), F32)
    layer, found = Linear(n_in=24, n_out=1), {}
    for order in ("sequential", "pairwise", "exact"):
        policy = parse_policy("full", cast("e4m3")).with_accumulator(order=order)
        y, _ = layer.forward(Arithmetic(policy=policy, key=Key(0)), {"w": w, "b": np.zeros(1, F32)}, x)
        found[order] = float(y[0, 0])
    assert found == {"sequential": 16, "pairwise": 24, "exact": 24}
