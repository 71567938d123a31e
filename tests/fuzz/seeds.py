"""Makes the seeds that other programs' writers are needed for, in `corpus/`: Parquet files
with what this program never writes itself, and archives with odd entries. Needs pyarrow.

    python3 tests/fuzz/seeds.py
"""

import io
import json
import zipfile
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

CORPUS = Path(__file__).parent / "corpus"
TIMES = [datetime(2026, 1, 31, 12, 0, second, tzinfo=timezone.utc) for second in range(3)]
PLAIN = {
    "test_id": ["a", "b", "b"],
    "model": ["m", "m", "n"],
    "success": [True, False, None],
    "tool_success_rate": [0.8, None, 0.5],
    "turns": [1, None, 3],
    "timestamp": pa.array(TIMES, pa.timestamp("us", "UTC")),
}
MODEL, SUCCESS = pa.array(["m", "n", "m"]), pa.array([True, False, True])


def parquet(name, columns, **options):
    pq.write_table(pa.table(columns), CORPUS / "parquet" / f"{name}.parquet", **options)


def parquet_files():
    # How the bytes are packed.
    for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
        parquet(f"codec_{codec}", PLAIN, compression=codec, use_dictionary=False)
    parquet("pages_v2", PLAIN, data_page_version="2.0", compression="snappy", write_page_checksum=True)
    parquet("checksums", PLAIN, write_page_checksum=True)
    parquet("page_index", PLAIN, write_page_index=True, data_page_size=1, write_batch_size=1)
    parquet("row_groups", PLAIN, row_group_size=1)
    encodings = {
        "test_id": "DELTA_BYTE_ARRAY",
        "model": "DELTA_LENGTH_BYTE_ARRAY",
        "success": "RLE",
        "tool_success_rate": "BYTE_STREAM_SPLIT",
        "turns": "DELTA_BINARY_PACKED",
        "timestamp": "DELTA_BINARY_PACKED",
    }
    parquet("encodings", PLAIN, use_dictionary=False, column_encoding=encodings, data_page_version="2.0")
    # What the columns are.
    parquet("int96", PLAIN, use_deprecated_int96_timestamps=True, version="1.0")
    nested = {
        "model": MODEL,
        "success": SUCCESS,
        "list": [[1, None], [], None],
        "struct": [{"x": 1, "y": {"z": "t"}}, None, {"x": None, "y": None}],
        "structs": [[{"k": "a", "v": [1.5]}], [], [{"k": None, "v": None}]],
        "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "fixed": pa.array([[1, 2], [3, 4], None], pa.list_(pa.int8(), 2)),
    }
    parquet("nested", nested)
    parquet("dictionaries", {
        "model": MODEL.dictionary_encode(),
        "success": SUCCESS,
        "task_type": pa.array(["t", None, "t"]).cast(pa.large_string()).dictionary_encode(),
        "turns": pa.array([1, 2, 1]).dictionary_encode(),
    })
    parquet("legacy_types", {
        "model": MODEL.cast(pa.large_string()),
        "success": SUCCESS,
        "turns": pa.array([1, 2, None], pa.uint8()),
        "execution_time": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2)),
        "quality_score": pa.array([0.5, None, 1.0], pa.float32()),
        "final_score": pa.array([0.5, None, 1.0], pa.float16()),
        "session_id": pa.array([b"ab", b"cd", None], pa.binary(2)),
        "flaw_type": pa.array([b"\xff", b"", None], pa.binary()),
        "timestamp": pa.array(TIMES, pa.timestamp("ns")),
        "day": pa.array(TIMES, pa.date32()),
        "clock": pa.array([1, 2, None], pa.time64("us")),
        "took": pa.array([1, 2, None], pa.duration("ms")),
        "nothing": pa.nulls(3),
    })
    parquet("texts", {**PLAIN, "timestamp": ["2026-01-31T12:00:00", "2026-01-31 12:00:00+02:00", "never"]})
    parquet("numbers", {"model": MODEL, "success": [1, 0, 7], "timestamp": [1.5, float("nan"), 1e300]})
    parquet("summaries", {
        "model": MODEL,
        "total": [10, 5, 0],
        "success": [6, 5, 0],
        "successful": [6.0, None, 0.0],
        "partial": [1, 0, None],
        "weighted_success_score": [0.65, 1.0, float("nan")],
    })
    parquet("mixed", {
        "model": MODEL,
        "test_id": ["a", None, ""],
        "total": [None, 5, 1],
        "success": [1.0, 5.0, 1.0],
    })
    parquet("no_rows", {name: pa.array([], column.type) for name, column in zip(nested, pa.table(nested))})
    parquet("no_columns", {})
    parquet("not_ours", {"colour": ["red"]})
    parquet("names", {"model": MODEL, "success": SUCCESS, "a.b": [1, 2, 3], "line\nbreak": [1, 2, 3], "": [1, 2, 3]})


HEADER = {
    "version": 2,
    "status": "success",
    "eval": {"task": "t", "model": "m", "task_id": "T", "created": "2026-01-31T12:00:00+00:00"},
}
SAMPLE = {"id": "s", "epoch": 1, "scores": {"match": {"value": "C"}, "f1": {"value": 0.5}}, "total_time": 1.5}


def archive(name, parts, cut=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for part, content, how in parts:
            text = content if isinstance(content, (bytes, str)) else json.dumps(content)
            file.writestr(part, text, compress_type=how)
    (CORPUS / "inspect" / name).write_bytes(buffer.getvalue()[:cut])


def archives():
    stored, deflated = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
    odd_samples = [
        {**SAMPLE, "id": 7, "epoch": 2, "error": {"message": "rate limit\n429"}, "scores": None},
        {**SAMPLE, "scores": {"match": {"value": {"nested": [1, "I", None]}}}},
        {**SAMPLE, "scores": {"match": {"value": [True, "P", float("nan")]}}, "limit": {"type": "time"}},
        {"id": None, "epoch": -1, "scores": {}},
        [],
    ]
    archive("odd_samples.eval", [("header.json", HEADER, stored)] + [
        (f"samples/{number}_epoch_1.json", sample, deflated) for number, sample in enumerate(odd_samples)
    ])
    archive("odd_entries.eval", [
        ("../up.json", "{}", stored),
        ("/abs.json", "{}", stored),
        ("samples/", "", stored),
        ("samples/empty.json", "", deflated),
        ("samples/a.json", SAMPLE, deflated),
        ("samples/a.json", SAMPLE, stored),
        ("samples/\u00fc\n.json", SAMPLE, deflated),
        ("samples/zeros.json", b"\0" * 4096, deflated),
        ("header.json", HEADER, deflated),
    ])
    unfinished = {**HEADER, "status": "started"}
    archive("unfinished.eval", [
        ("_journal/start.json", unfinished, stored),
        ("_journal/summaries/1.json", [{"id": "s"}], deflated),
        ("samples/s_epoch_1.json", SAMPLE, deflated),
    ], cut=-60)
    failed = {**HEADER, "status": "error", "error": {"message": "out of credit", "traceback": "…"}}
    failed["samples"] = [SAMPLE, {**SAMPLE, "scores": {"match": {"value": 0}}}]
    (CORPUS / "inspect" / "failed.json").write_text(json.dumps(failed))


parquet_files()
archives()
