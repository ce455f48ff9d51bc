"""What lies under a window at each of its places, and back: moves of numbers, nothing is computed.

The entries of a window are numbered k = (c R + r) S + s: channel, row, column. Its places are numbered
(n OH + oh) OW + ow: image, row, column. `window` = (R, S, row stride, column stride, row padding, column
padding).
"""

from __future__ import annotations

from typing import Any

from emunum.kernels.cpu.compile import compiled, inlined, widest_vectors


@inlined
def _inside(first: Any, stride: Any, count: Any, size: Any) -> Any:
    """Return the range of t in 0..count - 1 with 0 <= first + t stride < size."""
    low = 0 if first >= 0 else (-first + stride - 1) // stride
    high = 0 if first >= size else min(count, (size - first + stride - 1) // stride)
    return min(low, count), max(high, min(low, count))


@compiled
def gather(x: Any, window: Any, places: Any, out: Any, n0: Any, k0: Any) -> None:
    """out[k - k0, place] = x[n, c, oh stride + r - padding, ...], +0 outside the image.

    x (N, C, H, W), places = (OH, OW), out (entries from k0 on, places of images from n0 on).
    """
    widest_vectors()
    R, S, row_stride, column_stride, row_padding, column_padding = window
    rows, columns = places
    height, width = x.shape[2], x.shape[3]
    images = out.shape[1] // (rows * columns)
    for entry in range(out.shape[0]):
        k = k0 + entry
        s, r, c = k % S, k // S % R, k // (S * R)
        low, high = _inside(s - column_padding, column_stride, columns, width)
        first = low * column_stride + s - column_padding
        for n in range(images):
            for oh in range(rows):
                begin = (n * rows + oh) * columns
                line = out[entry, begin : begin + columns]
                h = oh * row_stride + r - row_padding
                if h < 0 or h >= height:
                    _clear(line)
                    continue
                _clear(line[:low])
                _clear(line[high:])
                _pick(x[n0 + n, c, h], first, column_stride, line[low:high])


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
def _pick(source: Any, first: Any, stride: Any, line: Any) -> None:
    """line[j] = source[first + j stride]."""
    if stride == 1:
        part = source[first : first + line.size]
        for j in range(line.size):
            line[j] = part[j]
    else:
        for j in range(line.size):
            line[j] = source[first + j * stride]


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
