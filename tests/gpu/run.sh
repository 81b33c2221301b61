#!/usr/bin/env bash
# What a CUDA machine has to answer, in less than seven minutes, the shortest question first:
# is a step right, does it wait, does it get its rows, how fast is it, does a whole training run,
# with graphs too. Needs Python with
# torch, the package's light requirements and this checkout, which need not be installed.
# usage: tests/gpu/run.sh [--device cpu]     without CUDA: the same on a CPU, in small sizes
set -u
cd "$(dirname "$0")/../.."
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$PWD" PYTHONUNBUFFERED=1
python=${PYTHON:-python3}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
failed=0
slower=1 # than a GPU
case "$*" in *cpu*) slower=20 ;; esac
command -v nvidia-smi >/dev/null || slower=20
for part in right:90 waiting:30 feed:30 fast:165 whole:100; do
    name=${part%:*}
    timeout $((${part#*:} * slower)) "$python" -m "tests.gpu.$name" "$@" >"$logs/$name" 2>&1
    code=$?
    if [ "$code" = 0 ]; then
        echo "PASS $name"
        grep '^|' "$logs/$name"
    else
        failed=1
        echo "FAIL $name (exit code $code; 124: out of time)"
        grep '^|' "$logs/$name"
        tail -n 15 "$logs/$name" | sed 's/^/    /'
    fi
done
exit "$failed"
