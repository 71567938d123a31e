"""Reads a Parquet file with four libraries and compares every row with JSON lines.

Usage: readers.py FILE... < the expected rows of all of them, a JSON object a line.
"""

import json
import math
import sys

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq


def plain(value):
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if hasattr(value, "timestamp"):
        return float(round(value.timestamp() * 1_000_000))
    if hasattr(value, "item"):
        return plain(value.item())
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def rows(frame):
    """Rows without missing values, in an order of their own."""
    out = []
    for row in frame.to_dict("records") if isinstance(frame, pd.DataFrame) else frame:
        row = {name: plain(value) for name, value in row.items()}
        out.append({name: value for name, value in row.items() if value is not None})
    return sorted(out, key=lambda row: json.dumps(row, sort_keys=True))


def expected(line):
    row = json.loads(line)
    for name in ("timestamp", "recorded_at"):
        if row.get(name):
            row[name] = pd.Timestamp(row[name])
    return row


files = sys.argv[1:]
wanted = rows([expected(line) for line in sys.stdin])


def with_duckdb(file):
    # Its own conversion of times with a zone needs one more package.
    result = duckdb.sql(f"SELECT * REPLACE (epoch_us(timestamp) AS timestamp, epoch_us(recorded_at) AS recorded_at) FROM '{file}'")
    return [dict(zip(result.columns, row)) for row in result.fetchall()]


read = {
    "pandas": pd.read_parquet,
    "pyarrow": lambda file: pq.read_table(file).to_pylist(),
    "duckdb": with_duckdb,
    "polars": lambda file: pl.read_parquet(file).to_dicts(),
}
for name, reader in read.items():
    seen = rows([row for file in files for row in rows(reader(file))])
    assert len(seen) == len(wanted), (name, len(seen), len(wanted))
    for ours, theirs in zip(wanted, seen):
        assert ours == theirs, (name, ours, theirs)
print(len(wanted))
