"""The tracker of lm-evaluation-harness, with the real harness and its model without weights."""

import json
import pathlib
import subprocess
import sys

import pytest

import evaltop
from conftest import needed

needed("lm_eval")

TASK = """
task: sums
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["\\n"]
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""

SCRIPT = """
import sys
import lm_eval
from lm_eval.tasks import TaskManager
from evaltop.lm_eval import EvaluationTracker

store, tasks, logs = sys.argv[1:]
tracker = EvaluationTracker(store, output_path=logs or None)
results = lm_eval.simple_evaluate(
    model="dummy", model_args={"model": "nobody/none"}, tasks=["sums"], log_samples=True,
    task_manager=TaskManager(include_path=tasks), evaluation_tracker=tracker, bootstrap_iters=0,
)
tracker.save(results)
"""


@pytest.mark.parametrize("kept", [True, False])
def test_samples_are_recorded_and_an_import_adds_nothing(tmp_path, kept):
    tasks, data = tmp_path / "tasks", tmp_path / "data.jsonl"
    tasks.mkdir()
    (tasks / "sums.yaml").write_text(TASK.format(data=data))
    # The harness's model without weights always answers "lol".
    answers = ["lol" if n < 3 else "42" for n in range(5)]
    lines = (json.dumps({"question": f"q{n}", "answer": a}) for n, a in enumerate(answers))
    data.write_text("\n".join(lines))
    store, logs = tmp_path / "s", tmp_path / "logs"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(store), str(tasks), str(logs) if kept else ""],
        capture_output=True, text=True, timeout=600,
    )
    assert done.returncode == 0, done.stderr
    totals = evaltop.open(store).status()["totals"]
    assert (totals["tests"], totals["success"]) == (5, 3)
    (model,) = evaltop.open(store).models().to_dicts()
    assert model["model"] == "nobody/none"
    if kept:
        (samples,) = pathlib.Path(logs).rglob("samples_*.jsonl")
        done = subprocess.run(
            [sys.executable, "-m", "evaltop", "import", str(samples), "--into", str(store)],
            capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr
        assert evaltop.open(store).status()["totals"] == totals
