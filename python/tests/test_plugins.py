"""The pytest plugin and the old names, each with the real thing."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys

import pytest

import evaltop
from conftest import needed

SUITE = """
import pytest

@pytest.mark.parametrize("n", range(6))
def test_one(evaltop_record, n):
    with evaltop_record(model="m") as t:
        t.success = n < 4
"""


def test_pytest_records_where_it_is_asked_to(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE)

    def suite(*args):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args],
            cwd=tmp_path, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    suite()
    assert not (tmp_path / "s").exists()
    for _ in range(2):
        suite("--evaltop", "s")
        totals = evaltop.open(tmp_path / "s").status()["totals"]
        assert (totals["tests"], totals["success"]) == (6, 4)


def test_pytest_records_from_several_processes(tmp_path):
    needed("xdist")
    (tmp_path / "test_suite.py").write_text(SUITE.replace("range(6)", "range(40)"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "3"]
    for _ in range(2):
        done = subprocess.run(
            [*command, "--evaltop", "s", "--evaltop-session", "x"],
            cwd=tmp_path, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    store = evaltop.open(tmp_path / "s")
    assert (store.status()["totals"]["tests"], store.status()["totals"]["success"]) == (40, 4)
    rows = store.query(columns=["process_id", "session_id"]).to_dicts()
    assert len({r["process_id"] for r in rows}) > 1 and {r["session_id"] for r in rows} == {"x"}


LEGACY = pathlib.Path(__file__).parent.parent / "legacy"


def old_worker(folder, worker):
    sys.path.insert(0, str(LEGACY))
    from parquet_cumulative_manager import ParquetCumulativeManager

    manager = ParquetCumulativeManager(folder)
    for n in range(10):
        assert manager.add_test_result(
            model="m", task_type="t", prompt_type="p", success=n % 2 == 0, execution_time=1.0,
            difficulty="easy", tool_success_rate=0.8, test_id=f"{worker}-{n}",
        )
    manager.finalize()
    return worker


def test_a_pool_of_old_scripts_loses_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(LEGACY))
    from parquet_data_manager import ParquetDataManager

    folder = str(tmp_path / "s")
    with concurrent.futures.ProcessPoolExecutor(50) as pool:
        assert len(list(pool.map(old_worker, [folder] * 50, range(50)))) == 50
    manager = ParquetDataManager(folder)
    needed("pandas")
    stats = manager.query_model_stats()
    assert list(stats["total_tests"]) == [500]
    assert list(manager.query_model_stats(model_name="m")["success"]) == [250]
    assert manager.consolidate_incremental_data() == 500
    assert "500" in capsys.readouterr().out
    assert list(manager.query_model_stats()["total_tests"]) == [500], "asking deletes nothing"
    assert manager.append_test_result({"model": "m", "success": True})
    assert manager.batch_append_results([{"model": "n", "success": False}])
    out = manager.export_to_json(tmp_path / "db.json")
    assert '"m"' in pathlib.Path(out).read_text()
    assert evaltop.open(folder).status()["totals"]["tests"] == 502


JSON_SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from parquet_cumulative_manager import ParquetCumulativeManager
manager = ParquetCumulativeManager(sys.argv[2])
for n in range(6):
    manager.add_test_result(model="m", task_type="t", prompt_type="p", success=n < 4, execution_time=1.0)
manager.finalize()
"""


def test_storage_format_is_honoured(tmp_path):
    def script(value):
        return subprocess.run(
            [sys.executable, "-c", JSON_SCRIPT, str(LEGACY), "s"], cwd=tmp_path,
            env={**os.environ, "STORAGE_FORMAT": value}, capture_output=True, text=True,
        )

    assert script("parquet").returncode == 0
    before = {p for p in tmp_path.rglob("*.json") if p.parent.name != "live"}
    assert script("json").returncode == 0
    new = {p for p in tmp_path.rglob("*.json") if p.parent.name != "live"} - before
    assert any('"m"' in p.read_text() for p in new), new
    assert evaltop.open(tmp_path / "s").status()["totals"]["tests"] == 12
    wrong = script("xml")
    assert wrong.returncode != 0 and "STORAGE_FORMAT" in wrong.stderr
