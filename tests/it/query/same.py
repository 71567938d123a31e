"""Compares what evaltop returns with what DuckDB makes of the same rows.

same.py EVALTOP FOLDER: random stores with a main by evaltop and one by pandas, both with
newer attempts waiting; filtered queries of them and exports in every form.
"""

import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

evaltop, folder = sys.argv[1], Path(sys.argv[2])
random = np.random.default_rng(7)
COLUMNS = """test_id, model, prompt_type, tool_success_rate, difficulty, task_type, success, execution_time,
    turns, error_message, timestamp"""

FORMS = {
    "parquet": "read_parquet('{}')",
    "jsonl": "read_json('{}', format='newline_delimited')",
    "csv": "read_csv('{}', header=true, quote='\"', escape='\"')",
}


def frame(ids, later):
    """The same id always has the same cell; it succeeds and takes what it likes."""
    ids = np.asarray(ids)
    count = len(ids)
    cell = ids * 2_654_435_761 % 1_000_003
    return pd.DataFrame({
        "test_id": [f"t{i:07d}" for i in ids],
        "model": [f"model-{c % 7}" for c in cell],
        "prompt_type": np.where(cell % 5 == 0, None, np.where(cell % 2 == 0, "cot", "baseline")),
        "tool_success_rate": np.array([0.6, 0.8, 1.0])[cell // 7 % 3],
        "difficulty": np.where(cell % 11 < 5, "easy", "hard"),
        "task_type": [f"task, \"{c % 13}\"" for c in cell],
        "success": random.random(count) < 0.5,
        "execution_time": random.integers(0, 10_000, count) / 100,
        "turns": random.integers(0, 20, count),
        "error_message": np.where(random.random(count) < 0.1, "two\nlines", None),
        "timestamp": pd.to_datetime((ids + later * 10_000_000) * 1_000_000 + random.integers(0, 1_000_000, count), unit="us", utc=True),
    })


def check(store, parts, forms=tuple(FORMS)):
    duckdb.sql("SET TimeZone = 'UTC'")
    truth = f"""(SELECT {COLUMNS} FROM read_parquet({[str(part) for part in parts]}, union_by_name=true)
        QUALIFY row_number() OVER (PARTITION BY test_id ORDER BY timestamp DESC) = 1)"""
    duckdb.sql(f"CREATE OR REPLACE TABLE truth AS FROM {truth}")

    def same(found, where, what):
        rows = f"SELECT {COLUMNS.replace('turns', 'turns::BIGINT').replace(' timestamp', ' timestamp::TIMESTAMPTZ')} FROM "
        sums = [duckdb.sql(f"SELECT count(*), bit_xor(hash(t)), sum(hash(t)::HUGEINT) FROM ({rows} {of}) t").fetchall()
                for of in (found, f"truth WHERE {where}")]
        assert sums[0] == sums[1], (store, what, sums)

    def run(*argv):
        done = subprocess.run([evaltop, *map(str, argv)], capture_output=True, text=True)
        assert done.returncode == 0, (argv, done.stderr)

    out = folder / "out.parquet"
    for arguments, where in [
        (["--model", "model-3", "--tool-success-rate", "0.8", "--prompt-type", "cot"],
         "model = 'model-3' AND tool_success_rate = 0.8 AND prompt_type = 'cot'"),
        (["--prompt-type", "unknown", "--prompt-type", "baseline", "--difficulty", "easy"],
         "coalesce(prompt_type, 'baseline') = 'baseline' AND difficulty = 'easy'"),
        (["--model", "model-1", "--since", "1970-01-02T00:00:00Z", "--until", "1970-04-27T00:00:00Z"],
         "model = 'model-1' AND timestamp >= '1970-01-02T00:00:00Z' AND timestamp < '1970-04-27T00:00:00Z'"),
        (["--task-type", "task, \"4\"", "--model", "model-0", "--model", "model-9"],
         "task_type = 'task, \"4\"' AND model = 'model-0'"),
    ]:
        if not forms[1:]:
            break
        run("query", store, *arguments, "--yes", "-o", out)
        same(f"'{out}'", where, arguments)
    for form in forms:
        read = FORMS[form]
        out = folder / f"all.{form}"
        run("export", store, "-o", out, "--yes")
        same(read.format(out), "true", form)
    groups = folder / "groups.parquet"
    run("query", store, "--group-by", "model", "--yes", "-o", groups)
    expected = "SELECT model, count(*) AS tests, count_if(success) AS success FROM truth GROUP BY model ORDER BY model"
    found = duckdb.sql(f"SELECT model, tests, success FROM '{groups}' ORDER BY model").fetchall()
    assert found == duckdb.sql(expected).fetchall(), (store, found)


def waiting(store):
    """Newer attempts and new tests, and a copy that consolidating does not remove."""
    rows = frame([*random.integers(0, 70_000, 500), *range(200_000, 200_300)], 1).drop_duplicates("test_id")
    (store / "incremental").mkdir(parents=True, exist_ok=True)
    rows.to_parquet(store / "incremental" / "increment_8_20260131_120000.parquet", index=False)
    rows.to_parquet(folder / f"{store.name}_waiting.parquet", index=False)
    return folder / f"{store.name}_waiting.parquet"


ours, theirs = folder / "ours", folder / "theirs"
first = folder / "first.parquet"
frame(random.permutation(140_000), 0).to_parquet(first, index=False)
(ours / "incremental").mkdir(parents=True)
(ours / "incremental" / "increment_7_20260131_120000.parquet").write_bytes(first.read_bytes())
subprocess.run([evaltop, "consolidate", ours], check=True, capture_output=True)
check(ours, [first], ["parquet"])
check(ours, [first, waiting(ours)])

theirs.mkdir()
again = frame(random.integers(0, 70_000, 3_000), 0)
rows = pd.concat([frame(random.permutation(70_000), 0), again], ignore_index=True)
main = theirs / "test_results.parquet"
rows.to_parquet(main, index=False, row_group_size=40_000)
check(theirs, [main, waiting(theirs)])
print("the same")
