"""An evaluation tracker of lm-evaluation-harness that keeps the samples in a store.

    from evaltop.lm_eval import EvaluationTracker

    tracker = EvaluationTracker("my_store", output_path="logs")
    results = lm_eval.simple_evaluate(..., evaluation_tracker=tracker, log_samples=True)
    tracker.save(results)

The harness writes its files as always; each file of samples is taken in as `evaltop import` takes
it, under the same ids, so that importing the files later adds nothing. Without `output_path` the
files are temporary.
"""

from __future__ import annotations

import logging
import os
import pathlib
import tempfile
from typing import Any

from lm_eval.loggers import EvaluationTracker as _Tracker  # type: ignore[import-untyped]

from . import _native

_log = logging.getLogger(__name__)


class EvaluationTracker(_Tracker):  # type: ignore[misc]
    """The harness's own tracker, with a store.

    store: the folder of the store, made where it is missing. Everything else is the harness's.
    """

    def __init__(
        self, store: str | os.PathLike[str], output_path: str | None = None, **options: Any
    ) -> None:
        self._store = os.path.abspath(os.fspath(store))
        self._folder = None
        if output_path is None:
            self._folder = tempfile.TemporaryDirectory(prefix="evaltop-lm-eval-")
            output_path = self._folder.name
        super().__init__(output_path=output_path, **options)

    def save(self, results: dict[str, Any]) -> None:
        """Save what `simple_evaluate` returned: results, and the samples of every task."""
        samples = results.pop("samples", None) or {}
        self.save_results_aggregated(results=results, samples=samples)
        for task, found in samples.items():
            self.save_results_samples(task_name=task, samples=found)

    def save_results_samples(self, task_name: str, samples: Any) -> None:
        """Save the samples of a task, and take them into the store."""
        super().save_results_samples(task_name=task_name, samples=samples)
        path = pathlib.Path(str(self.output_path))
        folder = path.parent if path.suffix == ".json" else path
        name = f"samples_{task_name}_{getattr(self, 'date_id', '')}.jsonl"
        written = sorted(folder.rglob(name))
        if not written:
            # The harness only warns where it can't write.
            _log.warning("the samples of %s were not written, so none is recorded", task_name)
            return
        _native.import_file(self._store, str(written[0]))
