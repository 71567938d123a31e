"""Writes two rows as Parquet, and what pandas makes of them when it rewrites the file in one way
after another. Prints a JSON line for each: the file, what was done, how many of the two rows say
something else then. Usage: rewritings.py FOLDER"""

import json
import sys
from pathlib import Path

import pandas as pd

folder = Path(sys.argv[1])
WHEN = ["2026-01-31T12:00:00.123456", "2026-01-31T12:00:01.654321"]
rows = pd.DataFrame({
    "model": ["m", "m"],
    "success": [True, False],
    "execution_time": [12.4, 0.1],
    "turns": [3, 4],
    "tool_success_rate": [0.8, 0.8],
    "question": ["7", "8"],
    "number": [17, 18],
    "usage": [{"in": 1}, {"in": 2}],
    "tags": [["a"], ["b"]],
    "timestamp": WHEN,
    "began": pd.to_datetime(WHEN),
})
later = pd.DataFrame({
    "model": ["m"],
    "success": [None],
    "execution_time": [1.5],
    "tool_success_rate": [0.8],
    "question": ["9"],
    "judge": ["j"],
    "usage": [{"in": 1, "cached": 5}],
    "tags": [[]],
    "timestamp": ["2026-01-31T12:00:02.111111"],
    "began": pd.to_datetime(["2026-01-31T12:00:02.111111"]),
})
both = pd.concat([rows, later], ignore_index=True)
time = pd.to_datetime(rows.timestamp)
ms = {"coerce_timestamps": "ms", "allow_truncated_timestamps": True}
for at, (done, changed, table, options) in enumerate([
    ("as they are", 0, rows, {}),
    ("a row appended with new columns, and nulls for them in the old rows", 0, both, {}),
    ("numbers as 32 bits", 0, rows.astype({"execution_time": "float32", "tool_success_rate": "float32"}), {}),
    ("numbers as 32 bits and back", 0, rows.astype({"execution_time": "float32"}).astype({"execution_time": "float64"}), {}),
    ("texts as categories", 0, rows.astype({"model": "category", "question": "category"}), {}),
    ("ids as whole numbers", 0, rows.assign(question=rows.question.astype(int)), {}),
    ("whole numbers as doubles as text", 0, rows.assign(number=rows.number.astype(float).astype(str)), {}),
    ("truth values as text", 0, rows.assign(success=rows.success.astype(str)), {}),
    ("times as naive timestamps", 0, rows.assign(timestamp=time), {}),
    ("times in nanoseconds", 0, rows.assign(timestamp=time.astype("datetime64[ns]")), {}),
    ("times in the store's zone, then in UTC", 0, rows.assign(timestamp=time.dt.tz_localize("Europe/Berlin").dt.tz_convert("UTC")), {}),
    ("another column of times in the store's zone", 0, rows.assign(began=rows.began.dt.tz_localize("Europe/Berlin")), {}),
    ("null spelled out", 0, both.assign(judge=both.judge.astype(str)), {}),
    ("a running total on every row", 0, rows.assign(total=len(rows)), {}),
    ("sorted, with its index", 0, rows.sort_values("execution_time"), {}),
    ("times cut to milliseconds", 2, rows.assign(timestamp=time), ms),
    ("a column filled into old rows", 2, rows.assign(judge="j"), {}),
    ("a value corrected", 1, rows.assign(success=[True, True]), {}),
]):
    name = f"{at:02}.parquet"
    table.to_parquet(folder / name, **options)
    print(json.dumps({"file": name, "done": done, "changed": changed}))
