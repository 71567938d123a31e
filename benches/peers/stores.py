"""Stores to measure on, made by DuckDB: the same rows for everybody, by row number.

A row is a function of its number, so a store of any size is the start of a larger one
and any row can be made again as a newer attempt at the same test.
"""

import os
import shutil
import subprocess
from pathlib import Path

MAIN = "test_results.parquet"
SECOND = 1_000_000  # microseconds

# Every canonical column of docs/format.md. Scores have three decimals; a test_id is
# random text of 36 characters, as a UUID is, and belongs to one cell.
ROWS = """
SELECT
    substr(h, 1, 8) || '-' || substr(h, 9, 4) || '-' || substr(h, 13, 4) || '-'
        || substr(h, 17, 4) || '-' || substr(h, 21, 12) AS test_id,
    'model-' || lpad((r % 12)::VARCHAR, 2, '0') AS model,
    ['simple_task', 'basic_task', 'data_pipeline', 'api_integration', 'multi_stage_pipeline'][1 + (r // 12) % 5]
        AS task_type,
    ['baseline', 'cot', 'optimal', 'flawed_a', 'flawed_b', 'flawed_c', 'flawed_d'][1 + (r // 60) % 7]
        AS prompt_type,
    ['easy', 'medium', 'hard'][1 + (r // 420) % 3] AS difficulty,
    [0.6, 0.7, 0.8, 0.9, 1.0][1 + (r // 1260) % 5]::DOUBLE AS tool_success_rate,
    (r // 6300) % 100 < 35 + 4 * (r % 12) AS success,
    (r // 6300) % 100 >= 85 AS partial_success,
    round(2 + (r // 630000) % 97 * 1.37 + (r % 1000) / 1000, 3) AS execution_time,
    (3 + r % 17)::BIGINT AS turns,
    (1 + (r // 17) % 23)::BIGINT AS tool_calls,
    round((r // 3) % 1001 / 1000, 3)::DOUBLE AS tool_coverage_rate,
    round((r // 5) % 1001 / 1000, 3)::DOUBLE AS workflow_score,
    round((r // 7) % 1001 / 1000, 3)::DOUBLE AS phase2_score,
    round((r // 11) % 1001 / 1000, 3)::DOUBLE AS quality_score,
    round((r // 13) % 1001 / 1000, 3)::DOUBLE AS final_score,
    CASE WHEN success THEN NULL
         ELSE ['timeout', 'tool_selection', 'parameter_config', 'sequence_order', 'max_turns'][1 + r % 5] END
        AS error_type,
    CASE WHEN success THEN NULL ELSE 'step ' || (r % 9) || ' of the plan failed' END AS error_message,
    (r // 60) % 7 > 2 AS is_flawed,
    CASE WHEN (r // 60) % 7 > 2 THEN 'flaw_' || ((r // 60) % 7) END AS flaw_type,
    'task_' || lpad((r % 500)::VARCHAR, 3, '0') AS task_id,
    'session_' || (n // 10000) AS session_id,
    make_timestamptz(1767225600000000 + n * 250000 + {later}) AS timestamp,
    (4000 + n % 50) || '_20260101_000000' AS process_id
FROM (SELECT n, (hash(n, 7) % 1000000007)::BIGINT AS r, md5('evaltop ' || n) AS h FROM {numbers} t(n))
"""


def connection():
    """DuckDB, with times in UTC."""
    import duckdb

    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    made.execute("SET enable_progress_bar = false")
    return made


def write(path, numbers, later=0, options=""):
    """Rows by number (any SQL that gives numbers), `later` microseconds newer, as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ROWS.format(numbers=numbers, later=later)
    connection().execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, COMPRESSION zstd {options})")


def increment(store, seq):
    """A name that the store's own writers give."""
    return store / "incremental" / f"increment_4242_20260101_000000_bench_0badcafe_{seq}.parquet"


def increments(store, start, files, each, numbers=None, later=0):
    """`files` increments of `each` rows: new ones from number `start` on, or those of a query."""
    con = connection()
    con.execute(
        "CREATE TABLE rows AS "
        + ROWS.format(numbers=numbers or f"range({start}, {start + files * each})", later=later)
    )
    (store / "incremental").mkdir(parents=True, exist_ok=True)
    for seq in range(files):
        con.execute(
            f"COPY (SELECT * FROM rows LIMIT {each} OFFSET {seq * each}) "
            f"TO '{increment(store, seq)}' (FORMAT parquet)"
        )


def recorded(store, start, files, each, evaltop):
    """`files` increments of `each` new rows from number `start` on, by `evaltop record`."""
    rows = ROWS.format(numbers=f"range({start}, {start + files * each})", later=0)
    con, lines = connection(), store / "lines"
    con.execute(f"CREATE TABLE rows AS {rows}")
    for seq in range(files):
        con.execute(f"COPY (SELECT * FROM rows LIMIT {each} OFFSET {seq * each}) TO '{lines}' (FORMAT json)")
        with lines.open("rb") as stdin:
            subprocess.run([evaltop, "record", store], stdin=stdin, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines.unlink()


def ours(folder, rows, evaltop):
    """A store with `rows` rows in a main that evaltop wrote; made once and kept."""
    store = folder / f"main_{rows}"
    if (store / MAIN).exists():
        return store
    making = folder / f"main_{rows}.making"
    shutil.rmtree(making, ignore_errors=True)
    step = 2_000_000
    for seq, start in enumerate(range(0, rows, step)):
        write(increment(making, seq), f"range({start}, {min(start + step, rows)})")
    subprocess.run([evaltop, "consolidate", making], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(making / "backups", ignore_errors=True)
    os.rename(making, store)
    return store


def by_pandas(source, to):
    """The same rows as pandas writes them."""
    import pandas

    to.parent.mkdir(parents=True, exist_ok=True)
    pandas.read_parquet(source).to_parquet(to, index=False)


def lines(to, count):
    """Rows as JSON lines, as a runner sends them."""
    rows = ROWS.format(numbers=f"range({count})", later=0)
    connection().execute(f"COPY ({rows}) TO '{to}' (FORMAT json)")


def copy(store, to):
    """The same store again for one run: hard links, which consolidate never writes through."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(store, to, copy_function=os.link)
    lock = to / (MAIN + ".lock")
    lock.unlink(missing_ok=True)
    return to
