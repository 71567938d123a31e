"""A legacy writer: reads its own increment, extends it, writes it again."""

import os
import sys
import time

import pandas as pd

folder, life = sys.argv[1], sys.argv[2]
name = f"increment_{os.getpid()}_{time.strftime('%Y%m%d_%H%M%S')}.parquet"
path = os.path.join(folder, "incremental", name)
print("@ready", flush=True)
for line in sys.stdin:
    first, rows = map(int, line.split())
    numbers = range(first, first + rows)
    new = pd.DataFrame({
        "test_id": [f"{life}-{n}" for n in numbers],
        "model": f"life-{life}",
        "task_id": [str(n) for n in numbers],
        "success": [n % 2 == 0 for n in numbers],
        "turns": [n if n % 5 else None for n in numbers],
        "error_type": None,
        "timestamp": pd.Timestamp.now().isoformat(),
    })
    try:
        new = pd.concat([pd.read_parquet(path), new], ignore_index=True)
    except FileNotFoundError:
        pass
    new.to_parquet(path)
    print("@ack", flush=True)
