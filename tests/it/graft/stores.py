"""Writes increments into a store, and compares main with what other readers make of them.

graft.py write STORE: a first increment of 150,000 rows.
graft.py add STORE: a second one: new tests, and newer attempts at a few old ones.
graft.py check STORE: main against both, by DuckDB, pyarrow and pandas.
"""

import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

command, store = sys.argv[1], Path(sys.argv[2])


def frame(ids, when):
    ids = np.asarray(ids)
    return pd.DataFrame({
        "test_id": [f"t{i:07d}" for i in ids],
        "model": [f"model-{i // 20_000}" for i in ids],
        "prompt_type": np.where(ids % 2 == 0, "a", "b"),
        "tool_success_rate": np.where(ids % 3 == 0, 0.6, 0.8),
        "difficulty": "easy",
        "task_type": "basic",
        "success": (ids + when) % 5 == 0,
        "execution_time": ids % 97 / 7,
        "timestamp": pd.to_datetime(ids + when * 10_000_000, unit="s", utc=True),
    })


def save(rows, name):
    (store / "incremental").mkdir(parents=True, exist_ok=True)
    # Consolidating removes the increment; the second copy is for the comparison.
    for path in (store / "incremental" / name, store.parent / name):
        rows.to_parquet(path, index=False)


FIRST, SECOND = "increment_7_20260131_120000.parquet", "increment_8_20260131_120000.parquet"
if command == "write":
    save(frame(range(150_000), 0), FIRST)
elif command == "add":
    # The old ones are among the last: the first row group stays as it is.
    save(frame([*range(149_000, 149_100), *range(150_000, 151_000)], 1), SECOND)
else:
    main = str(store / "test_results.parquet")
    both = [str(store.parent / name) for name in (FIRST, SECOND)]
    columns = "test_id, model, prompt_type, tool_success_rate, success, execution_time, timestamp"
    expected = f"""SELECT {columns} FROM read_parquet({both})
        QUALIFY row_number() OVER (PARTITION BY test_id ORDER BY timestamp DESC) = 1"""
    for one, other in ((f"SELECT {columns} FROM '{main}'", expected), (expected, f"SELECT {columns} FROM '{main}'")):
        left = duckdb.sql(f"({one}) EXCEPT ALL ({other})").fetchall()
        assert not left, left[:3]
    # Statistics and page indexes lead to the right rows.
    for model in ("model-0", "model-7", "none"):
        count = f"SELECT count(*), sum(success::int), min(test_id) FROM ({{}}) WHERE model = '{model}'"
        found = duckdb.sql(count.format(f"SELECT * FROM '{main}'")).fetchall()
        assert found == duckdb.sql(count.format(expected)).fetchall(), (model, found)
    file = pq.ParquetFile(main)
    assert file.metadata.num_rows == 151_000 and file.read().num_rows == 151_000
    assert [file.metadata.row_group(i).num_rows for i in range(2)] == [131_072, 19_928]
    chunk = file.metadata.row_group(0).column(0)
    assert chunk.has_column_index and chunk.has_offset_index and chunk.is_stats_set
    frame = pd.read_parquet(main)
    assert list(frame.columns[:2]) == ["test_id", "model"] and frame["success"].dtype == bool
    picked = pq.read_table(main, filters=[("test_id", "==", "t0149050")]).to_pydict()
    assert picked["timestamp"][0].year == 1970 and len(picked["test_id"]) == 1
    print(len(frame))
