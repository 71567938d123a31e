"""top for evaluations: record, query and watch the results of long LLM-benchmark runs.

    import evaltop

    with evaltop.Writer("store", session="monday") as w:
        w.record(model="opal-4", task_id="gpqa-17", success=True)
    evaltop.open("store").query(group_by=["model"])
"""

from ._errors import (
    DuplicateTest,
    Error,
    LockedError,
    NoStoreError,
    RecordError,
    StoreError,
    UsageError,
)
from ._native import __version__
from ._store import Result, Status, Store, open
from ._writer import Test, Writer

__all__ = [
    "DuplicateTest",
    "Error",
    "LockedError",
    "NoStoreError",
    "RecordError",
    "Result",
    "Status",
    "Store",
    "StoreError",
    "Test",
    "UsageError",
    "Writer",
    "__version__",
    "open",
]
