#!/usr/bin/env python3
"""What durability costs: acknowledgements a second, and how long one takes.

    benches/durability/acks.py target/release/evaltop [FOLDER]

Each writer is one `evaltop record --ack` that sends a line, waits for its answer, and
sends the next. FOLDER (by default the system's temporary folder) says which disk.
"""

import subprocess
import sys
import tempfile
import threading
import time

SECONDS = 5


def write(program, store, durability, until, times):
    child = subprocess.Popen(
        [program, "record", "--ack", "--durability", durability, store],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = b'{"model":"qwen2.5-72b-instruct","task_type":"api_integration","prompt_type":"cot",' \
           b'"difficulty":"hard","tool_success_rate":0.8,"success":true,"turns":7}\n'
    while time.monotonic() < until:
        begun = time.monotonic()
        child.stdin.write(line)
        child.stdin.flush()
        if not child.stdout.readline():
            break
        times.append(time.monotonic() - begun)
    child.stdin.close()
    child.wait()


def measure(program, folder, durability, writers):
    with tempfile.TemporaryDirectory(dir=folder) as store:
        all_times = [[] for _ in range(writers)]
        begun = time.monotonic()
        threads = [threading.Thread(target=write, args=(program, store, durability, begun + SECONDS, times))
                   for times in all_times]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    times = sorted(time for times in all_times for time in times)
    share = lambda part: times[min(int(len(times) * part), len(times) - 1)] * 1e3
    print(f"| {durability} | {writers} | {len(times) / SECONDS:,.0f} | "
          f"{share(0.5):.2f} ms | {share(0.99):.2f} ms |", flush=True)


program = sys.argv[1]
folder = sys.argv[2] if len(sys.argv) > 2 else None
print("| durability | writers | acks a second | median | 99 % |\n|---|---|---|---|---|")
for durability in ["process", "disk"]:
    for writers in [1, 50]:
        measure(program, folder, durability, writers)
