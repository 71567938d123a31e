#!/usr/bin/env python3
"""What durability costs: acknowledgements a second, and how long one takes.

    benches/durability/acks.py target/release/evaltop [FOLDER]

Each writer is one `evaltop record --ack` that is sent a line, answers, and is sent the
next: at once, which tells how much goes through, or after a pause, which tells what a runner
waits beside others. `cat`, which keeps nothing, tells what pipes and this script cost.
FOLDER (by default the system's temporary folder) says which disk.
"""

import random
import subprocess
import sys
import tempfile
import threading
import time

SECONDS = 5
# Starting fifty programs takes as long; what comes before is not counted.
WARM = 1
# Between two tests of a runner, on average.
PAUSE = 0.05


def write(program, store, durability, until, pause, times):
    record = [program, "record", "--ack", "--durability", durability, store]
    child = subprocess.Popen(
        record if durability else ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = b'{"model":"qwen2.5-72b-instruct","task_type":"api_integration","prompt_type":"cot",' \
           b'"difficulty":"hard","tool_success_rate":0.8,"success":true,"turns":7}\n'
    while time.monotonic() < until:
        if pause:
            time.sleep(random.uniform(0, 2 * pause))
        begun = time.monotonic()
        child.stdin.write(line)
        child.stdin.flush()
        if not child.stdout.readline():
            break
        now = time.monotonic()
        if begun >= until - SECONDS:
            times.append(now - begun)
    child.stdin.close()
    child.wait()


def measure(program, folder, durability, writers, pause):
    with tempfile.TemporaryDirectory(dir=folder) as store:
        all_times = [[] for _ in range(writers)]
        begun = time.monotonic()
        threads = [threading.Thread(target=write, args=(program, store, durability, begun + WARM + SECONDS, pause, times))
                   for times in all_times]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    times = sorted(time for times in all_times for time in times)
    share = lambda part: times[min(int(len(times) * part), len(times) - 1)] * 1e3
    every = f"{pause * 1e3:.0f} ms" if pause else "none"
    print(f"| {durability or 'cat'} | {writers} | {every} | {len(times) / SECONDS:,.0f} | "
          f"{share(0.5):.2f} ms | {share(0.99):.2f} ms |", flush=True)


program = sys.argv[1]
folder = sys.argv[2] if len(sys.argv) > 2 else None
print("| durability | writers | pause | acks a second | median | 99 % |\n|---|---|---|---|---|---|")
for durability in [None, "process", "disk"]:
    for writers in [1, 50]:
        for pause in [0, PAUSE]:
            measure(program, folder, durability, writers, pause)
