"""The hook of Inspect, with the real one: what it records while it runs, and its logs imported."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

import evaltop
from conftest import needed

needed("inspect_ai")

EVALUATION = pathlib.Path(__file__).parent / "inspect_eval.py"
TESTS = 16


def start(store, logs, *args, **env):
    named = {} if store is None else {"EVALTOP_INSPECT_DIR": str(store)}
    return subprocess.Popen(
        [sys.executable, str(EVALUATION), str(logs), *args],
        env={**os.environ, **named, **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def run(*args, **env):
    program = start(*args, **env)
    said = program.communicate(timeout=300)[0]
    assert program.returncode == 0, said
    return said


def imported(store, logs):
    done = subprocess.run(
        [sys.executable, "-m", "evaltop", "import", *map(str, sorted(logs.glob("*.eval"))),
         "--into", str(store)],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def totals(store):
    return evaltop.open(store).status()["totals"]


def rows(store):
    return {r["test_id"]: r for r in evaltop.open(store).query().to_dicts()}


def test_hook_and_import_count_once(tmp_path):
    store, logs = tmp_path / "s", tmp_path / "logs"
    assert "success" in run(store, logs)
    hooked = totals(store)
    assert (hooked["tests"], hooked["success"]) == (TESTS, TESTS - 2)
    found = rows(store)
    (busy,) = [r for r in found.values() if r.get("retries")]
    assert busy["task_id"] == "sums/s3" and busy["retry_wait"] > 0
    assert busy["last_retry_status"] == 429
    one = found[busy["test_id"].replace("/s3/", "/s2/")]
    assert (one["success"], one["input_tokens"], one["cache_read_tokens"]) == (False, 10, 4)
    assert one["model"] == "local/m" and one["difficulty"] == "easy"
    assert one["log"].endswith(".eval#s2")
    # The attempt that broke is superseded by the one that went well.
    assert hooked["superseded"] >= 1
    assert "0 new, 16 already there" in imported(store, logs)
    assert totals(store) == hooked
    assert rows(store) == found, "the import replaced nothing"
    # And the other way round: what was imported first is not counted again by the hook.
    other = tmp_path / "other"
    imported(other, logs)
    assert rows(other).keys() == found.keys()
    for id, row in rows(other).items():
        for name in ("success", "score", "execution_time", "timestamp", "turns", "session_id",
                     "task_type", "prompt_type", "trial", "total_tokens", "metadata"):
            assert row.get(name) == found[id].get(name), name


def test_a_retried_evaluation_supersedes_its_errors(tmp_path):
    store, logs = tmp_path / "s", tmp_path / "logs"
    run(store, logs, BROKEN="q6")
    assert totals(store)["success"] == TESTS - 4
    run(store, logs, "retry")
    found = totals(store)
    assert (found["tests"], found["success"]) == (TESTS, TESTS - 2)
    imported(store, logs)
    found = totals(store)
    assert (found["tests"], found["success"]) == (TESTS, TESTS - 2)


def test_the_hook_is_off_unless_asked_for_and_inside_run(tmp_path):
    store = tmp_path / "s"
    run(None, tmp_path / "one")
    run(store, tmp_path / "two", EVALTOP_TEST_ID="run-1")
    assert not store.exists()


def test_the_plan_is_that_of_the_samples_that_were_chosen(tmp_path):
    run(tmp_path / "s", tmp_path / "logs", LIMIT="3")
    session = evaltop.open(tmp_path / "s").status()["session"]
    assert (session["state"], session["planned"], session["done"]) == ("finished", 6, 6)


def test_a_store_that_cannot_be_made_does_not_end_the_evaluation(tmp_path):
    (tmp_path / "file").touch()
    said = run(tmp_path / "file" / "s", tmp_path / "logs", LIMIT="2", SHOWN="plain")
    assert "success" in said
    assert said.count("records nothing") == 1


def until(found, limit=120.0):
    deadline = time.monotonic() + limit
    while not (value := found()):
        assert time.monotonic() < deadline, "the condition did not come"
        time.sleep(0.05)
    return value


def test_what_runs_is_seen_while_it_runs(tmp_path):
    store, logs, gate = tmp_path / "s", tmp_path / "logs", tmp_path / "gate"
    program = start(store, logs, GATE=str(gate))
    try:
        def seen():
            try:
                return evaltop.open(store).status()
            except evaltop.NoStoreError:
                return None

        # Both epochs of q4 wait at the gate; everything else has its result.
        status = until(
            lambda: (s := seen()) and s["totals"]["tests"] == TESTS - 2
            and s["in_flight"] and s["in_flight"]["count"] == 2 and s
        )
        assert status["session"]["planned"] == TESTS
        assert status["in_flight"]["longest"]["test"] == "sums/s4"
        assert status["session"]["state"] == "running"
        gate.touch()
        assert program.wait(timeout=300) == 0
    finally:
        program.kill()
        program.stdout.close()
    status = evaltop.open(store).status()
    assert status["totals"]["tests"] == TESTS and status["session"]["state"] == "finished"
