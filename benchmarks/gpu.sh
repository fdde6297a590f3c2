#!/usr/bin/env bash
# Everything that is asked of the GPU path, measured and printed, in four minutes at most on a GPU with 16 cores:
#
#   benchmarks/gpu.sh                       the full preset
#   DEVICE=cpu SIZE=toy benchmarks/gpu.sh   a rehearsal with small networks and few dives
#
# It needs no network. Every phase has a time limit of its own; one that fails or exceeds it is said so, and the next
# one begins. TABLE=1 also enters the measured plans into the table that --precision auto reads.
set -uo pipefail
cd "$(dirname "$0")/.."
DEVICE=${DEVICE:-cuda}
SIZE=${SIZE:-full}                 # full, or toy
PYTHON=${PYTHON:-.venv/bin/python}
WORKERS=${WORKERS:-$(nproc)}       # processes that simulate
DATA=${DATA:-$(mktemp -d)}         # simulated dives and their cache are put here
TABLE=${TABLE:-}
if [ "$SIZE" = toy ]; then
    dives=14 limit=4 batch=1 steps=6 feed_steps=6 scale=${SCALE:-1} toy=(--toy) numbers=(--dives 107B,405C)
else
    dives=240 limit=200 batch=16 steps=150 feed_steps=120 scale=1 toy=() numbers=()
fi

started=$SECONDS
# phase SECONDS NAME COMMAND...
phase() {
    local limit=$(($1 * scale)) name=$2 began=$SECONDS
    shift 2
    printf '\n== %s (at %d s)\n' "$name" $((SECONDS - started))
    timeout --kill-after=5 "$limit" "$@" || printf '== %s FAILED, exit status %d\n' "$name" $?
    printf '== %s took %d s\n' "$name" $((SECONDS - began))
}

[ "$DEVICE" = cuda ] && nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
"$PYTHON" -m finecausal_cli simulate "$DATA/dives" --count "$dives" --seed 7 --workers "$WORKERS" "${numbers[@]}" >"$DATA/log" 2>&1 &
simulating=$!

phase 60 "encoding by plan: the full preset" \
    "$PYTHON" -m benchmarks.execution --preset finecausal --batch "$batch" --seconds 45 --device "$DEVICE" ${TABLE:+--write} "${toy[@]}"
wait "$simulating" || { cat "$DATA/log"; exit 1; }
gpu=("$PYTHON" -m benchmarks.gpu)
common=(--device "$DEVICE" --cache "$DATA/cache" "${toy[@]}")
phase 45 "feeding: cache, batches and views" \
    "$PYTHON" -m benchmarks.feeding "$DATA/dives" --workers "$WORKERS" --steps "$feed_steps" --cache "$DATA/cache" --device "$DEVICE"
phase 40 "pretraining" "${gpu[@]}" pretrain "$DATA/dives" --steps "$steps" "${common[@]}"
phase 20 "views" "${gpu[@]}" views "$DATA/dives" "${common[@]}"
phase 25 "a folder, full preset" "${gpu[@]}" folder "$DATA/dives" "${common[@]}"
phase 30 "scores of compact weights by plan" \
    "$PYTHON" -m benchmarks.execution --weights compact --dives "$DATA/dives/dives.csv" --limit "$limit" --batch "$batch" \
    --seconds 20 --device "$DEVICE" ${TABLE:+--write} "${toy[@]}"
phase 20 "two cores of the CPU" \
    env OMP_NUM_THREADS=2 "${gpu[@]}" cpu "$DATA/dives" --preset compact "${common[@]}"
printf '\n== all of it took %d s\n' $((SECONDS - started))
