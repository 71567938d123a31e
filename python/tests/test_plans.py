"""What is missing of a plan, from Python, `evaltop missing` and `evaltop run` alike."""

import json
import os
import random
import subprocess
import sys
import time

import pytest

import evaltop

PLAN = [
    {"model": m, "task_id": f"t{n}", "difficulty": "hard", "tool_success_rate": 0.8}
    for m in ("a", "b")
    for n in range(20)
]


def program(*args):
    return subprocess.run(
        [sys.executable, "-m", "evaltop", *map(str, args)], capture_output=True, text=True
    )


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "plan.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PLAN))
    return path


@pytest.fixture
def store(tmp_path):
    with evaltop.Writer(tmp_path / "s", session="x") as w:
        for n, row in enumerate(PLAN[:10]):
            kind = "rate_limit" if n == 1 else None
            w.record(**row, success=n > 1, error_type=kind)
    return evaltop.open(tmp_path / "s")


def test_what_a_writer_recorded_is_there(store, plan):
    assert store.missing(PLAN, session="x") == PLAN[10:]
    assert store.missing(plan, session="x") == PLAN[10:]
    assert store.missing(PLAN, session="another") == PLAN
    assert store.missing(PLAN, session="x", infra=True) == [PLAN[1], *PLAN[10:]]
    assert store.missing(PLAN, session="x", failed=True) == [*PLAN[:2], *PLAN[10:]]
    assert store.missing([]) == []
    done = program("missing", store.path, "--plan", plan, "--session", "x")
    assert [json.loads(line) for line in done.stdout.splitlines()] == PLAN[10:]


def test_parts_are_divided_before_what_is_done_is_left_out(store):
    everything = [store.missing(PLAN, shard=(n, 3)) for n in (1, 2, 3)]
    assert sorted(map(str, sum(everything, []))) == sorted(map(str, PLAN))
    assert all(everything), "each part has something of forty tests"
    rest = [store.missing(PLAN, shard=(n, 3), session="x") for n in (1, 2, 3)]
    assert sorted(map(str, sum(rest, []))) == sorted(map(str, PLAN[10:]))
    with pytest.raises(evaltop.UsageError, match="invalid shard '4/3'"):
        store.missing(PLAN, shard=(4, 3))


def test_trials_of_a_row_are_told_apart(tmp_path):
    plan = [{"model": "m", "task_id": "t", "instances": 3}]
    with evaltop.Writer(tmp_path / "s") as w:
        w.record(model="m", task_id="t", success=True)
        w.record(model="m", task_id="t", trial=2, success=True)
    found = evaltop.open(tmp_path / "s").missing(plan)
    assert found == [{"model": "m", "task_id": "t", "trial": 1}]


def test_run_and_missing_divide_alike(tmp_path, plan):
    store = tmp_path / "s"
    parts = [program("missing", store, "--plan", plan, "--shard", f"{n}/3") for n in (1, 2, 3)]
    assert sum(len(part.stdout.splitlines()) for part in parts) == len(PLAN)
    done = program("run", store, "--plan", plan, "--shard", "2/3", "--", "true")
    assert done.returncode == 0, done.stderr
    ran = evaltop.open(store).query().to_dicts()
    names = {(row["model"], row["task_id"]) for row in ran}
    planned = [json.loads(line) for line in parts[1].stdout.splitlines()]
    assert names == {(row["model"], row["task_id"]) for row in planned}
    assert program("missing", store, "--plan", plan, "--shard", "2/3").stdout == ""


def test_parts_that_are_killed_and_started_again_run_the_whole_plan(tmp_path):
    store, plan, ran = tmp_path / "s", tmp_path / "plan.jsonl", tmp_path / "ran"
    plan.write_text("".join(json.dumps({"model": "m", "task_id": n}) + "\n" for n in range(60)))
    ran.touch()
    one = ["sh", "-c", f'sleep 0.02; echo "$EVALTOP_TEST_ID" >> {ran}']
    chance = random.Random(3)

    def start(part):
        env = {**os.environ, **slurm(part)}
        return subprocess.Popen(
            [sys.executable, "-m", "evaltop", "run", str(store), "--plan", str(plan),
             "--shard", "slurm", "--workers", "2", "--", *one],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env,
        )

    def slurm(part):
        values = {"ID": part, "MIN": 0, "MAX": 2, "COUNT": 3, "STEP": 1}
        return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}

    parts = {part: start(part) for part in chance.sample(range(3), 3)}
    deadline = time.monotonic() + 300
    while evaltop_missing(store, plan):
        assert time.monotonic() < deadline, "the plan is not done"
        part = chance.randrange(3)
        if chance.random() < 0.3:
            parts[part].kill()
        if parts[part].poll() is not None:
            parts[part] = start(part)
        time.sleep(0.1)
    for process in parts.values():
        assert process.wait(timeout=120) is not None
    totals = evaltop.open(store).status()["totals"]
    assert (totals["tests"], totals["superseded"]) == (60, 0)
    names = ran.read_text().split()
    assert len(set(names)) == 60
    # A test runs again only where its run was killed before it could record it.
    assert len(names) < 60 + 20


def evaltop_missing(store, plan):
    return program("missing", store, "--plan", plan).stdout
