"""`export --format delta`, read back by delta-rs, Polars and DuckDB, and compared with the store."""

import json

import evaltop
from conftest import needed


def tallies(rows):
    found = {}
    for row in rows:
        tests, success = found.get(row["model"], (0, 0))
        found[row["model"]] = (tests + 1, success + bool(row["success"]))
    return found


def of_store(store):
    return {r["model"]: (r["tests"], r["success"]) for r in store.models().to_dicts()}


def read(table):
    deltalake, polars, duckdb = needed("deltalake"), needed("polars"), needed("duckdb")
    by_log = deltalake.DeltaTable(str(table)).to_pyarrow_table().to_pylist()
    by_polars = polars.read_delta(str(table)).to_dicts()
    manifest = json.loads((table / "_evaltop" / "manifest.json").read_text())
    parts = [str(table / part["path"]) for part in manifest["parts"]]
    by_parts = duckdb.read_parquet(parts, union_by_name=True).to_df().to_dict("records")
    assert tallies(by_log) == tallies(by_polars) == tallies(by_parts)
    return tallies(by_log)


def test_engines_see_what_the_store_counts(tmp_path):
    deltalake = needed("deltalake")
    table = tmp_path / "table"
    with evaltop.Writer(tmp_path / "s", session="x") as w:
        for model in ("a", "b"):
            w.record_many(
                {"model": model, "task_id": n, "success": n % 3 == 0, "timestamp": "2026-01-31T10:00:00Z"}
                for n in range(2_000)
            )
    store = evaltop.open(tmp_path / "s", mode="a")
    first = store.export(table, format="delta")
    assert (first["version"], first["rows"], first["added"]) == (0, 4_000, 1)
    assert read(table) == of_store(store)
    assert store.export(table, format="delta")["version"] == 0
    # Another run: ten tests are tried again, a column comes along, and the store is consolidated.
    with evaltop.Writer(tmp_path / "s", session="x") as w:
        w.record_many({"model": "a", "task_id": n, "success": True, "score": 0.5} for n in range(10))
        w.record_many({"model": "c", "task_id": n, "success": True} for n in range(5))
    store.consolidate()
    second = store.export(table, format="delta")
    assert (second["version"], second["rows"]) == (1, 4_005)
    assert read(table) == of_store(store)
    # What another program makes of the files is replaced, and a vacuum harms nothing.
    with evaltop.Writer(tmp_path / "s", session="x") as w:
        w.record_many({"model": "d", "task_id": n, "success": False} for n in range(5))
    assert store.export(table, format="delta")["added"] == 1
    deltalake.DeltaTable(str(table)).optimize.compact()
    compacted = set(deltalake.DeltaTable(str(table)).file_uris())
    deltalake.DeltaTable(str(table)).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False
    )
    assert read_log(table) == of_store(store)
    last = store.export(table, format="delta")
    assert last["rows"] == 4_010
    assert not compacted & set(deltalake.DeltaTable(str(table)).file_uris())
    assert read(table) == of_store(store)
    assert store.export(table, format="delta")["written"] == 0


def read_log(table):
    return tallies(needed("deltalake").DeltaTable(str(table)).to_pyarrow_table().to_pylist())


def test_a_log_with_a_checkpoint_is_read_by_others(tmp_path):
    needed("deltalake")
    table = tmp_path / "table"
    store = None
    for n in range(102):
        with evaltop.Writer(tmp_path / "s", session="x") as w:
            w.record(model="a", task_id=n, success=n % 2 == 0)
        store = store or evaltop.open(tmp_path / "s", mode="a")
        assert store.export(table, format="delta")["version"] == n
    assert (table / "_delta_log" / f"{100:020}.checkpoint.parquet").exists()
    assert read(table) == of_store(store)
    for n in range(100):
        (table / "_delta_log" / f"{n:020}.json").unlink()
    assert read(table) == of_store(store)
