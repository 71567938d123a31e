"""A hook of Inspect (`inspect_ai`) that records samples while an evaluation runs.

Inspect finds it by its entry point; it is active where `EVALTOP_INSPECT_DIR` names a store:

    EVALTOP_INSPECT_DIR=~/runs/nightly inspect eval my_task.py --model openai/gpt-4o

Each sample becomes the record that `evaltop import` makes of it, under the same id, so that hook
and import count once. Samples in flight, retries with their waits, attempts that failed, and the
plan (samples times epochs) are on the dashboard while the evaluation runs. Inside `evaltop run`,
which records results itself, the hook is off.

The event loop only puts what happened into a queue; a thread writes it.
"""

from __future__ import annotations

import atexit
import datetime
import json
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from inspect_ai.hooks import (
    EvalSetEnd,
    EvalSetStart,
    Hooks,
    ModelRetry,
    RunEnd,
    RunStart,
    SampleAttemptEnd,
    SampleEnd,
    SampleStart,
    TaskStart,
    hooks,
)
from pydantic_core import to_json

from . import _native
from ._writer import Writer

_log = logging.getLogger(__name__)

#: What the importer reads of a sample, but its scores, error, messages and events.
_SAMPLE = (
    "id",
    "epoch",
    "metadata",
    "limit",
    "model_usage",
    "total_time",
    "working_time",
    "started_at",
    "completed_at",
)
#: And of the evaluation.
_EVALUATION: Any = {
    "task": True,
    "model": True,
    "task_id": True,
    "run_id": True,
    "eval_set_id": True,
    "solver": True,
    "created": True,
    "scorers": {"__all__": {"name"}},
}


@hooks(name="evaltop", description="records samples in the evaltop store EVALTOP_INSPECT_DIR")
class EvaltopHooks(Hooks):
    """Puts what happens to samples into the queue of a recorder."""

    def __init__(self) -> None:
        self._recorder: _Recorder | None = None
        #: Runs and sets of runs that are open.
        self._open = 0
        self._failure: str | None = None
        self._broken = False

    def enabled(self) -> bool:
        """Where a store is named, and `evaltop run` does not record the result itself."""
        named = bool(os.environ.get("EVALTOP_INSPECT_DIR"))
        return named and "EVALTOP_TEST_ID" not in os.environ and not self._broken

    async def on_eval_set_start(self, data: EvalSetStart) -> None:
        """One writer serves all runs of a set."""
        self._begin()

    async def on_eval_set_end(self, data: EvalSetEnd) -> None:
        """Finish the writer."""
        await self._end()

    async def on_run_start(self, data: RunStart) -> None:
        """Open the writer."""
        self._begin()

    async def on_run_end(self, data: RunEnd) -> None:
        """Say how the run ended."""
        if data.exception is not None:
            self._failure = f"{type(data.exception).__name__}: {data.exception}"
        else:
            failed = [log for log in data.logs if log.status == "error"]
            # A run of a set that goes well takes the place of one that did not.
            self._failure = _reason(failed[0]) if failed else None
        await self._end()

    async def on_task_start(self, data: TaskStart) -> None:
        """Learn what all samples of the task share, and how many there will be."""
        spec = data.spec
        shared = spec.model_dump_json(include=_EVALUATION, exclude_none=True)
        # With a limit, `samples` is still the size of the whole data set.
        chosen = spec.dataset.sample_ids
        samples = spec.dataset.samples if chosen is None else len(chosen)
        tests = (samples or 0) * (spec.config.epochs or 1)
        self._say(lambda recorder: recorder.task(data.eval_id, shared, spec.task_id, tests))

    async def on_sample_start(self, data: SampleStart) -> None:
        """A sample is in flight."""
        summary, log = data.summary, _log_location()
        self._say(
            lambda recorder: recorder.start(
                data.eval_id, data.sample_id, summary.id, summary.epoch, log
            )
        )

    async def on_model_retry(self, data: ModelRetry) -> None:
        """A request of a sample is tried again."""
        sample, status, wait = data.sample_id, data.status_code, data.wait_time
        self._say(lambda recorder: recorder.retry(sample, status, wait))

    async def on_sample_attempt_end(self, data: SampleAttemptEnd) -> None:
        """An attempt that failed and is followed by another one is a record too."""
        if not data.will_retry or data.error is None:
            return
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        cut = {
            "id": data.summary.id,
            "epoch": data.summary.epoch,
            # The difficulty is among it, and with it the test's cell.
            "metadata": data.summary.metadata,
            "error": {"message": data.error.message},
            "completed_at": now,
        }
        self._say(lambda recorder: recorder.attempt(data.eval_id, data.sample_id, cut))

    async def on_sample_end(self, data: SampleEnd) -> None:
        """A sample has its result."""
        sample = data.sample
        self._say(lambda recorder: recorder.sample(data.eval_id, data.sample_id, sample))

    def _begin(self) -> None:
        self._open += 1
        if self._recorder is None:
            try:
                self._recorder = _Recorder(os.environ["EVALTOP_INSPECT_DIR"])
            except Exception as error:
                # Said once; the evaluation goes on, and its log can be imported.
                self._broken = True
                _log.warning("evaltop records nothing of this evaluation: %s", error)

    async def _end(self) -> None:
        self._open = max(0, self._open - 1)
        if self._open == 0 and self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            failure, self._failure = self._failure, None
            await _in_thread(lambda: recorder.close(failure))

    def _say(self, what: Callable[[_Recorder], None]) -> None:
        if self._recorder is None:
            # A task without a run: events of a run that began before the hook was active.
            self._begin()
        if self._recorder is not None:
            self._recorder.put(what)


class _Recorder:
    """Writes what the hook says, on a thread of its own."""

    def __init__(self, folder: str) -> None:
        self._writer = Writer(os.path.expanduser(folder))
        self._queue: queue.SimpleQueue[Callable[[_Recorder], None] | None] = queue.SimpleQueue()
        #: By the id of the evaluation: its header, and where its log is.
        self._tasks: dict[str, str] = {}
        self._logs: dict[str, str | None] = {}
        #: By the id of the sample: model, test, task and trial, and its retries.
        self._names: dict[str, tuple[str, str | None, str | None, int | None]] = {}
        self._retries: dict[str, tuple[int, float, int | None]] = {}
        #: Tests by the id of the task, which stays through retries; and their sessions.
        self._plan: dict[str, int] = {}
        self._sessions: set[str] = set()
        self._failed = 0
        self._thread = threading.Thread(target=self._work, name="evaltop-inspect", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def put(self, what: Callable[[_Recorder], None]) -> None:
        self._queue.put(what)

    def close(self, failure: str | None = None) -> None:
        """Write what is left and end. A second call does nothing."""
        atexit.unregister(self.close)
        if not self._thread.is_alive():
            return
        self._queue.put(None)
        self._thread.join()
        if self._failed:
            _log.warning(
                "%d samples were not recorded: `evaltop import` takes them from the log",
                self._failed,
            )
        if failure is not None:
            self._writer.fail(failure)
        self._writer.close()

    def _work(self) -> None:
        while (what := self._queue.get()) is not None:
            try:
                what(self)
            except Exception as error:
                # An evaluation goes on without its record; the log has the sample.
                if self._failed == 0:
                    _log.warning("a sample was not recorded: %s", error)
                self._failed += 1

    def task(self, evaluation: str, shared: str, task: str, tests: int) -> None:
        self._tasks[evaluation] = f'{{"eval":{shared}}}'
        self._plan[task] = tests
        found = json.loads(shared)
        self._sessions.add(found.get("eval_set_id") or task)
        session = next(iter(self._sessions)) if len(self._sessions) == 1 else None
        self._writer._open().plan(sum(self._plan.values()), session)

    def start(
        self, evaluation: str, sample: str, id: int | str, epoch: int, log: str | None
    ) -> None:
        self._logs.setdefault(evaluation, log)
        fields = self._fields(evaluation, to_json({"id": id, "epoch": epoch}))
        name = (fields["model"], fields["test_id"], fields.get("task_id"), fields.get("trial"))
        self._names[sample] = name
        self._writer._open().begin(*name)

    def retry(self, sample: str | None, status: int | None, wait: float) -> None:
        if sample is None or sample not in self._names:
            return
        count, waited, _ = self._retries.get(sample, (0, 0.0, None))
        self._retries[sample] = (count + 1, waited + wait, status)
        self._writer._open().retry(*self._names[sample], status, wait)

    def attempt(self, evaluation: str, sample: str, cut: dict[str, Any]) -> None:
        self._record(evaluation, sample, to_json(cut))
        if sample in self._names:
            self._writer._open().begin(*self._names[sample])

    def sample(self, evaluation: str, sample: str, found: Any) -> None:
        self._record(evaluation, sample, _sample(found))
        self._names.pop(sample, None)

    def _record(self, evaluation: str, sample: str, text: bytes) -> None:
        fields = self._fields(evaluation, text)
        if sample in self._retries:
            count, waited, status = self._retries.pop(sample)
            fields.update(retries=count, retry_wait=waited, last_retry_status=status)
        self._writer.record(**fields)

    def _fields(self, evaluation: str, sample: bytes) -> dict[str, Any]:
        header = self._tasks[evaluation].encode()
        text = _native.inspect_record(header, self._logs.get(evaluation), sample)
        fields: dict[str, Any] = json.loads(text)
        return fields


def _sample(found: Any) -> bytes:
    """A sample as JSON, as far as the importer reads it."""
    # Of messages only the role and the number of calls count.
    turns = [
        {"role": message.role, "tool_calls": [0] * len(getattr(message, "tool_calls", None) or ())}
        for message in found.messages
    ]
    known: dict[str, Any] = {name: getattr(found, name, None) for name in _SAMPLE}
    if found.scores is not None:
        known["scores"] = {name: {"value": score.value} for name, score in found.scores.items()}
    if found.error is not None:
        known["error"] = {"message": found.error.message}
    known["messages"] = turns
    # As the log is written; what has no JSON is null there too.
    return to_json(known, exclude_none=True, fallback=lambda _: None)


def _log_location() -> str | None:
    """Where the log of the sample that runs now will be, where Inspect says so."""
    try:
        from inspect_ai.log._samples import sample_active

        active = sample_active()
        return None if active is None else str(active.log_location)
    except Exception:
        return None


def _reason(log: Any) -> str:
    message = log.error.message if log.error is not None else "the evaluation failed"
    return f"{log.eval.task}: {message}"


async def _in_thread(work: Callable[[], None]) -> None:
    """Without holding up the event loop, whichever of Inspect's two it is."""
    import anyio.to_thread

    await anyio.to_thread.run_sync(work)
