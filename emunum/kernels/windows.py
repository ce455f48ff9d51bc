"""Windows that slide over images: the geometry of convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of (rows, columns), its steps, and the zeros that surround the image on each side."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Check the numbers."""
        if min(self.kernel) < 1 or min(self.stride) < 1 or min(self.padding) < 0:
            raise ValueError(
                f"a window of {self.kernel}, stride {self.stride}, padding {self.padding} is none: sizes and "
                "strides are at least 1, paddings at least 0."
            )

    def output(self, height: int, width: int) -> tuple[int, int]:
        """Return how many windows fit, floor((size + 2 padding - kernel) / stride) + 1 each way.

        Raises ValueError where none does.
        """
        rows, columns = (
            (size + 2 * padding - kernel) // stride + 1
            for size, kernel, stride, padding in zip(
                (height, width), self.kernel, self.stride, self.padding, strict=True
            )
        )
        if rows < 1 or columns < 1:
            raise ValueError(
                f"an image of {height} x {width} is smaller than a window of {self.kernel[0]} x "
                f"{self.kernel[1]} with padding {self.padding}."
            )
        return rows, columns

    @property
    def numbers(self) -> tuple[int, int, int, int, int, int]:
        """Rows, columns, their strides and their paddings, for kernels."""
        return (*self.kernel, *self.stride, *self.padding)
