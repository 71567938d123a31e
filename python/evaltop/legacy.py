"""The managers of the Python scripts that evaltop replaces, under their old names.

Scripts that import `parquet_cumulative_manager` and `parquet_data_manager` run unchanged once the
distribution `evaltop-legacy` is installed. What they write goes through evaltop's own writer:
asking deletes nothing, and no result is lost when many processes write at once.

`STORAGE_FORMAT=json` keeps the JSON database next to the store, as the old scripts did.
"""

from __future__ import annotations

import atexit
import os
import pathlib
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from . import _native
from ._errors import NoStoreError, UsageError
from ._store import Result, _needed
from ._store import open as open_store
from ._writer import Writer

#: The folder that the old scripts used.
DEFAULT_DIR = "pilot_bench_parquet_data"

_writers: dict[str, Writer] = {}
_mirrors: dict[tuple[int, str], _native.Mirror] = {}
_lock = threading.Lock()


def _writer(folder: str) -> Writer:
    """One writer a process and folder, however many managers a script makes."""
    with _lock:
        if folder not in _writers:
            _writers[folder] = Writer(folder)
        return _writers[folder]


def _mirror(folder: str) -> _native.Mirror:
    with _lock:
        key = (os.getpid(), folder)
        if key not in _mirrors:
            _mirrors[key] = _native.Mirror(folder)
        return _mirrors[key]


def _close() -> None:
    for writer in _writers.values():
        writer.close()
    for (pid, _), mirror in _mirrors.items():
        # Those of a parent process are the parent's to finish.
        if pid == os.getpid():
            mirror.finish()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    # The parent's lock may be held in the child by a thread that is not there.
    def _unlock() -> None:
        global _lock
        _lock = threading.Lock()

    os.register_at_fork(after_in_child=_unlock)


def _json_wanted() -> bool:
    wanted = os.environ.get("STORAGE_FORMAT", "").lower()
    if wanted not in ("", "parquet", "json"):
        raise UsageError(f"STORAGE_FORMAT is '{wanted}': it must be parquet or json")
    return wanted == "json"


class ParquetDataManager:
    """Appends, queries and consolidates; the old class of `parquet_data_manager`."""

    def __init__(self, data_dir: str | os.PathLike[str] = DEFAULT_DIR) -> None:
        self.data_dir = pathlib.Path(data_dir)
        self.incremental_dir = self.data_dir / "incremental"
        self.main_file = self.data_dir / "test_results.parquet"
        self._folder = os.path.abspath(self.data_dir)

    def append_test_result(self, test_data: Mapping[str, Any]) -> bool:
        """Add one result. It is durable when this returns."""
        return self.batch_append_results([test_data])

    def batch_append_results(self, results: Iterable[Mapping[str, Any]]) -> bool:
        """Add many results, acknowledged together."""
        records = [_record(result) for result in results]
        if records:
            # Ids of such rows stay random, as the old code's were: a repeat was one more test.
            _writer(self._folder)._open().append(records, False)
            self._mirror()
        return True

    def query_model_stats(
        self,
        model_name: str | None = None,
        prompt_type: str | None = None,
        tool_success_rate: float | None = None,
        difficulty: str | None = None,
    ) -> Any:
        """Counts and rates by model as a pandas.DataFrame. Asking changes nothing."""
        pandas = _needed("pandas")
        try:
            store = open_store(self._folder)
        except NoStoreError:
            return pandas.DataFrame()
        found: Result = store.query(
            group_by=["model"],
            model=model_name,
            prompt_type=prompt_type,
            tool_success_rate=tool_success_rate,
            difficulty=difficulty,
        )
        frame = pandas.DataFrame(found.to_dicts(), columns=found.columns)
        return frame.rename(columns={"tests": "total_tests"})

    def consolidate_incremental_data(self) -> int:
        """Merge the pending files into main; prints and returns the number of rows."""
        self._publish()
        try:
            done = open_store(self._folder, mode="a").consolidate()
        except NoStoreError:
            done = {}
        rows = int(done.get("rows_added", 0))
        print(f"consolidated {rows} rows")
        self._mirror()
        return rows

    def export_to_json(self, output_path: str | os.PathLike[str] | None = None) -> str:
        """Write the JSON database; returns its path."""
        if output_path is None:
            output_path = self.data_dir / "exported_results.json"
        open_store(self._folder).export(output_path, format="json", overwrite=True)
        return os.fspath(output_path)

    def _publish(self) -> None:
        if self._folder in _writers:
            _writers[self._folder].publish()

    def _mirror(self) -> None:
        if _json_wanted():
            _mirror(self._folder).changed()


class ParquetCumulativeManager(ParquetDataManager):
    """Adds results one by one; the old class of `parquet_cumulative_manager`."""

    def add_test_result(
        self,
        model: str,
        task_type: str | None = None,
        prompt_type: str | None = None,
        success: bool = False,
        execution_time: float | None = None,
        **fields: Any,
    ) -> bool:
        """Add one result; further keywords become columns."""
        return self.append_test_result(
            {
                "model": model,
                "task_type": task_type,
                "prompt_type": prompt_type,
                "success": success,
                "execution_time": execution_time,
                **fields,
            }
        )

    def add_test_result_with_classification(self, **fields: Any) -> bool:
        """The same under the old code's second name."""
        return self.add_test_result(**fields)

    def finalize(self) -> None:
        """Publish what was added; it was durable before."""
        self._publish()


def _record(result: Mapping[str, Any]) -> dict[str, Any]:
    record = dict(result)
    # Older names of two columns.
    for old, new in (("model_name", "model"), ("error", "error_message")):
        if old in record and record.get(new) is None:
            record[new] = record.pop(old)
    return record
