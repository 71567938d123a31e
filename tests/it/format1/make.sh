#!/usr/bin/env bash
# Makes the stores of this folder with the last program of format 1 (commit c341957) and a Python with
# pandas: make.sh PROGRAM PYTHON. Each has a store, what the program counted in it, and the files that a
# legacy writer still remembers.
set -eu
program=$1 python=$2 here=$(cd "$(dirname "$0")" && pwd)
export TZ=UTC
rm -rf "$here/stores"

begin() { kind=$here/stores/$1 store=$here/stores/$1/store; mkdir -p "$store" "$kind/remembered"; touch "$kind/remembered/.keep"; }
record() { "$program" record "$store" >/dev/null; }
merge() { "$program" consolidate --yes "$store" >/dev/null; }
legacy() { # NAME FIRST LAST: a row a second, of which two are equal, without ids
  mkdir -p "$store/incremental"
  "$python" -c 'import sys; import pandas as pd
n = list(range(int(sys.argv[2]), int(sys.argv[3])))
pd.DataFrame({"model": ["m"] * len(n), "success": [at % 2 == 0 for at in n], "turns": [at // 2 for at in n],
  "timestamp": [f"2026-01-31T12:00:{at // 2:02}" for at in n]}).to_parquet(sys.argv[1])' "$store/incremental/$1" "$2" "$3"
}
other_code() { # reads main and writes it again with a row more, as pandas does
  "$python" -c 'import sys; import pandas as pd
main = pd.read_parquet(sys.argv[1]); more = main.iloc[[0]].assign(turns=99, test_id=None)
pd.concat([main, more], ignore_index=True).to_parquet(sys.argv[1])' "$store/test_results.parquet"
}
end() { # COMMITS
  rm -f "$store"/*.lock "$store"/operations.jsonl
  "$program" status --format json "$store" | "$python" -c 'import json, sys
seen = json.load(sys.stdin); totals = seen["totals"]
print(json.dumps({"tests": totals["tests"], "success": totals["success"], "commits": sys.argv[1] == "1"}))' "$1" > "$kind/expected.json"
}

begin plain
for attempt in 1 2; do
  for at in 1 2 3 4; do echo "{\"model\":\"m\",\"success\":true,\"test_id\":\"t$at\",\"turns\":$attempt}"; done | record; merge
done
echo '{"model":"m","success":false,"test_id":"t9"}' | record
end 1

begin sessions
echo '{"model":"m","success":false,"test_id":"t1","session_id":"one"}' | record; merge
echo '{"model":"m","success":true,"test_id":"t1","session_id":"two"}' | record; merge
echo '{"model":"m","success":true,"test_id":"t2","session_id":"two"}' | record
end 1

begin bare
legacy increment_7_20260131_120000.parquet 0 6; merge
legacy increment_7_20260131_120000.parquet 0 9
cp "$store/incremental/increment_7_20260131_120000.parquet" "$kind/remembered/"
end 1

begin undone
legacy increment_7_20260131_120000.parquet 0 4; merge
legacy increment_8_20260131_120000.parquet 4 9; merge
"$program" restore --undo --yes "$store" >/dev/null
cp "$store/incremental/increment_7_20260131_120000.parquet" "$kind/remembered/"
end 1

begin rewritten
legacy increment_7_20260131_120000.parquet 0 4; merge
cp "$store/incremental/increment_7_20260131_120000.parquet" "$kind/remembered/"
other_code
legacy increment_9_20260131_120000.parquet 4 6
end 1

begin uncommitted
legacy increment_7_20260131_120000.parquet 0 4
legacy increment_8_20260131_120000.parquet 0 4
end 0
