"""A pytest plugin: tests that ask a model record their result.

    def test_capital(evaltop_record):
        with evaltop_record(model="opal-4") as t:
            t.score = grade(ask("What is the capital of France?"))

`pytest --evaltop DIR` says where; without it nothing is recorded. The task's id is the test's
node id, so that a second run adds nothing. Works under pytest-xdist: a writer a process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest

from ._writer import Test, Writer

_WRITER = pytest.StashKey[Writer]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this plugin."""
    group = parser.getgroup("evaltop")
    group.addoption("--evaltop", metavar="DIR", help="record results in the store DIR")
    group.addoption("--evaltop-session", metavar="NAME", help="session_id of the results")


def pytest_configure(config: pytest.Config) -> None:
    """Open a writer in each process that runs tests."""
    folder = config.getoption("--evaltop")
    workers = getattr(config.option, "numprocesses", None)
    controller = workers and not hasattr(config, "workerinput")
    if folder and not controller:
        session = config.getoption("--evaltop-session")
        config.stash[_WRITER] = Writer(folder, session=session)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Publish what was recorded."""
    writer = config.stash.get(_WRITER, None)
    if writer is not None:
        writer.close()


class Recorder:
    """Makes a `Test` for each call; later ones of one pytest test are further trials."""

    def __init__(self, writer: Writer | None, task: str) -> None:
        self._writer = writer
        self._task = task
        self._trials: dict[Any, int] = {}

    def __call__(self, model: str, **fields: Any) -> Test:
        """A block whose fields are recorded: see `Writer.test`."""
        if self._writer is None:
            return _Unrecorded(None, {}, "raise")  # type: ignore[arg-type]
        fields = {"model": model, "task_id": self._task, **fields}
        key = (model, fields["task_id"])
        trial = self._trials.get(key, 0)
        self._trials[key] = trial + 1
        if trial:
            fields.setdefault("trial", trial)
        return self._writer.test(**fields)


class _Unrecorded(Test):
    """Takes the same fields where nothing is recorded."""

    def __enter__(self) -> Test:
        return self

    def __exit__(self, *_: Any) -> Literal[False]:
        return False

    def retry(self, *, status: int | None = None, wait: float = 0.0) -> None:
        """Nobody watches."""


@pytest.fixture
def evaltop_record(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """Record results of this test: see `evaltop.pytest_plugin`."""
    yield Recorder(request.config.stash.get(_WRITER, None), request.node.nodeid)
