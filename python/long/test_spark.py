"""The leaderboard job of docs/cluster.md on Spark in local-cluster mode, over a million rows, against
the store's own figures. Takes a Java and pyspark, and minutes: .ci/long runs it."""

import json
import os
import re
import subprocess
from pathlib import Path

import pyspark
import pytest

import evaltop

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
ROWS = int(os.environ.get("EVALTOP_SPARK_ROWS", "1_000_000"))


def job():
    text = DOCS.read_text()
    return re.search(r"<!-- file: leaderboard.py -->\n```py\n(.*?)```", text, re.DOTALL).group(1)


def board(folder, table):
    (folder / "leaderboard.py").write_text(job())
    home = Path(pyspark.__file__).parent
    command = [home / "bin" / "spark-submit", "--master", "local-cluster[2,1,1024]", "leaderboard.py", table]
    out = subprocess.run(
        command, cwd=folder, env=os.environ | {"SPARK_HOME": str(home)}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return {row["model"]: row for row in map(json.loads, out.splitlines())}


def test_spark_counts_what_the_store_counts(tmp_path):
    with evaltop.Writer(tmp_path / "s", session="x") as w:
        for first in range(0, ROWS, 50_000):
            w.record_many(
                {"model": f"model-{n % 7}", "task_id": n // 7, "success": (n * 7919) % 10 < 3 + n % 7}
                for n in range(first, min(first + 50_000, ROWS))
            )
    store = evaltop.open(tmp_path / "s", mode="a")
    store.export(tmp_path / "table", format="delta")
    # What a second export replaces stays in the folder, and Spark must not count it.
    with evaltop.Writer(tmp_path / "s", session="x") as w:
        w.record_many({"model": "model-0", "task_id": n, "success": True} for n in range(1_000))
    assert store.export(tmp_path / "table", format="delta")["removed"] > 0
    found = board(tmp_path, tmp_path / "table")
    own = {row["model"]: row for row in store.models().to_dicts()}
    assert found.keys() == own.keys()
    for model, row in own.items():
        assert (found[model]["n"], found[model]["success"]) == (row["tests"], row["success"])
        for name, of_store in (("rate", "success_rate"), ("low", "ci_low"), ("high", "ci_high")):
            assert found[model][name] == pytest.approx(row[of_store], abs=1e-6)
