"""What lies under a window at each of its places, and back: moves of numbers, nothing is computed.

The entries of a window are numbered k = (c R + r) S + s: channel, row, column. Its places are numbered
(n OH + oh) OW + ow: image, row, column. `window` = (R, S, row stride, column stride, row padding, column
padding).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from emunum.kernels.cpu.compile import compiled, inlined, widest_vectors


@inlined
def _inside(first: Any, stride: Any, count: Any, size: Any) -> Any:
    """Return the range of t in 0..count - 1 with 0 <= first + t stride < size."""
    low = 0 if first >= 0 else (-first + stride - 1) // stride
    high = 0 if first >= size else min(count, (size - first + stride - 1) // stride)
    return min(low, count), max(high, min(low, count))


SLACK = 16
"""Numbers that whole vectors may read, and write, beyond the last row."""


@compiled
def surround(x: Any, window: Any, out: Any, n0: Any) -> None:
    """out[n] = x[n0 + n] with the padding's zeros on all sides: (images, C, H + 2 padding, W + 2 padding)."""
    widest_vectors()
    row_padding, column_padding = window[4], window[5]
    for n in range(out.shape[0]):
        for c in range(x.shape[1]):
            for h in range(out.shape[2]):
                line = out[n, c, h]
                _clear(line)
                if row_padding <= h < row_padding + x.shape[2]:
                    source = x[n0 + n, c, h - row_padding]
                    _place(source, column_padding, 1, line)


@compiled
def gather(x: Any, sizes: Any, window: Any, places: Any, out: Any, k0: Any) -> None:
    """out[k - k0, place] = x[n, c, oh stride + r, ow stride + s], from k0 on, places of all images.

    x is what `surround` made, flat, and sizes its shape (images, C, H, W). out is flat, too. Rows move 16
    numbers at a time: what is written beyond the end of one is overwritten by the next.
    """
    widest_vectors()
    R, S, row_stride, column_stride, _, _ = window
    images, channels, height, width = sizes
    rows, columns = places
    line = images * rows * columns
    for entry in range((out.size - SLACK) // line):
        k = k0 + entry
        s, r, c = k % S, k // S % R, k // (S * R)
        to = entry * line
        for n in range(images):
            of_image = ((n * channels + c) * height + r) * width + s
            for oh in range(rows):
                at = of_image + oh * row_stride * width
                if column_stride == 1:
                    for ow in range(0, columns, 16):
                        copy_16(x, at + ow, out, to + ow)
                else:
                    for ow in range(columns):
                        out[to + ow] = x[at + ow * column_stride]
                to += columns


@intrinsic  # type: ignore[untyped-decorator]
def copy_16(typing_context: Any, x: Any, i: Any, out: Any, j: Any) -> Any:
    """out[j : j + 16] = x[i : i + 16], one load and one store."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = []
        for kind, array, index_kind, index in zip(
            signature.args[::2], arguments[::2], signature.args[1::2], arguments[1::2], strict=True
        ):
            data = context.make_array(kind)(context, builder, array).data
            place = builder.gep(data, [context.cast(builder, index, index_kind, types.intp)])
            vector = ir.VectorType(place.type.pointee, 16).as_pointer()
            places.append(builder.bitcast(place, vector))
        size = x.dtype.bitwidth // 8
        builder.store(builder.load(places[0], align=size), places[1], align=size)
        return context.get_dummy_value()

    return types.void(x, i, out, j), generate


@compiled
def spread(dy: Any, window: Any, places: Any, out: Any) -> None:
    """out[r S + s, (n, c, h, w)] = dy[k, (n, oh, ow)] where entry (r, s) of that window lies there, else +0.

    dy (entries, places), out (R S, N, C, H, W): summed over its first axis, the gradient of what
    `gather` was given.
    """
    widest_vectors()
    R, S, row_stride, column_stride, row_padding, column_padding = window
    rows, columns = places
    images, channels, height, width = out.shape[1], out.shape[2], out.shape[3], out.shape[4]
    for entry in range(R * S):
        r, s = entry // S, entry % S
        low, high = _inside(s - column_padding, column_stride, columns, width)
        first = low * column_stride + s - column_padding
        for n in range(images):
            for c in range(channels):
                for h in range(height):
                    line = out[entry, n, c, h]
                    _clear(line)
                    oh = (h + row_padding - r) // row_stride
                    if oh * row_stride == h + row_padding - r and 0 <= oh < rows:
                        begin = (n * rows + oh) * columns
                        source = dy[(c * R + r) * S + s, begin : begin + columns]
                        _place(source[low:high], first, column_stride, line)


@inlined
def _clear(line: Any) -> None:
    for j in range(line.size):
        line[j] = 0


@inlined
def _place(source: Any, first: Any, stride: Any, line: Any) -> None:
    """line[first + j stride] = source[j]."""
    if stride == 1:
        part = line[first : first + source.size]
        for j in range(source.size):
            part[j] = source[j]
    else:
        for j in range(source.size):
            line[first + j * stride] = source[j]
