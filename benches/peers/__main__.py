"""evaltop against its peers, on the same rows, in the same run: `python3 benches/peers [--rows N] [WORK…]`.

Makes its stores with DuckDB, runs evaltop and the peers in turn, each in a cold process,
and prints a table: medians, spread, CPU time, peak memory, ratio, target. Figures of different runs
don't compare, because machines are shared; ratios of one run do. Installs nothing: it says
what is missing. Needs about 10 GB of disk for 10 million rows.
"""

import argparse
import importlib.metadata
import importlib.util
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ["duckdb", "pandas", "pyarrow"]
missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
if missing:
    sys.exit(f"missing: {', '.join(missing)}. Install into this Python: {sys.executable} -m pip install {' '.join(missing)}")

import json_document  # noqa: E402
import stores  # noqa: E402


def apart(function, *args, **more):
    """Calls in a process of its own: a child's peak memory begins at that of its parent."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=function, args=args, kwargs=more)
    process.start()
    process.join()
    if process.exitcode != 0:
        sys.exit(f"{function.__name__} failed")


class Run:
    """Seconds, CPU seconds and peak memory of one cold process."""

    def __init__(self, argv, stdin=None):
        begin = time.perf_counter()
        child = subprocess.Popen(argv, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with child.stdout:
            out = child.stdout.read()
        err = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        self.seconds = time.perf_counter() - begin
        self.memory = usage.ru_maxrss / 1024
        self.cpu = usage.ru_utime + usage.ru_stime
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in (0, 10, 20):
            sys.exit(f"{' '.join(map(str, argv))} ended with {child.returncode}: {err.decode()}")
        self.out = out


class Bench:
    """Where the stores are, and what is run how often."""

    def __init__(self, options):
        self.evaltop = str(Path(options.evaltop).resolve())
        self.folder = Path(options.folder)
        self.rows = options.rows
        self.repeat = options.repeat
        self.folder.mkdir(parents=True, exist_ok=True)

    def way(self, name, store, out=None):
        """A peer's way, as a command."""
        return [sys.executable, HERE / "ways.py", name, str(store), str(out or self.folder / "out")]

    def main(self, rows=None):
        rows = rows or self.rows
        apart(stores.ours, self.folder, rows, self.evaltop)
        return self.folder / f"main_{rows}"

    def fresh(self, store):
        return stores.copy(store, self.folder / "run")

    def with_increments(self, name, base, *args, make=stores.increments, **more):
        """`base` and increments; made once and kept."""
        store = self.folder / name
        if not store.exists():
            making = stores.copy(base, self.folder / f"{name}.making")
            apart(make, making, *args, **more)
            os.rename(making, store)
        return store

    def with_recorded(self, files, each):
        """Main and increments that evaltop wrote, which carry their tallies and keys."""
        return self.with_increments(
            f"recorded_{files}_{self.rows}", self.main(), self.rows, files, each, self.evaltop, make=stores.recorded
        )

    def compare(self, what, target, ours, **peers):
        """Runs all in turn, and prints one row for each peer. Each is called for its command."""
        runs = {"evaltop": [], **{peer: [] for peer in peers}}
        for _ in range(self.repeat):
            for name, command in {"evaltop": ours, **peers}.items():
                argv = command()
                (self.folder / "out").unlink(missing_ok=True)
                runs[name].append(Run(argv))
        own = runs.pop("evaltop")
        for peer, theirs in runs.items():
            ratio = median(theirs) / median(own)
            print(f"| {what} | {show(own)} | {peer} | {show(theirs)} | {ratio:.2f} | {target} |", flush=True)


def median(runs):
    return statistics.median(run.seconds for run in runs)


def show(runs):
    times = sorted(run.seconds for run in runs)
    memory = max(run.memory for run in runs)
    cpu = statistics.median(run.cpu for run in runs)
    return f"{statistics.median(times):.3f} s ({times[0]:.3f}–{times[-1]:.3f}), {cpu:.2f} s CPU, {memory:.0f} MiB"


def consolidate(bench, what, target, store, pandas=True):
    peers = {
        "DuckDB": lambda: bench.way("duckdb_consolidate", store),
        "copy + fsync": lambda: bench.way("copy_and_sync", store),
    }
    if pandas:
        peers["pandas"] = lambda: bench.way("pandas_consolidate", store)
    bench.compare(what, target, lambda: [bench.evaltop, "consolidate", bench.fresh(store)], **peers)


def consolidate_many(bench):
    """1,000 increments of 1,000 records."""
    store = bench.with_increments(f"many_{bench.rows}", bench.main(), bench.rows, 1000, 1000)
    consolidate(bench, f"consolidate 1,000 × 1,000 into {bench.rows:,}", "DuckDB ≥ 5, pandas ≥ 20", store)


def consolidate_few(bench):
    """10 increments of 100 records."""
    store = bench.with_increments(f"few_{bench.rows}", bench.main(), bench.rows, 10, 100)
    consolidate(bench, f"consolidate 10 × 100 into {bench.rows:,}", "DuckDB ≥ 8, copy ≥ 0.59", store, pandas=False)


def consolidate_sizes(bench):
    """The same 10 increments beside mains of several sizes."""
    for rows in [bench.rows // 10, bench.rows, bench.rows * 5]:
        store = bench.with_increments(f"few_{rows}", bench.main(rows), rows, 10, 100)
        consolidate(bench, f"consolidate 10 × 100 into {rows:,}", "time beyond the copy flat", store, pandas=False)


def replace_scattered(bench):
    """1,000 newer attempts at tests all over main."""
    numbers = f"(SELECT range * {bench.rows // 1000} FROM range(1000))"
    store = bench.with_increments(f"scattered_{bench.rows}", bench.main(), 0, 1, 1000, numbers, stores.SECOND)
    consolidate(bench, f"replace 1,000 scattered over {bench.rows:,}", "DuckDB ≥ 0.33", store, pandas=False)


def replace_together(bench):
    """1,000 newer attempts at neighbours."""
    start = bench.rows // 2
    store = bench.with_increments(
        f"together_{bench.rows}", bench.main(), 0, 1, 1000, f"range({start}, {start + 1000})", stores.SECOND
    )
    consolidate(bench, f"replace 1,000 neighbours in {bench.rows:,}", "DuckDB ≥ 0.33", store, pandas=False)


def status(bench):
    store = bench.with_increments(f"many_{bench.rows}", bench.main(), bench.rows, 1000, 1000)
    bench.compare(
        f"status, {bench.rows:,} in main + 1,000 × 1,000", "≥ 3",
        lambda: [bench.evaltop, "status", "--format", "json", store],
        DuckDB=lambda: bench.way("duckdb_status", store),
    )


def status_recorded(bench):
    """The same where evaltop wrote the increments; 300 of them where main is small."""
    for files in [300, 1000]:
        store = bench.with_recorded(files, 1000)
        bench.compare(
            f"status, {bench.rows:,} in main + {files:,} × 1,000 of ours", "≥ 10 at 1,000 beside 10 M, ≥ 5 at 300 beside 1 M",
            lambda store=store: [bench.evaltop, "status", "--format", "json", store],
            DuckDB=lambda store=store: bench.way("duckdb_status", store),
        )


def query_recorded(bench):
    store = bench.with_recorded(300, 1000)
    bench.compare(
        f"query one cell of {bench.rows:,} + 300 × 1,000 of ours", "≥ 3",
        lambda: [bench.evaltop, "query", store, *CELL, "--format", "parquet", "-o", bench.folder / "out"],
        DuckDB=lambda: bench.way("duckdb_query_all", store),
    )


def consolidate_recorded(bench):
    for files in [300, 1000]:
        store = bench.with_recorded(files, 1000)
        consolidate(bench, f"consolidate {files:,} × 1,000 of ours into {bench.rows:,}", "≥ 6 into 10 M, ≥ 3 into 1 M", store, pandas=False)


def status_sizes(bench):
    for rows in [bench.rows // 10, bench.rows, bench.rows * 5]:
        store = bench.with_increments(f"few_{rows}", bench.main(rows), rows, 10, 100)
        bench.compare(
            f"status, {rows:,} in main + 10 × 100", "within 1.5× from the smallest to the largest",
            lambda store=store: [bench.evaltop, "status", "--format", "json", store],
            DuckDB=lambda store=store: bench.way("duckdb_status", store),
        )


def status_small(bench):
    store = bench.with_increments(f"small_{bench.rows}", bench.main(), bench.rows, 10_000, 20)
    bench.compare(
        f"status, {bench.rows:,} in main + 10,000 × 20", "≥ 3",
        lambda: [bench.evaltop, "status", "--format", "json", store],
        DuckDB=lambda: bench.way("duckdb_status", store),
    )


CELL = ["--model", "model-03", "--prompt-type", "cot", "--tool-success-rate", "0.8"]


def foreign(bench):
    """The same rows in a main that pandas wrote."""
    ours, foreign = bench.main(), bench.folder / f"foreign_{bench.rows}"
    if not foreign.exists():
        apart(stores.by_pandas, ours / stores.MAIN, foreign / stores.MAIN)
    return foreign


def query(bench):
    for name, store, target in [("evaltop", bench.main(), "≥ 2"), ("pandas", foreign(bench), "≥ 1")]:
        bench.compare(
            f"query one cell of {bench.rows:,}, main by {name}", target,
            lambda store=store: [bench.evaltop, "query", store, *CELL, "--format", "parquet", "-o", bench.folder / "out"],
            DuckDB=lambda store=store: bench.way("duckdb_query", store),
        )


def group_by(bench):
    """Tallies of all rows by model."""
    for name, store in [("evaltop", bench.main()), ("pandas", foreign(bench))]:
        bench.compare(
            f"group {bench.rows:,} by model, main by {name}", "≥ 1",
            lambda store=store: [bench.evaltop, "query", store, "--group-by", "model", "--format", "json"],
            DuckDB=lambda store=store: bench.way("duckdb_status_of_main", store),
        )


def group_by_two(bench):
    """Two free columns and three aggregates over main and its pending increments."""
    store = bench.with_recorded(300, 1000)
    aggregates = ["--agg", "mean(execution_time),max(turns),sum(tool_calls)"]
    bench.compare(
        f"group {bench.rows:,} + 300 × 1,000 by two columns, three aggregates", "≥ 1.5",
        lambda: [bench.evaltop, "query", store, "--group-by", "task_id,error_type", *aggregates, "--format", "json"],
        DuckDB=lambda: bench.way("duckdb_group_by_two", store),
    )


def export(bench):
    store = bench.main()
    for form in ["parquet", "csv", "jsonl"]:
        bench.compare(
            f"export {bench.rows:,} as {form}", "≥ 1",
            lambda form=form: [bench.evaltop, "export", store, "--format", form, "-o", bench.folder / "out", "--yes"],
            DuckDB=lambda form=form: bench.way(f"duckdb_export_{form}", store),
        )


def record(bench):
    """One pipe of JSON lines into `record`."""
    lines = bench.folder / "lines.jsonl"
    count = 1_000_000
    if not lines.exists():
        apart(stores.lines, lines, count)
    for ack in [False, True]:
        rates = []
        for _ in range(bench.repeat):
            store = bench.folder / "recorded"
            shutil.rmtree(store, ignore_errors=True)
            with lines.open("rb") as stdin:
                run = Run([bench.evaltop, "record", store, *(["--ack"] if ack else [])], stdin)
            rates.append(count / run.seconds)
        rates.sort()
        print(
            f"| record{' --ack' if ack else ''}, one pipe, {count:,} lines | {statistics.median(rates):,.0f} records/s "
            f"({rates[0]:,.0f}–{rates[-1]:,.0f}), {run.memory:.0f} MiB | – | – | – | 200,000/s |", flush=True,
        )


def size(bench):
    """Bytes of main for the same rows."""
    own = bench.main() / stores.MAIN
    theirs = {}
    out = bench.folder / "out"
    apart(stores.by_pandas, own, out)
    theirs["pandas"] = out.stat().st_size
    out.unlink()
    Run(bench.way("duckdb_export_parquet", bench.main()))
    theirs["DuckDB"] = out.stat().st_size
    for peer, bytes in theirs.items():
        mib = own.stat().st_size / 2**20
        print(f"| size of main, {bench.rows:,} rows | {mib:.0f} MiB | {peer} | {bytes / 2**20:.0f} MiB "
              f"| {bytes / own.stat().st_size:.2f} | ≥ 1 |", flush=True)


def against_json(bench):
    """What a small runner would do with one JSON document, at its own sizes."""
    folder = bench.folder / "against_json"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    document, lines, store = folder / "document.json", folder / "lines.jsonl", folder / "store"
    json_document.document_of(10_000, document)
    json_document.lines_of(10_000, lines)
    Run([bench.evaltop, "import", lines, "--into", store])
    Run([bench.evaltop, "consolidate", store])

    def anew(name):
        for place in [folder / "new", folder / "new.json"]:
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
        place = folder / ("new" if name.endswith("store") else "new.json")
        return [sys.executable, HERE / "json_document.py", name, place, bench.evaltop]

    def of_document(name):
        return [sys.executable, HERE / "json_document.py", name, document]

    as_lines = ["--format", "jsonl"]
    bench.compare("write 1,000 results, each safe before the next", "≥ 1",
                  lambda: anew("write_store"), JSON=lambda: anew("write_document"))
    bench.compare("10 processes at once, 100 results each", "≥ 1",
                  lambda: anew("many_store"), JSON=lambda: anew("many_document"))
    bench.compare("read 10,000 results", "≥ 1",
                  lambda: [bench.evaltop, "query", store, *as_lines], JSON=lambda: of_document("read_document"))
    bench.compare("read one model's of 10,000", "≥ 1",
                  lambda: [bench.evaltop, "query", store, "--model", "model-3", *as_lines],
                  JSON=lambda: of_document("query_document"))
    own, theirs = (store / stores.MAIN).stat().st_size, document.stat().st_size
    print(f"| size of 10,000 results | {own / 2**10:.0f} KiB | JSON | {theirs / 2**10:.0f} KiB "
          f"| {theirs / own:.2f} | ≥ 1 |", flush=True)


WORK = {work.__name__: work for work in [
    consolidate_many, consolidate_few, consolidate_sizes, replace_scattered, replace_together,
    status, status_recorded, status_sizes, status_small, query, query_recorded, group_by, group_by_two,
    consolidate_recorded, export, record, size,
    against_json,
]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", nargs="*", metavar="WORK", help=", ".join(WORK))
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows in main")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each")
    parser.add_argument("--folder", default=os.path.join(tempfile.gettempdir(), "evaltop-peers"), help="where stores are kept")
    parser.add_argument("--evaltop", default=HERE.parent.parent / "target" / "release" / "evaltop")
    options = parser.parse_args()
    unknown = [work for work in options.work if work not in WORK]
    if unknown:
        parser.error(f"no such work: {', '.join(unknown)}; there is {', '.join(WORK)}")
    if not Path(options.evaltop).exists():
        sys.exit(f"no program at {options.evaltop}: cargo build --release")
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; {versions}; "
          f"{options.repeat} runs each, median (least–most), CPU time, peak memory\n")
    print("| work | evaltop | peer | its figure | peer ÷ evaltop | target |\n|---|---|---|---|---|---|", flush=True)
    bench = Bench(options)
    for name in options.work or WORK:
        WORK[name](bench)


if __name__ == "__main__":
    main()
