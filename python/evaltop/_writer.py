"""The way in: a writer of records, safe in threads and across forks."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from . import _native
from ._errors import RecordError, StoreError, UsageError

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _fields(record: Any) -> dict[str, Any]:
    # Rows of sqlite3 and pandas are no mappings, and have keys. So has a DataFrame, of columns.
    if not (isinstance(record, Mapping) or hasattr(record, "keys")) or hasattr(record, "columns"):
        raise RecordError(
            f"record_many takes dictionaries, one a record, not {type(record).__name__}: "
            "of a DataFrame pass df.to_dict('records')"
        )
    return dict(record)


class Writer:
    """Adds records to a store. One a process is right; threads may share it.

    dir: the folder of the store, made where it is missing, or a mailbox: "s3://bucket/prefix",
        "gs://bucket/prefix", "az://container/prefix" or "file:///folder".
    session: `session_id` of the records that bring none.
    plan: how many tests the session means to run, for progress and the time left.
    meta: what else is worth keeping of the session, such as {"prompt": "v12"}; see `Store.sessions`.
    durability: what an acknowledged record survives: "process" (the death of any process) or
        "disk" (loss of power as well: each call waits for an fsync); of a mailbox also "remote"
        (loss of this machine: each call waits until the mailbox has the records).
    defaults: further fields of every record, such as model="opal-4".

    A record is durable when `record` returns. After a fork the child gets a writer of its own at
    its first record, and the parent's goes on.
    """

    def __init__(
        self,
        dir: str | os.PathLike[str],
        *,
        session: str | None = None,
        plan: int | None = None,
        meta: Mapping[str, Any] | None = None,
        durability: str = "process",
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        if durability not in ("process", "disk", "remote"):
            raise UsageError(
                f"durability is {durability!r}: it must be 'process', 'disk' or 'remote'"
            )
        named = os.fspath(dir)
        self._dir = named if "://" in named else os.path.abspath(named)
        self._session = session
        self._plan = plan
        self._meta = None if meta is None else dict(meta)
        self._durability = durability
        self._defaults = dict(defaults or {})
        self._lock = threading.RLock()
        self._native: _native.Writer | None = None
        self._closed = False
        self._warned = False
        self._open()
        _writers.add(self)

    def _open(self) -> _native.Writer:
        if self._closed:
            raise StoreError("the writer is closed")
        if self._native is None:
            worker = _is_worker()
            self._native = _native.Writer(
                self._dir, self._durability, self._session, self._defaults or None, worker
            )
            if worker:
                _end_with_worker()
            if self._plan is not None:
                self._native.plan(self._plan, self._session)
            if self._plan is not None or self._meta:
                self._native.describe(self._plan, self._meta)
        return self._native

    def _forked(self) -> None:
        """In a child: forget the parent's writer without publishing or unlocking anything."""
        if self._native is not None:
            # Dropping it would wait for a thread that only the parent has.
            _leaked.append(self._native)
            self._native = None
        self._lock = threading.RLock()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            with self._lock:
                if self._native is not None:
                    _say_why(self._native, value)
        self.close()

    @property
    def process_id(self) -> str:
        """The name of this writer: `<pid>_<YYYYmmdd_HHMMSS>`."""
        with self._lock:
            return self._open().process_id

    def record(self, **fields: Any) -> str:
        """Add one record and return its `test_id`. It is durable when this returns.

        `model` and one of `success`, `score` and `error_type` are needed; every other field is
        optional, and fields that evaltop does not know become columns. None, NaN and NaT are
        absent. numpy and pandas scalars, datetime, Decimal and enums are taken.

        Without `test_id` the id is made of session, cell, `task_id` and `trial` (0 where it is
        missing), so that a script that runs again adds nothing; the same test twice from one
        writer raises DuplicateTest. Without `task_id` ids are random.

        Raises RecordError for a field that can't be accepted, StoreError when nothing was
        written.
        """
        return self.record_many([fields])[0]

    def record_many(self, records: Iterable[Mapping[str, Any]]) -> list[str]:
        """Add records in one write, acknowledged together; return their ids in order.

        After an exception none of them is acknowledged.
        """
        rows = [record if type(record) is dict else _fields(record) for record in records]
        with self._lock:
            native = self._open()
            ids = native.append(rows, True)
            if not self._warned and native.random_ids:
                self._note_random()
        return ids

    async def arecord(self, **fields: Any) -> str:
        """Like `record`, without blocking the event loop where a record waits for an fsync."""
        if self._durability == "process":
            return self.record(**fields)
        import asyncio

        return await asyncio.to_thread(self.record, **fields)

    def _note_random(self) -> None:
        self._warned = True
        warnings.warn(
            "records without task_id or test_id get random ids: "
            "running this script again counts its tests again",
            stacklevel=4,
        )

    def test(self, *, on_error: str = "raise", **fields: Any) -> Test:
        """A test as a block: timed, recorded at its end.

            with w.test(model="m", task_id="t1") as t:
                t.success = ask() == "42"

        An exception becomes `error_type` and `error_message` and is raised again; with
        on_error="record" the program goes on. A cancelled block leaves no record. A block that
        sets nothing is an error.
        """
        if on_error not in ("raise", "record"):
            raise UsageError(f"on_error is {on_error!r}: it must be 'raise' or 'record'")
        return Test(self, fields, on_error)

    def fail(self, reason: str) -> None:
        """Say that this program fails, and why: its writer is shown as failed."""
        with self._lock:
            if self._native is not None:
                self._native.failed(reason)

    def publish(self) -> None:
        """Make an increment of what was added so far, and wait for it. Never needed for safety."""
        with self._lock:
            self._open().publish()

    def close(self) -> None:
        """Publish what is left and end. A second call does nothing."""
        with self._lock:
            native, self._native, self._closed = self._native, None, True
            if native is not None:
                native.close()


class Test:
    """One test in progress. Every attribute that is set becomes a field of its record."""

    __test__ = False  # pytest: not a class of tests

    def __init__(self, writer: Writer, fields: dict[str, Any], on_error: str) -> None:
        object.__setattr__(self, "_writer", writer)
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_on_error", on_error)
        object.__setattr__(self, "_begun", 0.0)
        object.__setattr__(self, "_retries", 0)
        object.__setattr__(self, "_waited", 0.0)
        object.__setattr__(self, "test_id", None)

    def __setattr__(self, name: str, value: Any) -> None:
        self._fields[name] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"the test has no field {name!r}") from None

    def retry(self, *, status: int | None = None, wait: float = 0.0) -> None:
        """Note that a request is tried again: its HTTP status, and the seconds it waits."""
        object.__setattr__(self, "_retries", self._retries + 1)
        self._writer._open().retry(*self._name, status, float(wait))
        object.__setattr__(self, "_waited", self._waited + float(wait))
        if status is not None:
            self._fields["last_retry_status"] = status

    @property
    def _name(self) -> tuple[str, str | None, str | None, int | None]:
        found = [self._fields.get(name) for name in ("model", "test_id", "task_id", "trial")]
        model, test, task, trial = found
        return (
            str(model or self._writer._defaults.get("model", "")),
            None if test is None else str(test),
            None if task is None else str(task),
            None if trial is None else int(trial),
        )

    def __enter__(self) -> Test:
        object.__setattr__(self, "_begun", time.monotonic())
        self._writer._open().begin(*self._name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        fields = dict(self._fields)
        if kind is not None and not issubclass(kind, Exception):
            self._writer._open().forget(*self._name)
            return False  # cancelled or interrupted: the test has no result
        fields.setdefault("execution_time", time.monotonic() - self._begun)
        if self._retries:
            fields.setdefault("retries", self._retries)
            fields.setdefault("retry_wait", self._waited)
        if kind is not None:
            fields.setdefault("success", False)
            fields.setdefault("error_type", kind.__name__)
            fields.setdefault("error_message", str(value))
        try:
            object.__setattr__(self, "test_id", self._writer.record(**fields))
        except BaseException:
            self._writer._open().forget(*self._name)
            raise
        return kind is not None and self._on_error == "record"

    async def __aenter__(self) -> Test:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        return self.__exit__(kind, value, trace)


def _say_why(native: _native.Writer, error: BaseException | None) -> None:
    """Say how a program ends that an exception ends."""
    kind = type(error).__name__
    if isinstance(error, SystemExit):
        if error.code in (None, 0):
            return
        # As shells have it: 128 and the signal that asked for it.
        if error.code in (130, 143):
            native.interrupted()
        else:
            code = error.code
            native.failed(f"exit status {code}" if isinstance(code, int) else str(code))
    elif isinstance(error, KeyboardInterrupt) or kind == "CancelledError":
        native.interrupted()
    elif not isinstance(error, GeneratorExit):
        native.failed(f"{kind}: {error}")


def _last_words() -> None:
    """The process ends: writers that were not closed say so, and how."""
    # A worker of multiprocessing is on its way out through its exception; the interpreter has
    # shown that of the main program.
    error = sys.exc_info()[1]
    if error is None and not hasattr(sys, "ps1"):
        error = getattr(sys, "last_value", None)
    for writer in list(_writers):
        native = writer._native
        if native is not None:
            if error is not None:
                _say_why(native, error)
            native.last_word()


def _is_worker() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _end_with_worker() -> None:
    """Workers of multiprocessing end without what is registered with atexit."""
    from multiprocessing import util

    if os.getpid() not in _ends_with:
        _ends_with.add(os.getpid())
        util.Finalize(None, _last_words, exitpriority=-100)


_ends_with: set[int] = set()
atexit.register(_last_words)

#: Writers of a parent process, kept so that nothing of them runs in a child.
_leaked: list[_native.Writer] = []


def _after_fork() -> None:
    writers = list(_writers)
    if not writers:
        return
    for writer in writers:
        writer._forked()
    # The child must not hold the parent's locks: a parent that is killed would look alive.
    folders = {os.path.join(os.path.realpath(writer._dir), "incremental") for writer in writers}
    for fd in _descriptors():
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        folder, base = os.path.split(name)
        if folder in folders and "journal_" in base:
            os.close(fd)


def _descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return []  # not Linux: the lock ends with the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

if sys.platform == "win32":  # pragma: no cover
    raise ImportError("evaltop runs on Linux and macOS")
