"""A store through the module: what goes in comes out, for every library that reads it."""

import datetime
import decimal
import enum
import json
import os
import sqlite3
import subprocess
import sys

import pytest

import evaltop
from conftest import needed


def test_records_come_back(tmp_path):
    with evaltop.Writer(tmp_path / "s", session="monday") as w:
        for n in range(10):
            w.record(model="m", task_id=f"t{n}", success=n < 7, execution_time=1.5)
    store = evaltop.open(tmp_path / "s")
    status = store.status()
    assert status["totals"]["tests"] == 10
    assert status["totals"]["success"] == 7
    (row,) = store.models().to_dicts()
    assert row["model"] == "m" and row["tests"] == 10
    rows = store.query(columns=["task_id", "session_id"]).to_dicts()
    assert {r["session_id"] for r in rows} == {"monday"}


def test_a_result_reads_twice_by_everything(tmp_path):
    duckdb = needed("duckdb")
    polars = needed("polars")
    pandas = needed("pandas")
    pyarrow = needed("pyarrow")
    with evaltop.Writer(tmp_path / "s") as w:
        w.record_many({"model": "m", "task_id": str(n), "success": True} for n in range(1000))
    r = evaltop.open(tmp_path / "s").query()
    for _ in range(2):
        assert len(polars.DataFrame(r)) == 1000
        assert len(pyarrow.table(r)) == 1000
        assert duckdb.sql("select count(*) from r").fetchall() == [(1000,)]
        assert len(r.to_pandas()) == 1000
    if hasattr(pandas.DataFrame, "from_arrow"):
        assert len(pandas.DataFrame.from_arrow(r)) == 1000
    assert "<table>" in r._repr_html_()


def test_a_script_that_runs_again_adds_nothing(tmp_path):
    def script():
        with evaltop.Writer(tmp_path / "s", session="x") as w:
            for n in range(5):
                w.record(model="m", task_id=n, success=True)
            w.record(model="m", task_id=0, trial=1, success=False)

    script()
    script()
    assert evaltop.open(tmp_path / "s").status()["totals"]["tests"] == 6


def test_the_same_test_twice_from_one_writer_is_refused(tmp_path):
    with evaltop.Writer(tmp_path / "s") as w:
        w.record(model="m", task_id="t", success=True)
        with pytest.raises(evaltop.DuplicateTest, match="trial=1"):
            w.record(model="m", task_id="t", success=True)
        w.record(model="m", task_id="t", trial=1, success=True)
        w.record(model="other", task_id="t", success=True)


def test_without_task_id_a_note_says_what_that_means(tmp_path):
    with evaltop.Writer(tmp_path / "s") as w:
        with pytest.warns(UserWarning, match="random ids"):
            w.record(model="m", success=True)


class Verdict(enum.Enum):
    YES = True


class Level(enum.IntEnum):
    TWO = 2


def test_values_of_every_kind_are_taken(tmp_path):
    numpy = needed("numpy")
    pandas = needed("pandas")
    at = datetime.datetime(2026, 11, 29, 12, 0, 0, 250_000, tzinfo=datetime.timezone.utc)
    with evaltop.Writer(tmp_path / "s") as w:
        w.record(
            model="m", task_id="1", success=numpy.bool_(True), turns=numpy.int64(3),
            execution_time=numpy.float32(0.5), timestamp=at, a=decimal.Decimal("0.1"),
            b=decimal.Decimal("0.1000000000000000000000001"), c=float("nan"), d=pandas.NaT,
            e=pandas.NA, f=None, g=Level.TWO, h=numpy.array([1, 2]), i={"k": [1, None]},
            j="lone \ud800 surrogate",
        )
        w.record(
            model="m", task_id="2", success=Verdict.YES,
            timestamp=pandas.Timestamp("2026-11-29T12:00:01Z"),
        )
        w.record(
            model="m", task_id="3", success=True,
            timestamp=numpy.datetime64("2026-11-29T12:00:02.000000001"),
        )
    rows = {r["task_id"]: r for r in evaltop.open(tmp_path / "s").query().to_dicts()}
    one = rows["1"]
    assert one["success"] is True and one["turns"] == 3 and one["execution_time"] == 0.5
    assert one["timestamp"].startswith("2026-11-29T12:00:00.25")
    assert one["a"] == 0.1 and one["b"] == "0.1000000000000000000000001"
    assert all(one.get(name) is None for name in "cdef")
    assert one["g"] == 2 and "\ufffd" in one["j"]
    assert rows["2"]["timestamp"].startswith("2026-11-29T12:00:01")


def test_plain_values_are_what_they_are_through_json(tmp_path):
    """Records of plain values take a shorter way in than those with a list among them."""
    odd = {
        "task_type": "", "prompt_type": "é\n\"x\"", "difficulty": "nan", "success": 1,
        "partial_success": None, "execution_time": 3, "turns": 3.0, "score": -0.0,
        "final_score": float("nan"), "session_id": 7, "trial": True and 1, "log": 3.5,
        "timestamp": 1_764_417_600.25, "big": 2**63, "max": 2**63 - 1, "min": -(2**63),
        "small": 5e-324, "tenth": 0.1, "large": 1.7976931348623157e308, "whole": 4.0,
        "none": None, "not": float("nan"), "yes": True, "text": "\u2028 \U0001f600",
    }
    wrong = [
        {"success": 2}, {"success": "yes"}, {"execution_time": "1"}, {"turns": 2.5},
        {"execution_time": 2**53 + 1}, {"test_id": "a\nb"}, {"": 1}, {"timestamp": "soon"},
        {"model": " "}, {"success": None}, {"score": float("-inf")}, {"turns": 2**70},
    ]
    defaults = {"flaw_type": "d", "error_message": "d", "extra_default": 1}
    # What a record says stands before the defaults, None as well.
    odd |= {"flaw_type": None, "extra_default": float("nan")}
    with evaltop.Writer(tmp_path / "s", defaults=defaults) as w:
        w.record(model="m", task_id="plain", **odd)
        w.record(model="m", task_id="json", way=[1], **odd)
        for fields in wrong:
            said = []
            for way in ({}, {"way": [1]}):
                with pytest.raises(evaltop.RecordError) as error:
                    w.record(**({"model": "m", "success": True, "task_id": "t"} | fields | way))
                said.append(str(error.value))
            assert said[0] == said[1], fields
    rows = {r["task_id"]: r for r in evaltop.open(tmp_path / "s").query().to_dicts()}
    own = {"task_id", "test_id", "recorded_at", "way"}
    plain, through_json = (
        {name: repr(value) for name, value in rows[way].items() if name not in own}
        for way in ("plain", "json")
    )
    assert plain == through_json
    assert rows["plain"]["error_message"] == "d" and rows["plain"]["big"] == 2**63


@pytest.mark.parametrize(
    "fields, names",
    [
        ({"model": "m"}, "success"),
        ({"success": True}, "model"),
        ({"model": "m", "success": True, "turns": object()}, "turns"),
        ({"model": "m", "success": True, "score": float("inf")}, "score"),
        ({"model": "m", "success": True, "turns": "many"}, "turns"),
    ],
)
def test_what_cannot_be_taken_names_its_field(tmp_path, fields, names):
    with evaltop.Writer(tmp_path / "s") as w:
        with pytest.raises(evaltop.RecordError, match=names):
            w.record(task_id="t", **fields)
        # The test was not recorded, so it may be tried again.
        w.record(model="m", task_id="t", success=True)


def test_of_many_records_the_wrong_one_is_named(tmp_path):
    good = {"model": "m", "task_id": "a", "success": True}
    with evaltop.Writer(tmp_path / "s") as w:
        with pytest.raises(evaltop.RecordError, match=r"records\[1\]: field 'success' is missing"):
            w.record_many([good, {"model": "m", "task_id": "b", "success": float("nan")}])
        for wrong in ("text", good, [good, "text"]):
            with pytest.raises(evaltop.RecordError, match=r"not str: .*to_dict\('records'\)"):
                w.record_many(wrong)
        w.record_many([good])
        rows = sqlite3.connect(":memory:")
        rows.row_factory = sqlite3.Row
        w.record_many(rows.execute("SELECT 'm' AS model, 'c' AS task_id, 1 AS success"))
        frame = needed("pandas").DataFrame([{**good, "task_id": "d"}])
        w.record_many(row for _, row in frame.iterrows())
        with pytest.raises(evaltop.RecordError, match="not DataFrame"):
            w.record_many([frame])
    assert evaltop.open(tmp_path / "s").status()["totals"]["tests"] == 3


def test_a_block_is_timed_and_keeps_its_error(tmp_path):
    with evaltop.Writer(tmp_path / "s") as w:
        with w.test(model="m", task_id="1") as t:
            t.success = True
        with pytest.raises(TimeoutError):
            with w.test(model="m", task_id="2"):
                raise TimeoutError("30 s")
        with w.test(model="m", task_id="3", on_error="record"):
            raise RuntimeError("boom")
        with pytest.raises(KeyboardInterrupt):
            with w.test(model="m", task_id="4"):
                raise KeyboardInterrupt
    rows = {r["task_id"]: r for r in evaltop.open(tmp_path / "s").query().to_dicts()}
    assert set(rows) == {"1", "2", "3"}
    assert rows["1"]["execution_time"] >= 0
    assert rows["3"]["error_message"] == "boom"


def test_any_column_and_comparisons(tmp_path):
    with evaltop.Writer(tmp_path / "s") as w:
        for model, passed in (("a", 18), ("b", 6)):
            for n in range(20):
                w.record(
                    model=model, task_id=n, test_id=f"t{n}", success=n < passed, score=n / 20,
                    scaffold="x" if n % 2 else "y",
                )
    store = evaltop.open(tmp_path / "s")
    rows = store.query(group_by="scaffold", agg=["mean(score)"], where="model == 'a'").to_dicts()
    assert {r["scaffold"]: round(r["mean_score"], 3) for r in rows} == {"x": 0.5, "y": 0.45}
    found = store.compare("a", "b")
    assert json.dumps(found)
    with pytest.raises(evaltop.UsageError, match="nobody"):
        store.compare("a", "nobody")


def test_maintenance_needs_mode_a(tmp_path):
    with evaltop.Writer(tmp_path / "s") as w:
        w.record(model="m", task_id="1", success=True)
    with pytest.raises(evaltop.UsageError, match="mode='a'"):
        evaltop.open(tmp_path / "s").consolidate()
    store = evaltop.open(tmp_path / "s", mode="a")
    assert store.consolidate()["rows_added"] == 1
    store.backup()
    store.export(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().count("\n") == 2
    assert store.status()["main"]["rows"] == 1


def test_errors_are_the_sentences_of_the_program(tmp_path):
    with pytest.raises(evaltop.NoStoreError, match="no such folder"):
        evaltop.open(tmp_path / "nowhere")
    with evaltop.Writer(tmp_path / "s") as w:
        w.record(model="m", task_id="1", success=True)
    with pytest.raises(evaltop.Error, match="did you mean .model."):
        evaltop.open(tmp_path / "s").query(group_by="modle")


def run(*args, **more):
    return subprocess.run(
        [sys.executable, "-m", "evaltop", *map(str, args)], capture_output=True, text=True, **more
    )


def test_the_command_is_the_same_program(tmp_path):
    assert run("--version").stdout == f"evaltop {evaltop.__version__}\n"
    plan = tmp_path / "plan.jsonl"
    plan.write_text("".join(json.dumps({"model": "m", "task_id": f"t{n}"}) + "\n" for n in range(4)))
    done = run("run", tmp_path / "s", "--plan", plan, "--", "true")
    assert done.returncode == 0, done.stderr
    assert evaltop.open(tmp_path / "s").status()["totals"]["tests"] == 4
    assert run("status", tmp_path / "nowhere").returncode == 1


def test_import_is_light():
    code = "import sys, evaltop; print([m for m in ('pandas','numpy','pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stdout.strip() == "[]"


def test_a_plot_has_a_point_and_an_interval_a_group(tmp_path):
    matplotlib = needed("matplotlib")
    matplotlib.use("Agg")
    with evaltop.Writer(tmp_path / "s") as w:
        for model, passed in (("a", 18), ("b", 6)):
            for n in range(20):
                w.record(model=model, task_id=n, success=n < passed, score=n / 40 + (model == "a"))
    store = evaltop.open(tmp_path / "s")
    ax = store.plot(by="model")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]
    points = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert points == [0.3, 0.9]
    assert len(ax.lines) == 4
    assert store.plot(by="model", metric="score", ax=ax) is ax


def test_without_matplotlib_a_plot_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import evaltop\n"
        "with evaltop.Writer('s') as w: w.record(model='m', task_id='1', success=True)\n"
        "try: evaltop.open('s').plot()\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "this needs matplotlib: pip install matplotlib\n", done.stderr


def test_a_report_is_written_and_not_over_another_file_unasked(tmp_path):
    with evaltop.Writer(tmp_path / "s") as w:
        w.record(model="opal-4", task_id="1", success=True)
    store = evaltop.open(tmp_path / "s")
    for name in ("r.html", "r.md"):
        path = store.report(tmp_path / name)
        assert "opal-4" in open(path).read()
    with pytest.raises(evaltop.Error, match="r.md"):
        store.report(tmp_path / "r.md", overwrite=False)


def test_a_snapshot_follows_another(tmp_path):
    with evaltop.Writer(tmp_path / "s") as w:
        w.record(model="m", task_id="1", success=True)
        seen = evaltop.open(tmp_path / "s").follow(every=0.05)
        assert next(seen)["totals"]["tests"] == 1
        w.record(model="m", task_id="2", success=True)
        assert next(s for s in seen if s["totals"]["tests"] == 2)


def test_a_session_keeps_its_plan_and_metadata(tmp_path):
    for _ in range(2):
        with evaltop.Writer(tmp_path / "s", session="x", plan=3, meta={"prompt": "v12"}) as w:
            w.record(model="m", task_id="1", success=True)
    with evaltop.Writer(tmp_path / "s", session="y", meta={"commit": "abc"}) as w:
        w.record(model="m", task_id="1", success=True)
    evaltop.open(tmp_path / "s", mode="a").consolidate()
    assert evaltop.open(tmp_path / "s").sessions() == [
        {"session": "x", "plan": 3, "meta": {"prompt": "v12"}},
        {"session": "y", "plan": None, "meta": {"commit": "abc"}},
    ]


def test_a_mailbox_gets_what_a_writer_records(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = f"file://{tmp_path}/mail"
    with evaltop.Writer(url, session="s", durability="remote") as w:
        w.record(model="m", task_id="t1", success=True)
        assert evaltop.open(url).status()["totals"]["tests"] == 1
    with evaltop.Writer(url, session="s") as w:
        w.record(model="m", task_id="t2", success=True)
    assert evaltop.open(url).status()["totals"]["tests"] == 2
    with pytest.raises(evaltop.UsageError, match="mailboxes"):
        evaltop.Writer(tmp_path / "store", durability="remote")
