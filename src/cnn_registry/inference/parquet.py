"""Rows as a Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cnn_registry.system.extras import need_arrow

BLOCK = 10_000
"""Rows that are held in memory while another format is made of them."""


def write_parquet(target: Path, schema: Any, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as a Parquet file, `BLOCK` of them at a time."""
    arrow, parquet = need_arrow()
    remaining = iter(rows)
    with parquet.ParquetWriter(target, schema) as writer:
        while block := list(islice(remaining, BLOCK)):
            columns = [list(column) for column in zip(*block, strict=True)]
            arrays = [arrow.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))
