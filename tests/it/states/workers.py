import asyncio, json, multiprocessing, os, subprocess, sys, threading, time

HOW, EXE, STORE = sys.argv[1:4]
FATES = ["finish", "leave", "fail", "kill", "stop", "deadlock"]

def lines(fate):
    for n in range(30):
        yield {"model": "m", "test_id": f"{fate}/{n}", "task_id": f"{fate}/{n}", "success": n % 2 == 0}
    if fate == "kill":
        yield {"evaltop": "start", "model": "m", "task_id": "gpqa/31"}

def work(fate, ready):
    record = subprocess.Popen([EXE, "record", "--ack", STORE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    def say(line):
        record.stdin.write(json.dumps(line) + "\n")
        record.stdin.flush()
        return record.stdout.readline().strip()
    for line in lines(fate):
        assert say(line) in ("+", line.get("test_id")), line
    ready(f"{fate} {os.getpid()}")
    if fate == "finish":
        say({"evaltop": "finished"})
    if fate == "fail":
        say({"evaltop": "failed", "reason": "no key"})
    if fate in ("finish", "leave", "fail"):
        record.stdin.close()
        record.wait()
        return
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

async def awork(fate, ready):
    record = await asyncio.create_subprocess_exec(
        EXE, "record", "--ack", STORE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    async def say(line):
        record.stdin.write(json.dumps(line).encode() + b"\n")
        await record.stdin.drain()
        return (await record.stdout.readline()).decode().strip()
    for line in lines(fate):
        assert await say(line) in ("+", line.get("test_id")), line
    ready(f"{fate} {os.getpid()}")
    if fate == "finish":
        await say({"evaltop": "finished"})
    if fate == "fail":
        await say({"evaltop": "failed", "reason": "no key"})
    if fate in ("finish", "leave", "fail"):
        record.stdin.close()
        await record.wait()
        return
    await asyncio.Event().wait()

def say(text):
    # One write, so that lines of several processes stay whole.
    os.write(1, text.encode() + b"\n")

if __name__ == "__main__":
    if HOW in ("one", "async one"):
        fate = sys.argv[4]
        work(fate, say) if HOW == "one" else asyncio.run(awork(fate, say))
    elif HOW in ("fork", "spawn"):
        context = multiprocessing.get_context(HOW)
        workers = [context.Process(target=work, args=(fate, say)) for fate in FATES]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
    else:
        one = "one" if HOW == "subprocess" else "async one"
        workers = [subprocess.Popen([sys.executable, sys.argv[0], one, EXE, STORE, fate]) for fate in FATES]
        for worker in workers: worker.wait()
