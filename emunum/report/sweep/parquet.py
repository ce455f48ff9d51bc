"""Rows as a Parquet file, for pandas, Polars, DuckDB, Spark and their kin."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "pyarrow, which writes Parquet, is not installed: pip install 'emunum[parquet]'."


def to_parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Return the columns of rows as a Parquet file; null where a row lacks one. Equal rows, equal bytes.

    A column is bool, int64, float64, a list of int64 or, where its values are of several kinds, the text of
    each. Raises ValueError, which says how to get it, where pyarrow is missing.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ValueError(MISSING) from None
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), list: pa.list_(pa.int64())}
    arrays = {}
    for name in columns:
        values = [row.get(name) for row in rows]
        kind = _kind(values)
        if kind is str:
            arrays[name] = pa.array([None if v is None else str(v) for v in values], pa.string())
        else:
            arrays[name] = pa.array(values, types[kind])
    buffer = io.BytesIO()
    parquet.write_table(pa.table(arrays), buffer)
    return buffer.getvalue()


def _kind(values: Sequence[Any]) -> type:
    """The type that holds all of a column's values: text if nothing narrower does."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return float
    [kind] = kinds if len(kinds) == 1 else [str]
    return kind if kind in (bool, int, float, list) else str
