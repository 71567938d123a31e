"""Evaluations of Inspect without network: `python inspect_live.py LOGS`. Three tasks in two epochs;
one breaks and is retried. Prints what Inspect itself counts, as JSON."""

import asyncio
import json
import sys

from inspect_ai import Task, eval, eval_retry, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.scorer import includes
from inspect_ai.solver import generate

ASKED = {}


@modelapi(name="local")
class Local(ModelAPI):
    def __init__(self, model_name, base_url=None, api_key=None, config=GenerateConfig(), **_):
        super().__init__(model_name, base_url, api_key, [], config)

    async def generate(self, input, tools, tool_choice, config):
        question = input[-1].text
        ASKED[question] = ASKED.get(question, 0) + 1
        await asyncio.sleep(0.05)
        if question == "broken-3" and ASKED[question] == 1:
            raise RuntimeError("it broke")
        return ModelOutput.from_content(self.model_name, "41" if question.endswith("2") else "42")


def samples(name, n):
    questions = [f"{name}-{at}" for at in range(n)]
    return MemoryDataset([Sample(id=q, input=q, target="42") for q in questions])


@task
def short():
    return Task(dataset=samples("short", 4), solver=generate(), scorer=includes(), name="short")


@task
def long():
    return Task(dataset=samples("long", 12), solver=generate(), scorer=includes(), name="long")


@task
def broken():
    return Task(dataset=samples("broken", 6), solver=generate(), scorer=includes(), name="broken")


def main():
    logs = sys.argv[1]
    some = dict(log_dir=logs, display="none", log_buffer=1, max_samples=2)
    for one in [short, long, broken]:
        (log,) = eval(one(), model="local/m", epochs=2, **some)
        if log.status == "error":
            eval_retry(log, **some)
    found = {}
    for info in list_eval_logs(logs):
        log = read_eval_log(info)
        if log.status != "success":
            continue
        right = sum(sample.scores["includes"].value == "C" for sample in log.samples)
        assert right == round(log.results.scores[0].metrics["accuracy"].value * len(log.samples))
        found[log.eval.task] = [len(log.samples), right]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
