"""Look-alikes of stores that legacy code wrote, made with pandas.

Usage: stores.py KIND FOLDER. Makes the store and prints what it holds, computed
here from the same frame, as JSON.
"""

import json
import os
import sys

import numpy as np
import pandas as pd

RNG = np.random.default_rng(7)
MODELS = ["DeepSeek-V3-0324", "qwen2.5-72b-instruct", "gpt-4o-mini"]
PROMPTS = ["baseline", "cot", "optimal", "flawed_vague"]
DIFFICULTIES = ["easy", "medium", "hard"]
TASKS = ["basic_task", "simple_task", "data_pipeline", "api_integration", "multi_stage_pipeline"]
DIMENSIONS = ["model", "prompt_type", "tool_success_rate", "difficulty", "task_type"]


def dimensions(frame):
    """Dictionary-encoded with int8 keys, the rate as float32, as legacy code has them."""
    for name in DIMENSIONS:
        frame[name] = frame[name].astype("float32" if name == "tool_success_rate" else "category")
    return frame


def records(folder):
    n = 3_872
    full = RNG.random(n) < 0.5
    frame = pd.DataFrame({
        # Ids collide across cells, and now and then within one.
        "test_id": [None if i % 50 == 0 else f"test_{RNG.integers(0, 999)}" for i in range(n)],
        "model": RNG.choice(MODELS, n),
        "prompt_type": RNG.choice(PROMPTS, n),
        "tool_success_rate": RNG.choice([0.6, 0.8, 0.9], n),
        "difficulty": RNG.choice(DIFFICULTIES, n),
        "task_type": RNG.choice(TASKS, n),
        "success": full,
        "partial_success": ~full & (RNG.random(n) < 0.3),
        "execution_time": RNG.gamma(2.0, 10.0, n).astype("float32"),
        "turns": RNG.integers(1, 10, n).astype("int32"),
        "tool_calls": RNG.integers(0, 12, n).astype("int32"),
        "error_type": [None] * n,
        # Totals of the group on every row: no reader may trust them.
        "total": np.full(n, 64, dtype="int32"),
        "success_rate": np.full(n, 0.5, dtype="float32"),
        "timestamp": pd.date_range("2025-08-01", periods=n, freq="s").strftime("%Y-%m-%dT%H:%M:%S.%f"),
    })
    dimensions(frame).to_parquet(os.path.join(folder, "test_results.parquet"))
    keyed = frame[frame.test_id.notna()].sort_values("timestamp")
    winners = keyed.drop_duplicates(["test_id", *DIMENSIONS], keep="last")
    counted = pd.concat([winners, frame[frame.test_id.isna()]])
    return tally(counted, counted.index.size, "success", "partial_success") | {
        "superseded": int(n - counted.index.size),
        "mean_turns": float(counted.turns.mean()),
    }


def cells(n):
    grid = [(m, p, r, d, t) for m in MODELS for p in PROMPTS for r in (0.8, 0.6) for d in DIFFICULTIES for t in TASKS]
    chosen = [grid[i] for i in RNG.permutation(len(grid))[:n]]
    return pd.DataFrame(chosen, columns=DIMENSIONS)


def summary_frame(n):
    frame = cells(n)
    frame["total"] = RNG.integers(10, 200, n).astype("int32")
    frame["full"] = (frame.total * RNG.random(n) * 0.6).astype("int32")
    frame["partial"] = ((frame.total - frame.full) * RNG.random(n) * 0.5 + 1).astype("int32")
    return frame


COUNTS = [
    "total_errors", "tool_call_format_errors", "timeout_errors", "dependency_errors",
    "parameter_config_errors", "tool_selection_errors", "sequence_order_errors",
    "max_turns_errors", "other_errors", "assisted_failure", "assisted_success",
    "total_assisted_turns", "tests_with_assistance",
]
RATES = [
    "success_rate", "full_success_rate", "partial_success_rate", "partial_rate", "failure_rate",
    "avg_execution_time", "avg_turns", "avg_tool_calls", "tool_coverage_rate",
    "avg_workflow_score", "avg_phase2_score", "avg_quality_score", "avg_final_score",
    "tool_selection_error_rate", "parameter_error_rate", "sequence_error_rate",
    "dependency_error_rate", "timeout_error_rate", "format_error_rate", "max_turns_error_rate",
    "other_error_rate", "avg_assisted_turns", "assisted_success_rate", "assistance_rate",
]


def summaries51(folder):
    """All columns; success counts both; stored rates are stale."""
    frame = summary_frame(120)
    out = frame[DIMENSIONS + ["total", "partial"]].copy()
    out["success"] = frame.full + frame.partial
    out["full_success"] = frame.full
    out["partial_success"] = frame.partial
    out["successful"] = out["success"]
    out["failed"] = 0
    out["weighted_success_score"] = 0.123
    for name in COUNTS:
        out[name] = np.int32(1)
    for name in RATES:
        out[name] = np.float32(0.99)
    out["last_updated"] = "2025-08-02T15:59:40.123456"
    assert out.shape[1] == 51, out.shape
    dimensions(out).to_parquet(os.path.join(folder, "test_results.parquet"))
    return tally(frame, int(frame.total.sum()), "full", "partial")


def summaries18(folder):
    """Few columns; success counts full alone, which one row with more partial proves."""
    frame = summary_frame(40)
    frame.loc[3, ["total", "full", "partial"]] = [100, 10, 30]
    out = frame[DIMENSIONS + ["total", "partial"]].copy()
    out["success"] = frame.full
    out["failed"] = frame.total - frame.full
    for name in RATES[:8]:
        out[name] = np.float32(0.5)
    out["last_updated"] = "2025-08-02T15:59:40"
    assert out.shape[1] == 18, out.shape
    dimensions(out).to_parquet(os.path.join(folder, "test_results.parquet"))
    return tally(frame, int(frame.total.sum()), "full", "partial")


def summaries48(folder):
    """success and full_success are zero beside successful; the scores tell what it counts."""
    frame = summary_frame(90)
    out = frame[DIMENSIONS + ["total", "partial"]].copy()
    out["success"] = np.int32(0)
    out["full_success"] = np.int32(0)
    out["partial_success"] = np.int32(0)
    out["successful"] = frame.full + frame.partial
    out["weighted_success_score"] = ((frame.full + 0.5 * frame.partial) / frame.total).round(3)
    # A few of the scores are stale.
    out.loc[:5, "weighted_success_score"] = 0.999
    for name in COUNTS[:11]:
        out[name] = np.int32(0)
    for name in RATES:
        out[name] = np.float32(0.0)
    out["last_updated"] = "2025-08-02T15:59:40"
    assert out.shape[1] == 48, out.shape
    dimensions(out).to_parquet(os.path.join(folder, "test_results.parquet"))
    return tally(frame, int(frame.total.sum()), "full", "partial")


def mixed(folder):
    """Records whose success column turned into numbers when a summary was written among them."""
    frame = pd.DataFrame({
        "test_id": [f"t{i}" for i in range(20)] + [None] * 12,
        "model": ["DeepSeek-V3-0324"] * 30 + ["gpt-4o-mini"] * 2,
        "success": [i % 2 for i in range(30)] + [40, 7],
        "partial": [None] * 30 + [10, 3],
        "total": [None] * 30 + [100, 50],
        "tool_success_rate": 0.8,
    })
    frame.to_parquet(os.path.join(folder, "test_results.parquet"))
    return {"tests": 180, "success": 15 + 30 + 4, "partial": 13, "models": {}}


def tally(frame, tests, full, partial):
    weight = frame["total"] if full == "full" else None
    models = {}
    for model, rows in frame.groupby("model", observed=True):
        n = int(weight[rows.index].sum()) if weight is not None else len(rows)
        models[str(model)] = [n, int(rows[full].sum()), int(rows[partial].sum())]
    return {
        "tests": tests,
        "success": int(frame[full].sum()),
        "partial": int(frame[partial].sum()),
        "models": models,
    }


def grow(folder):
    """Rewrites its own increment in place, as legacy writers do, and prints its rows."""
    path = os.path.join(folder, "incremental", "increment_4242_20250801_120000.parquet")
    frame = None
    for batch in range(30):
        new = pd.DataFrame({
            "test_id": [f"grow_{batch}_{i}" for i in range(40)],
            "model": "gpt-4o-mini",
            "success": [i % 4 == 0 for i in range(40)],
            "timestamp": pd.Timestamp.now().isoformat(),
        })
        frame = new if frame is None else pd.concat([pd.read_parquet(path), new])
        frame.to_parquet(path)
    return {"tests": len(frame), "success": int(frame.success.sum()), "partial": 0, "models": {}}


if __name__ == "__main__":
    kind, folder = sys.argv[1:]
    os.makedirs(os.path.join(folder, "incremental"), exist_ok=True)
    print(json.dumps(globals()[kind](folder)))
