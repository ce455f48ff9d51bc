"""pychop: IEEE-like floats in six modes, and P3109's formats in all of ours, draws handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emunum.experiments.conformance import ours
from emunum.experiments.conformance.comparison import Comparison, Differing, Known
from emunum.formats import MODES, Cast, Format, Mode, Overflow

_CHOP = {
    Mode.NEAREST_EVEN: 1,
    Mode.UP: 2,
    Mode.DOWN: 3,
    Mode.TOWARD_ZERO: 4,
    Mode.NEAREST_AWAY: 8,
    Mode.TO_ODD: 9,
}
_STOCHASTIC = 5
_IEEE_LIKE = ("float8_e4m3", "float8_e5m2", "float8_e3m4", "float16", "bfloat16", "e6m9")
_P3109 = (
    "binary8p4se",
    "binary8p3sf",
    "binary8p1se",
    "binary6p3se",
    "binary8p4uf",
    "binary8p3ue",
    "binary16p11se",
)
_P3109_MODES = {
    "nearest_even": "nearest_even",
    "nearest_away": "nearest_away",
    "toward_zero": "toward_zero",
    "up": "toward_positive",
    "down": "toward_negative",
    "to_odd": "to_odd",
    "stochastic": "stochastic_a",
    "stochastic_b": "stochastic_b",
    "stochastic_c": "stochastic_c",
}
_SATURATION = {Overflow.IEEE: "none", Overflow.SATURATE: "finite", Overflow.PROPAGATE: "propagate"}

_ZERO_SIGN = Known(
    title="Chop: -0 becomes +0",
    reason="Zeros are set to +0 at the end. Results that round to zero keep their sign.",
    holds=lambda cases: (cases.x == 0) & (cases.theirs == 0),
)
_EXACT_TO_ODD = Known(
    title="Chop: round to odd changes numbers that need no rounding",
    reason="Mode 9 makes every even significand odd, also that of a value of the format.",
    holds=lambda cases: cases.ours == cases.x,
)


def _no_top(to: Cast) -> tuple[Known, ...]:
    """What Chop makes of numbers beyond the largest value, by the binade they lie in."""
    beyond = 2.0 ** (to.format.emax + 1)

    def carried(cases: Differing) -> Any:
        return (np.abs(cases.x) < beyond) & (np.abs(cases.theirs) == beyond)

    def vanished(cases: Differing) -> Any:
        size = np.abs(cases.x)
        return (size >= beyond * (1 - 2.0**-20)) & (size < 2 * beyond) & (cases.theirs == 0)

    def infinite(cases: Differing) -> Any:
        size = np.abs(cases.x)
        return (size >= 2 * beyond * (1 - 2.0**-20)) & np.isinf(cases.theirs) & np.isfinite(cases.x)

    return (
        Known(
            title="Chop: a carry beyond the largest value stays finite",
            reason="What rounds up from the top binade becomes 2^(emax + 1), which the format does not "
            "have: no Inf, and no largest value in the modes that stay in range.",
            holds=carried,
        ),
        Known(
            title="Chop: numbers in the binade above the largest value become 0",
            reason="2^(emax + 1) <= |x| < 2^(emax + 2) has the exponent field of Inf, which is taken "
            "neither for a normal number nor for an overflow, and +0 is what is left.",
            holds=vanished,
        ),
        Known(
            title="Chop: directed modes overflow to Inf",
            reason="From 2^(emax + 2) on every mode gives Inf. IEEE 754-2019 7.4 gives the largest finite "
            "value in the modes that round towards zero there.",
            holds=infinite,
        ),
    )


def _wrong_exponent(source: str) -> Known:
    reach = 2.0**-20 if source == "float32" else 2.0**-48

    def holds(cases: Differing) -> Any:
        fraction = np.frexp(np.abs(np.where(np.isfinite(cases.x), cases.x, 1.0)))[0]
        return fraction >= 1 - reach

    return Known(
        title="Chop: the exponent just below a power of two is one too large",
        reason="It is taken from log2, whose result is rounded up to the power's exponent for the numbers "
        "just below; they are then rounded to a grid twice as coarse.",
        holds=holds,
    )


def _lost_bits(to: Cast, source: str) -> Known:
    least = to.format.smallest_normal

    def holds(cases: Differing) -> Any:
        scaled = np.minimum(np.abs(cases.x), least) / least
        moved = (scaled - 1.0).astype(source).astype(np.float64) + 1.0
        return (scaled < 1) & (moved != scaled)

    return Known(
        title="Chop: subnormal results are rounded twice",
        reason="Below 2^emin the significand less 1 is formed in the precision of the input, which rounds "
        "it to a multiple of 2^-25 to 2^-24 (float64: 2^-54 to 2^-53) times 2^emin: smaller numbers"
        " vanish before they are rounded, others become ties.",
        holds=holds,
    )


def _false_ties(to: Cast) -> tuple[Known, ...]:
    """What mode 8 takes for a tie, and where it goes."""

    def tail(cases: Differing) -> Any:
        finite = np.abs(np.where(np.isfinite(cases.x), cases.x, 0.0))
        exponent = np.maximum(np.frexp(finite)[1] - 1, to.format.emin) - to.format.mantissa_bits
        return np.mod(np.ldexp(finite, -exponent), 1.0)

    return (
        Known(
            title="Chop: negative ties go toward zero in the mode 'ties away'",
            reason="Mode 8 takes the larger significand where the number is positive and the smaller one "
            "where it is negative: ties go toward +Inf.",
            holds=lambda cases: (tail(cases) == 0.5) & (cases.x < 0),
        ),
        Known(
            title="Chop: numbers near a tie are taken for ties in the mode 'ties away'",
            reason="A tail within 10^-6 of one half counts as one half.",
            holds=lambda cases: (np.abs(tail(cases) - 0.5) < 1.1e-6) & (tail(cases) != 0.5),
        ),
    )


_TO_ODD_LEAVES = Known(
    title="P3109: to_odd overflows to Inf, or to NaN without Inf",
    reason="Without saturation pychop keeps toward_zero, up and down inside the format where they round "
    "inward, but not to_odd, and negative numbers in an unsigned format become NaN. emunum's to_odd stays at "
    "the limit on either side, as toward_zero does.",
    holds=lambda cases: np.isfinite(cases.x) & ~np.isfinite(cases.theirs),
)
_PROPAGATED = Known(
    title="P3109: without Inf in the format, 'propagate' clips infinities",
    reason="SatPropagate preserves infinities. Where the format has none on that side, pychop gives its "
    "limit; emunum gives NaN, as without saturation.",
    holds=lambda cases: np.isinf(cases.x) & np.isnan(cases.ours),
)


def comparisons() -> Iterator[Comparison]:
    """Chop on IEEE-like formats; codes and conversions of P3109's."""
    for name in _IEEE_LIKE:
        for mode, number in _CHOP.items():
            to = Cast(format=Format.from_name(name), mode=mode)
            special = {Mode.TO_ODD: (_EXACT_TO_ODD,), Mode.NEAREST_AWAY: _false_ties(to)}.get(mode, ())
            for source in ("float32", "float64"):
                known = (_ZERO_SIGN, *_no_top(to), *special, _lost_bits(to, source), _wrong_exponent(source))
                # Modes in which Chop differs in a quarter of all cases, each judged exactly, get a part.
                patterns, limit = (1 << 17, None) if mode == Mode.NEAREST_EVEN else (1 << 12, 1 << 13)
                yield ours.casting(
                    to, _chop(to, number, source), known, source=source, patterns=patterns, limit=limit
                )
        to = Cast(format=Format.from_name(name))
        yield ours.either_neighbour(to, _chop(to, _STOCHASTIC, "float32"), (_ZERO_SIGN,))
    for name in _P3109:
        format = Format.from_name(name)
        yield ours.decoding(format, _decode(format))
        for mode in MODES.values():
            for rule in _SATURATION:
                to = Cast(format=format, mode=mode, overflow=rule, random_bits=4)
                known = (
                    *((_TO_ODD_LEAVES,) if mode == Mode.TO_ODD else ()),
                    *((_PROPAGATED,) if rule is Overflow.PROPAGATE else ()),
                )
                if mode.stochastic:
                    yield ours.every_draw(to, _round(to), known, numbers=300)
                    yield ours.drawn(to, _round(to), known)
                else:
                    yield ours.casting(to, _round(to), known, patterns=1 << 17)


def _chop(to: Cast, number: int, source: str) -> Callable[..., NDArray[Any]]:
    from pychop import Chop

    def call(x: NDArray[Any]) -> NDArray[Any]:
        # One chunk: pychop would hand pieces of 800 numbers to Dask.
        chop = Chop(to.format.exponent_bits, to.format.mantissa_bits, rmode=number, chunk_size=max(x.size, 1))
        with np.errstate(all="ignore"):
            return np.asarray(chop(ours.narrow(x) if source == "float32" else x))

    return call


def _p3109(format: Format) -> Any:
    from pychop import P3109Format

    domain = "extended" if format.has_infinity else "finite"
    return P3109Format(k=format.bits, precision=format.precision, signed=format.signed, domain=domain)


def _decode(format: Format) -> Callable[..., NDArray[Any]]:
    from pychop import p3109_decode

    return lambda codes: p3109_decode(codes.astype(np.int64), _p3109(format))


def _round(to: Cast) -> Callable[..., NDArray[Any]]:
    from pychop import p3109_quantize

    def call(x: NDArray[Any], draws: NDArray[Any] | None = None) -> NDArray[Any]:
        random = {} if draws is None else {"srbits": draws.astype(np.int64), "srnumbits": to.random_bits}
        return np.asarray(
            p3109_quantize(
                x,
                _p3109(to.format),
                rounding=_P3109_MODES[to.mode.name],
                saturate=_SATURATION[to.rule],
                **random,
            )
        )

    return call
