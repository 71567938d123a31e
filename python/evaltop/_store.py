"""The way out: a store's status, queries and maintenance."""

from __future__ import annotations

import html
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from . import _native
from ._errors import UsageError

#: Rows that a notebook shows of a result.
_SHOWN = 20


class Result:
    """Rows of a query. Reads as often as you like, by anything that knows Arrow:
    `pl.DataFrame(r)`, `pd.DataFrame.from_arrow(r)`, `duckdb.sql("from r")`, `pyarrow.table(r)`.
    """

    def __init__(self, table: _native.Table) -> None:
        self._table = table

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self._table.columns

    def __len__(self) -> int:
        return len(self._table)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self._table.__arrow_c_schema__()

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries; times are texts in UTC."""
        rows: list[dict[str, Any]] = json.loads(self._table.json())
        return rows

    def to_pandas(self) -> Any:
        """The rows as a pandas.DataFrame. Needs pandas and pyarrow."""
        pyarrow = _needed("pyarrow", "pandas")
        return pyarrow.table(self).to_pandas()

    def to_polars(self) -> Any:
        """The rows as a polars.DataFrame. Needs polars."""
        return _needed("polars").DataFrame(self)

    def __repr__(self) -> str:
        return f"<evaltop.Result: {len(self)} rows of {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in self.columns) + "</tr>"
            for row in json.loads(self._table.json(_SHOWN))
        )
        more = len(self) - _SHOWN
        note = f"<p>and {more:,} more rows</p>" if more > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


class Status(dict[str, Any]):
    """`evaltop status --format json` as a dictionary; see the guide for its keys."""

    @property
    def health(self) -> str:
        """"healthy", "warning" or "critical"."""
        return str(self["health"])

    def _repr_html_(self) -> str:
        totals = self["totals"]
        rate = totals["success_rate"]
        shown = "–" if rate is None else f"{100 * rate:.1f} %"
        text = f"{self['store']}: {self.health}, {totals['tests']:,} tests, success {shown}"
        return f"<p>{html.escape(text)}</p>"


class Store:
    """A store that is there. Made by `evaltop.open`."""

    def __init__(self, dir: str | os.PathLike[str], mode: str = "r") -> None:
        if mode not in ("r", "a"):
            raise UsageError(f"mode is {mode!r}: it must be 'r' (read) or 'a' (maintain too)")
        named = os.fspath(dir)
        self._dir = named if "://" in named else os.path.abspath(named)
        self._mode = mode
        self.status()

    @property
    def path(self) -> str:
        """The folder of the store."""
        return self._dir

    def status(self) -> Status:
        """What the store holds now, each test once. Takes no lock and writes nothing."""
        return Status(json.loads(_native.status(self._dir)))

    def models(self) -> Result:
        """Tests, successes and rates with 95 % intervals, a row a model."""
        return self.query(group_by=["model"])

    def query(
        self,
        *,
        group_by: Sequence[str] | str = (),
        agg: Sequence[str] | str = (),
        where: str | None = None,
        metric: str | None = None,
        columns: Sequence[str] | str = (),
        sort: Sequence[str] | str = (),
        limit: int | None = None,
        top: int | None = None,
        **filters: Any,
    ) -> Result:
        """Rows, or with `group_by` a row a group: counts and success rates (0 to 1).

        agg: further columns of a group, such as ["mean(score)", "sum(cost)", "p95(execution_time)"].
        where: an expression over the columns, such as "score >= 0.5 and difficulty == 'hard'".
        metric: the column that rates and intervals are of (success where it is missing).

        Filters are the options of `evaltop query` with underscores: model="opal-4",
        difficulty=["easy", "hard"], since="2h", until="2026-11-29T12:00:00Z".
        """
        args = [self._dir]
        if where is not None:
            args.append(f"--where={where}")
        if metric is not None:
            args.append(f"--metric={metric}")
        for name, value in (("group-by", group_by), ("agg", agg), ("columns", columns), ("sort", sort)):
            names = [value] if isinstance(value, str) else list(value)
            if names:
                args.append(f"--{name}={','.join(names)}")
        for name, number in (("limit", limit), ("top", top)):
            if number is not None:
                args.append(f"--{name}={int(number)}")
        return Result(_native.query(args + _options(filters)))

    def compare(
        self,
        *values: str,
        by: str = "model",
        baseline: str | None = None,
        flipped: bool = False,
        **filters: Any,
    ) -> dict[str, Any]:
        """Compare values of a column on the tests that both had: `evaltop compare --format json`.

        Without values, all that there are. by="session" compares sessions, of which
        baseline="previous" names the one before the latest. Rates are 0 to 1.
        """
        args = [self._dir, *values, f"--by={by}"]
        if baseline is not None:
            args.append(f"--baseline={baseline}")
        if flipped:
            args.append("--flipped")
        text, _ = _native.compare(args + _options(filters))
        found: dict[str, Any] = json.loads(text)
        return found

    def sessions(self) -> list[dict[str, Any]]:
        """What writers said of their sessions: `session`, `plan` and `meta`, by the session's name.

        Writers that said different things of one session are one entry: the largest plan, and the
        metadata of all."""
        found: dict[str | None, dict[str, Any]] = {}
        for note in json.loads(_native.sessions(self._dir)):
            name = note.get("session")
            entry = found.setdefault(name, {"session": name, "plan": None, "meta": {}})
            entry["plan"] = max(filter(None, (entry["plan"], note.get("plan"))), default=None)
            entry["meta"].update(note.get("meta", {}))
        return sorted(found.values(), key=lambda entry: str(entry["session"] or ""))

    def missing(
        self,
        plan: str | os.PathLike[str] | Iterable[Mapping[str, Any]],
        *,
        shard: tuple[int, int] | str | None = None,
        session: str | None = None,
        failed: bool = False,
        infra: bool = False,
    ) -> list[dict[str, Any]]:
        """The tests of a plan that the store does not have yet, in the plan's order.

        plan: dictionaries with `model`, `task_id` and whatever else names a test, or a file of
            them (JSON lines, CSV). A test is there under its `test_id`, the id that a Writer makes
            of `task_id` and `trial`, or the id that `evaltop run` gives it.
        shard: one part of the plan, such as (1, 8), counted from 1. The plan is divided first and
            what is done is left out then, so parts may start at any time.
        session: the session whose tests count.
        failed, infra: also tests whose newest attempt failed, or was failed by the infrastructure.
        """
        if isinstance(plan, (str, os.PathLike)):
            return self._missing(os.fspath(plan), shard, session, failed, infra)
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
            rows = 0
            for row in plan:
                file.write(_native.json_line(dict(row)) + "\n")
                rows += 1
            file.flush()
            if rows == 0:
                return []
            return self._missing(file.name, shard, session, failed, infra)

    def _missing(
        self,
        plan: str,
        shard: tuple[int, int] | str | None,
        session: str | None,
        failed: bool,
        infra: bool,
    ) -> list[dict[str, Any]]:
        args = [self._dir, f"--plan={plan}"]
        if shard is not None:
            args.append(f"--shard={shard if isinstance(shard, str) else '%d/%d' % shard}")
        if session is not None:
            args.append(f"--session={session}")
        if failed:
            args.append("--failed")
        if infra:
            args.append("--infra")
        found: list[dict[str, Any]] = json.loads(_native.missing(args))
        return found

    def report(
        self,
        output: str | os.PathLike[str] = "report.html",
        *,
        session: str | None = None,
        baseline: str | None = None,
        with_texts: bool = False,
        overwrite: bool = True,
        **filters: Any,
    ) -> str:
        """Write what the store says as one file to send; return its path.

        HTML, or Markdown where the name ends with `.md`. session and baseline are names of
        sessions, "latest" or "previous"; with_texts adds error messages, file names and links.
        """
        path = os.path.abspath(os.fspath(output))
        args = [self._dir, f"--output={path}"]
        if session is not None:
            args.append(f"--session={session}")
        if baseline is not None:
            args.append(f"--baseline={baseline}")
        if with_texts:
            args.append("--with-texts")
        if overwrite:
            args.append("--yes")
        _native.report(args + _options(filters))
        return path

    def plot(self, *, by: str = "model", metric: str | None = None, ax: Any = None, **filters: Any) -> Any:
        """Rates with their 95 % intervals by a column, best first, as matplotlib axes.

        metric: the column whose mean is drawn (success where it is missing).
        ax: the axes to draw on; new ones where it is missing. Needs matplotlib.
        """
        pyplot = _needed("matplotlib.pyplot", install="matplotlib")
        rows = self.query(group_by=[by], metric=metric, **filters).to_dicts()
        value, low, high = _interval(metric)
        rows = [row for row in rows if row.get(value) is not None]
        rows.sort(key=lambda row: float(row[value]))
        if ax is None:
            _, ax = pyplot.subplots(figsize=(7, 1 + 0.3 * len(rows)))
        for place, row in enumerate(rows):
            if row.get(low) is not None:
                ax.plot([row[low], row[high]], [place, place], color="0.6", zorder=1)
            ax.plot([row[value]], [place], "o", color="C0", zorder=2)
        ax.set_yticks(range(len(rows)), [str(row.get(by)) for row in rows])
        ax.set_ylim(-0.5, max(len(rows), 1) - 0.5)
        ax.set_xlabel(metric or "success rate")
        ax.set_title(f"{metric or 'success'} by {by}, 95 % intervals")
        if metric is None:
            ax.set_xlim(0, 1)
        ax.grid(axis="x", alpha=0.3)
        return ax

    def follow(self, every: float = 2.0) -> Iterator[Status]:
        """A status now, and another whenever it changed; looks every `every` seconds."""
        last: Status | None = None
        while True:
            status = self.status()
            if status != last:
                last = status
                yield status
            time.sleep(every)

    def consolidate(self) -> dict[str, Any]:
        """Merge the pending files into main; return what was done. Needs mode="a"."""
        return self._job("consolidate", self._dir)

    def backup(self) -> dict[str, Any]:
        """Copy main into `backups/`; return its name and size. Needs mode="a"."""
        return self._job("backup", self._dir)

    def validate(self) -> dict[str, Any]:
        """Check every file of the store; return what was found."""
        return self._run("validate", self._dir)

    def export(
        self,
        output: str | os.PathLike[str],
        *,
        format: str | None = None,
        overwrite: bool = False,
        **filters: Any,
    ) -> dict[str, Any]:
        """Write all rows, or those that the filters mean, to a file (.parquet, .csv, .jsonl, .json)."""
        args = [self._dir, "-o", os.fspath(output), *_options(filters)]
        if format is not None:
            args.append(f"--format={format}")
        if overwrite:
            args.append("--yes")
        return self._run("export", *args)

    def _job(self, name: str, *args: str) -> dict[str, Any]:
        if self._mode != "a":
            raise UsageError(f"{name} changes the store: open it with mode='a'")
        return self._run(name, *args)

    def _run(self, name: str, *args: str) -> dict[str, Any]:
        outcome: dict[str, Any] = json.loads(_native.job([name, *args]))
        return outcome

    def __repr__(self) -> str:
        return f"evaltop.open({self._dir!r}, mode={self._mode!r})"


def open(dir: str | os.PathLike[str], mode: str = "r") -> Store:
    """Open a store that is there. mode="r" takes no lock and writes nothing; mode="a" may
    consolidate, back up and export too. Raises NoStoreError where there is none."""
    return Store(dir, mode)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _options(filters: dict[str, Any]) -> list[str]:
    args = []
    for name, value in filters.items():
        values = value if isinstance(value, (list, tuple, set)) else [value]
        for one in values:
            if one is not None and one is not False:
                flag = f"--{name.replace('_', '-')}"
                args.append(flag if one is True else f"{flag}={one}")
    return args


def _interval(metric: str | None) -> tuple[str, str, str]:
    """The columns of a group's value and of its interval."""
    if metric is None:
        return "success_rate", "ci_low", "ci_high"
    return f"mean_{metric}", f"ci_low_{metric}", f"ci_high_{metric}"


def _needed(*modules: str, install: str | None = None) -> Any:
    import importlib

    found = []
    for module in modules:
        try:
            found.append(importlib.import_module(module))
        except ImportError:
            names = install or " ".join(modules)
            raise ImportError(
                f"this needs {names.replace(' ', ' and ')}: pip install {names}"
            ) from None
    return found[0]
