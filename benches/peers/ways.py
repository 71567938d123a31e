"""The peers' ways to do what evaltop does: `ways.py NAME STORE [OUT]`, each its own cold process."""

import glob
import sys

STORE = sys.argv[2] if len(sys.argv) > 2 else "."
OUT = sys.argv[3] if len(sys.argv) > 3 else ""
MAIN = f"{STORE}/test_results.parquet"
WAITING = f"{STORE}/incremental/increment_*.parquet"
ALL = f"""
    SELECT * FROM read_parquet('{MAIN}') ANTI JOIN (SELECT test_id FROM read_parquet('{WAITING}')) USING (test_id)
    UNION ALL BY NAME
    SELECT * FROM read_parquet('{WAITING}')
    QUALIFY row_number() OVER (PARTITION BY test_id ORDER BY timestamp DESC) = 1
"""
CELL = "model = 'model-03' AND prompt_type = 'cot' AND round(tool_success_rate, 4) = 0.8"


def duckdb(sql):
    import duckdb

    con = duckdb.connect()
    con.execute("SET preserve_insertion_order = false")
    return con.execute(sql).fetchall()


def duckdb_consolidate():
    duckdb(f"COPY ({ALL}) TO '{OUT}' (FORMAT parquet)")


def pandas_consolidate():
    import pandas

    parts = [pandas.read_parquet(path) for path in [MAIN, *sorted(glob.glob(WAITING))]]
    whole = pandas.concat(parts, ignore_index=True).sort_values("timestamp", kind="stable")
    whole.drop_duplicates("test_id", keep="last").to_parquet(OUT, index=False)


def copy_and_sync():
    import os
    import shutil

    shutil.copyfile(MAIN, OUT)
    with open(OUT, "rb") as copied:
        os.fsync(copied.fileno())


GROUPS = """
    model, count(*) AS tests, count_if(success) AS success,
    count_if(partial_success AND NOT success) AS partial, avg(execution_time) AS mean
"""


def duckdb_status():
    duckdb(f"SELECT {GROUPS} FROM ({ALL}) GROUP BY model")


def duckdb_status_of_main():
    duckdb(f"SELECT {GROUPS} FROM read_parquet('{MAIN}') GROUP BY model")


def duckdb_query():
    duckdb(f"COPY (SELECT * FROM read_parquet('{MAIN}') WHERE {CELL}) TO '{OUT}' (FORMAT parquet)")


def duckdb_query_all():
    duckdb(f"COPY (SELECT * FROM ({ALL}) WHERE {CELL}) TO '{OUT}' (FORMAT parquet)")


def duckdb_group_by_two():
    duckdb(
        "SELECT task_id, error_type, count(*), avg(execution_time), max(turns), sum(tool_calls) "
        f"FROM ({ALL}) GROUP BY ALL"
    )


def pandas_query():
    import pandas

    rows = pandas.read_parquet(MAIN)
    chosen = (rows.model == "model-03") & (rows.prompt_type == "cot") & (rows.tool_success_rate.round(4) == 0.8)
    rows[chosen].to_parquet(OUT, index=False)


def duckdb_export_parquet():
    duckdb(f"COPY (SELECT * FROM read_parquet('{MAIN}')) TO '{OUT}' (FORMAT parquet)")


def duckdb_export_csv():
    duckdb(f"COPY (SELECT * FROM read_parquet('{MAIN}')) TO '{OUT}' (FORMAT csv)")


def duckdb_export_jsonl():
    duckdb(f"COPY (SELECT * FROM read_parquet('{MAIN}')) TO '{OUT}' (FORMAT json)")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
