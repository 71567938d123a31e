"""One writer a process: fork, spawn, threads, asyncio, and parents that die."""

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import evaltop

WORKERS = 8
EACH = 75


def work(store, worker):
    with evaltop.Writer(store, session="s") as w:
        return [w.record(model="m", task_id=f"{worker}/{n}", success=True) for n in range(EACH)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_every_worker_gets_its_own_acknowledgements(tmp_path, method):
    context = multiprocessing.get_context(method)
    with context.Pool(WORKERS) as pool:
        ids = pool.starmap(work, [(str(tmp_path / "s"), n) for n in range(WORKERS)])
    assert len({i for some in ids for i in some}) == WORKERS * EACH
    assert evaltop.open(tmp_path / "s").status()["totals"]["tests"] == WORKERS * EACH
    with context.Pool(2) as pool:
        pool.starmap(work, [(str(tmp_path / "s"), n) for n in range(2)])
    assert evaltop.open(tmp_path / "s").status()["totals"]["tests"] == WORKERS * EACH


def test_a_child_gets_a_writer_of_its_own(tmp_path):
    w = evaltop.Writer(tmp_path / "s")
    w.record(model="m", task_id="parent", success=True)
    pid = os.fork()
    if pid == 0:
        try:
            w.record(model="m", task_id="child", success=True)
            w.close()
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    w.record(model="m", task_id="parent again", success=True)
    w.close()
    rows = evaltop.open(tmp_path / "s").query().to_dicts()
    assert {r["task_id"] for r in rows} == {"parent", "child", "parent again"}
    assert len({r["process_id"] for r in rows}) == 2


PARENT = """
import os, signal, sys, time, evaltop
w = evaltop.Writer(sys.argv[1])
w.record(model="m", task_id="parent", success=True)
if os.fork() == 0:
    print("forked", flush=True)
    time.sleep(600)
time.sleep(600)
"""


def test_a_killed_parent_does_not_live_on_in_its_child(tmp_path):
    store = tmp_path / "s"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(store)], stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )
    try:
        assert parent.stdout.readline() == "forked\n"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        done = evaltop.open(store, mode="a").consolidate()
        assert done["rows_added"] == 1, "the journal of a dead parent is taken in"
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def test_threads_share_a_writer(tmp_path):
    w = evaltop.Writer(tmp_path / "s")

    def some(worker):
        for n in range(50):
            w.record(model="m", task_id=f"{worker}/{n}", success=True)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))
    w.close()
    assert evaltop.open(tmp_path / "s").status()["totals"]["tests"] == 400


def test_asyncio(tmp_path):
    async def main():
        with evaltop.Writer(tmp_path / "s", durability="disk") as w:
            async def one(n):
                async with w.test(model="m", task_id=str(n)) as t:
                    await asyncio.sleep(0)
                    t.success = True
                await w.arecord(model="n", task_id=str(n), success=False)
            await asyncio.gather(*(one(n) for n in range(20)))
    asyncio.run(main())
    assert evaltop.open(tmp_path / "s").status()["totals"]["tests"] == 40


ASKING = """
import signal, sys, evaltop
store = evaltop.open(sys.argv[1])
print("asking", flush=True)
try:
    while True:
        store.query()
except KeyboardInterrupt as error:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    # Inside of the native call, and not between two of them.
    print(trace.tb_frame.f_code.co_name, flush=True)
"""


def test_ctrl_c_interrupts_a_query(tmp_path):
    with evaltop.Writer(tmp_path / "s") as w:
        w.record_many(
            {"model": "m", "task_id": str(n), "success": True} for n in range(50_000)
        )
    for _ in range(20):
        asking = subprocess.Popen(
            [sys.executable, "-c", ASKING, str(tmp_path / "s")], stdout=subprocess.PIPE, text=True
        )
        try:
            assert asking.stdout.readline() == "asking\n"
            time.sleep(0.05)
            asking.send_signal(signal.SIGINT)
            where = asking.communicate(timeout=120)[0].strip()
        finally:
            asking.kill()
        if where == "query":
            return
    raise AssertionError(f"never inside of the query, but in {where}")


def until(found, limit=120.0):
    deadline = time.monotonic() + limit
    while not (value := found()):
        assert time.monotonic() < deadline, "the condition did not come"
        time.sleep(0.05)
    return value


def states(store):
    return [writer["state"] for writer in evaltop.open(store).status()["writers"]]


def test_a_writer_says_how_it_ends(tmp_path):
    with evaltop.Writer(tmp_path / "a") as w:
        w.record(model="m", task_id="1", success=True)
    until(lambda: states(tmp_path / "a") == ["finished"])
    with pytest.raises(ZeroDivisionError):
        with evaltop.Writer(tmp_path / "b") as w:
            w.record(model="m", task_id="1", success=True)
            raise ZeroDivisionError("division by zero")
    until(lambda: states(tmp_path / "b") == ["failed"])


KILLED = """
import sys, time, evaltop
w = evaltop.Writer(sys.argv[1])
w.record(model="m", task_id="1", success=True)
with w.test(model="m", task_id="2") as t:
    t.retry(status=429, wait=3)
    print("in flight", flush=True)
    time.sleep(600)
"""


def test_a_killed_worker_is_lost(tmp_path):
    store = tmp_path / "s"
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store)], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout.readline() == "in flight\n"
    until(lambda: states(store) == ["live"])
    until(lambda: '"2"' in "".join(p.read_text() for p in (store / "live").iterdir()))
    worker.kill()
    worker.wait()
    until(lambda: states(store) == ["lost"])


def test_a_block_whose_record_is_refused_is_in_flight_no_more(tmp_path):
    def in_flight():
        writers = evaltop.open(tmp_path / "s").status()["writers"]
        return [writer["in_flight"] for writer in writers]

    with evaltop.Writer(tmp_path / "s") as w:
        with pytest.raises(evaltop.RecordError, match="success"):
            with w.test(model="m", task_id="1"):
                until(lambda: in_flight() == [1])
        until(lambda: in_flight() == [0])


def fates(tmp_path, script, expected, session, code=0):
    """Runs a program that records, and waits for what its writers come to."""
    file = tmp_path / "program.py"
    file.write_text("import sys, os, signal, evaltop\nimport multiprocessing as mp\n" + script)
    store = tmp_path / "store"
    ran = subprocess.run([sys.executable, str(file), str(store)], capture_output=True, text=True)
    assert ran.returncode == code, ran.stderr
    until(lambda: sorted(states(store)) == sorted(expected))
    assert evaltop.open(store).status()["session"]["state"] == session


WORKER = """
def work(n):
    w.record(model="m", task_id=f"t{n}", success=True)
"""


@pytest.mark.parametrize(
    "main",
    [
        "ps = [mp.Process(target=work, args=(n,)) for n in range(3)]\n"
        "    [p.start() for p in ps]; [p.join() for p in ps]",
        "pool = mp.Pool(3); pool.map(work, range(9), 3); pool.close(); pool.join()",
        # Leaving the block terminates the workers.
        "with mp.Pool(3) as pool: pool.map(work, range(9), 3)",
    ],
)
def test_workers_that_close_nothing_are_no_alarm(tmp_path, main):
    script = f"mp.set_start_method('fork')\n{WORKER}\nwith evaltop.Writer(sys.argv[1]) as w:\n    {main}\n"
    file = tmp_path / "program.py"
    file.write_text("import sys, evaltop\nimport multiprocessing as mp\n" + script)
    store = tmp_path / "store"
    subprocess.run([sys.executable, str(file), str(store)], check=True)
    # A pool may give all work to one worker.
    found = until(lambda: "finished" in states(store) and "live" not in states(store) and states(store))
    assert found.count("finished") == 1 and set(found) == {"finished", "ended"}, found
    status = evaltop.open(store).status()
    assert (status["session"]["state"], status["alerts"]) == ("finished", [])


def test_spawned_workers_that_close_nothing_are_no_alarm(tmp_path):
    script = """
def start(store, together):
    global w, both
    w, both = evaltop.Writer(store), together
def work(n):
    w.record(model="m", task_id=f"t{n}", success=True)
    # Else one worker may take both.
    both.wait()
if __name__ == "__main__":
    mp.set_start_method("spawn")
    with mp.Pool(2, initializer=start, initargs=(sys.argv[1], mp.Barrier(2))) as pool:
        pool.map(work, range(2), 1)
"""
    fates(tmp_path, script, ["ended", "ended"], "finished")


RECORD = "w = evaltop.Writer(sys.argv[1])\nw.record(model='m', task_id='1', success=True)\n"
BLOCK = "with evaltop.Writer(sys.argv[1]) as w:\n    w.record(model='m', task_id='1', success=True)\n    "


@pytest.mark.parametrize(
    ("script", "state", "session", "code"),
    [
        (BLOCK + "sys.exit(0)", "finished", "finished", 0),
        (BLOCK + "sys.exit(3)", "failed", "incomplete", 3),
        (BLOCK + "raise KeyboardInterrupt", "ended", "interrupted", -2),
        (RECORD + "raise ValueError('no')", "failed", "incomplete", 1),
        (RECORD, "ended", "finished", 0),
        (RECORD + "os.kill(os.getpid(), signal.SIGTERM)", "ended", "interrupted", -15),
        (
            RECORD + "with w.test(model='m', task_id='2'):\n    os.kill(os.getpid(), signal.SIGTERM)",
            "lost",
            "dead",
            -15,
        ),
        (RECORD + "os.kill(os.getpid(), signal.SIGKILL)", "lost", "dead", -9),
        (
            "mp.set_start_method('fork')\n" + RECORD + "w.close()\n"
            "def work():\n    w = evaltop.Writer(sys.argv[2])\n"
            "    w.record(model='m', task_id='2', success=True)\n    raise ValueError('no')\n"
            "sys.argv.append(sys.argv[1])\np = mp.Process(target=work); p.start(); p.join()",
            "failed",
            "incomplete",
            0,
        ),
    ],
)
def test_how_a_program_ends_is_how_its_writer_ends(tmp_path, script, state, session, code):
    expected = [state, "finished"] if "mp.Process" in script else [state]
    fates(tmp_path, script, expected, session, code)
