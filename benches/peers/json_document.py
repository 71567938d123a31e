"""Results in one JSON document against results in a store: `json_document.py NAME PLACE [EVALTOP]`, each its
own cold process.

The document is what small runners keep: a list of all results, which each process reads, extends and replaces
for every result, under a lock, so that ten of them lose nothing. evaltop's side waits for each acknowledgement.
"""

import fcntl
import json
import multiprocessing
import os
import subprocess
import sys

WRITERS = 10


def result(n):
    return {
        "test_id": f"t{n}", "model": f"model-{n % 8}", "prompt_type": ["cot", "plain"][n % 2],
        "difficulty": ["easy", "hard"][n // 2 % 2], "task_type": f"task-{n % 5}", "tool_success_rate": 0.8,
        "success": n % 3 > 0, "partial_success": False, "execution_time": 1.5 + n % 40 / 8, "turns": 4 + n % 5,
        "tool_calls": 3, "quality_score": n % 10 / 10, "error_type": None if n % 3 else "timeout",
        "timestamp": f"2026-01-31T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z",
    }


def document_of(count, place):
    with open(place, "w") as file:
        json.dump({"instances": [result(n) for n in range(count)]}, file)


def lines_of(count, place):
    with open(place, "w") as file:
        file.writelines(json.dumps(result(n)) + "\n" for n in range(count))


def add_to_document(place, numbers):
    for n in numbers:
        with open(f"{place}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                with open(place) as file:
                    document = json.load(file)
            except FileNotFoundError:
                document = {"instances": []}
            document["instances"].append(result(n))
            with open(f"{place}.tmp", "w") as file:
                json.dump(document, file)
            os.replace(f"{place}.tmp", place)


def add_to_store(place, numbers, evaltop):
    recorder = subprocess.Popen([evaltop, "record", "--ack", place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for n in numbers:
        print(json.dumps(result(n)), file=recorder.stdin, flush=True)
        if recorder.stdout.readline().strip() in ("", "-"):
            sys.exit("not recorded")
    recorder.stdin.close()
    if recorder.wait() != 0:
        sys.exit("record failed")


def write_document(place, _):
    add_to_document(place, range(1_000))


def write_store(place, evaltop):
    add_to_store(place, range(1_000), evaltop)


def at_once(function, *rest):
    processes = [
        multiprocessing.Process(target=function, args=(sys.argv[2], range(n * 100, n * 100 + 100), *rest))
        for n in range(WRITERS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode != 0:
            sys.exit("a writer failed")


def many_document(place, _):
    at_once(add_to_document)
    with open(place) as file:
        assert len(json.load(file)["instances"]) == WRITERS * 100


def many_store(place, evaltop):
    at_once(add_to_store, evaltop)
    groups = json.loads(subprocess.check_output([evaltop, "query", place, "--group-by", "model", "--format", "json"]))
    assert sum(group["tests"] for group in groups) == WRITERS * 100


def read_document(place, _):
    with open(place) as file:
        sys.stdout.writelines(json.dumps(row) + "\n" for row in json.load(file)["instances"])


def query_document(place, _):
    with open(place) as file:
        rows = json.load(file)["instances"]
    sys.stdout.writelines(json.dumps(row) + "\n" for row in rows if row["model"] == "model-3")


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
