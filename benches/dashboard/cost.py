#!/usr/bin/env python3
"""What an open dashboard costs: processor time, bytes and frames to the terminal, memory.

cost.py SECONDS COMMAND...            cost.py 600 target/release/evaltop demo
cost.py --writers 50 SECONDS EVALTOP  the same beside 50 processes that record into a new store
"""

import argparse
import fcntl
import json
import os
import pty
import random
import select
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time

SETTLE = 20  # seconds before anything is counted
FRAME = b"\x1b[?2026h"  # every frame begins so


def record(evaltop, store, writers, end):
    """Lets each writer record a test about every four seconds."""
    command = [evaltop, "record", store]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(writers)]
    while time.time() < end:
        for number, writer in enumerate(running):
            if random.random() < 0.125:
                row = {"model": f"model-{number % 8}", "task_type": f"t{number % 5}", "success": random.random() < 0.6}
                writer.stdin.write(json.dumps(row) + "\n")
                writer.stdin.flush()
        time.sleep(0.5)
    for writer in running:
        writer.stdin.close()
    for writer in running:
        writer.wait()


def status(pid):
    """Processor seconds, resident MiB."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    with open(f"/proc/{pid}/status") as lines:
        resident = next(line for line in lines if line.startswith("VmRSS"))
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, int(resident.split()[1]) // 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=0)
    parser.add_argument("seconds", type=float)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    command = args.command
    if args.writers:
        store = os.path.join(folder.name, "results")
        end = time.time() + SETTLE + args.seconds
        writing = threading.Thread(target=record, args=(command[0], store, args.writers, end))
        writing.start()
        command = [*command, store]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LC_ALL="C.UTF-8", XDG_STATE_HOME=os.path.join(folder.name, "state"))
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    begun = time.time() + SETTLE
    base, count, frames, seconds, tail = None, 0, 0, {}, b""
    while time.time() < begun + args.seconds:
        ready, _, _ = select.select([terminal], [], [], 0.5)
        now = time.time()
        if now >= begun and base is None:
            base = status(pid)
        if ready:
            data = os.read(terminal, 65536)
            if now >= begun:
                new = (tail + data).count(FRAME)
                count, frames = count + len(data), frames + new
                seconds[int(now)] = seconds.get(int(now), 0) + new
            tail = b"" if data.endswith(FRAME) else data[-len(FRAME) + 1 :]
    used, resident = status(pid)
    print(
        f"{100 * (used - base[0]) / args.seconds:.3f} % of a core, {count} bytes, {frames} frames, "
        f"{max(seconds.values(), default=0)} frames in the busiest second, "
        f"{count // frames if frames else 0} bytes a frame, {base[1]} MiB at the start, {resident} MiB at the end"
    )
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    if args.writers:
        writing.join()


if __name__ == "__main__":
    main()
