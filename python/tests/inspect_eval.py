"""An evaluation of Inspect without network: `python inspect_eval.py LOGS`, run by test_inspect.py.

Eight samples, two epochs. The model answers 42 (41 for q2), is busy once for q3, breaks once for
q5 and always for q6; for q4 it waits until the file $GATE is there.
"""

import asyncio
import os
import pathlib
import sys

from inspect_ai import Task, eval, eval_retry, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


class Busy(Exception):
    status_code = 429


ASKED = {}


@modelapi(name="local")
class Local(ModelAPI):
    def __init__(self, model_name, base_url=None, api_key=None, config=GenerateConfig(), **_):
        super().__init__(model_name, base_url, api_key, [], config)

    async def generate(self, input, tools, tool_choice, config):
        question = input[-1].text
        ASKED[question] = ASKED.get(question, 0) + 1
        if question == "q3" and ASKED[question] == 1:
            raise Busy("slow down")
        if (question == "q5" and ASKED[question] == 1) or question == os.environ.get("BROKEN"):
            raise RuntimeError("it broke")
        gate = os.environ.get("GATE")
        while question == "q4" and gate and not os.path.exists(gate):
            await asyncio.sleep(0.02)
        output = ModelOutput.from_content(self.model_name, "41" if question == "q2" else "42")
        output.usage = ModelUsage(
            input_tokens=10, output_tokens=5, total_tokens=19, input_tokens_cache_read=4
        )
        return output

    def should_retry(self, ex):
        return isinstance(ex, Busy)


@task
def sums():
    samples = [
        Sample(
            id=f"s{n}", input=f"q{n}", target="42",
            metadata={"difficulty": "hard" if n % 2 else "easy", "n": n, "odd": None, "l": [1, {}]},
        )
        for n in range(8)
    ]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes())


def main():
    logs = sys.argv[1]
    common = {"log_dir": logs, "display": os.environ.get("SHOWN", "none"), "fail_on_error": False, "log_level": "warning"}
    if len(sys.argv) > 2:
        (old,) = pathlib.Path(logs).glob("*.eval")
        (log,) = eval_retry(str(old), **common)
    else:
        if os.environ.get("LIMIT"):
            common["limit"] = int(os.environ["LIMIT"])
        (log,) = eval(sums(), model="local/m", epochs=2, retry_on_error=1, **common)
    print(log.status)


if __name__ == "__main__":
    main()
