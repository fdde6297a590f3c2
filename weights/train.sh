#!/usr/bin/env bash
# From nothing to weights with bank, interval and held-out figures, in one command that goes on where it was stopped.
#
#   weights/train.sh OUT                                              compact, on a CPU: some hours on two cores
#   PRESET=finecausal DEVICE=cuda WORKERS=14 weights/train.sh OUT     the full size, on a GPU
#
# OUT gets trunk/, heads/, recognising/ and weights/. Settings are environment variables:
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?"usage: weights/train.sh OUT"}
PRESET=${PRESET:-compact}
DEVICE=${DEVICE:-auto}
# Precision of backbones: an I3D needs fp32 on a CPU, and encodes faster in it on an H100 (TF32).
PRECISION=${PRECISION:-$([ "$PRESET" = compact ] && echo bf16 || echo fp32)}
DATA=${DATA:-data/benchmark}      # train/, test/ and calibration/; simulated if missing
SIZE=${SIZE:-full}                # of the benchmark: full, or small
STEPS=${STEPS:-8700}              # of pretraining
EPOCHS=${EPOCHS:-10}
VIEWS=${VIEWS:-3}
NUMBERS=${NUMBERS:-3000}          # steps of the dive-number classifier
SWAP=${SWAP:-0.5}                 # share of the augmented dives before other backgrounds
WORKERS=${WORKERS:-2}             # processes that simulate and, on a GPU, cut snippets ahead
CACHE=${CACHE:-}
PYTHON=${PYTHON:-.venv/bin/python}

say() { printf '== %s\n' "$*" >&2; }
# Runs are begun, or gone on with if their folder holds one: run FOLDER/FILE COMMAND...
run() { local mark=$1; shift; if [ -e "$mark" ]; then "$@" --resume; else "$@"; fi; }
finecausal=("$PYTHON" -m finecausal_cli)
cache=(${CACHE:+--cache "$CACHE"})

if [ ! -e "$DATA/test/dives.csv" ]; then
    say "simulating the benchmark ($SIZE)"
    "$PYTHON" -m benchmarks.data "$DATA" --size "$SIZE" --workers "$WORKERS"
fi
if [ ! -e "$DATA/calibration/dives.csv" ]; then
    say "simulating the dives of the interval"
    "${finecausal[@]}" simulate "$DATA/calibration" --count 300 --seed 4 --workers "$WORKERS"
fi

say "pretraining backbones: $STEPS steps"
run "$out/trunk/pretraining.json" "${finecausal[@]}" pretrain "$DATA/train" -o "$out/trunk" --preset "$PRESET" \
    --steps "$STEPS" --at-takeoff 0.4 --counts stance=2,crouch=2,leaving=2,flight=3,entry=2 \
    --precision "$PRECISION" --device "$DEVICE" --workers "$([ "$DEVICE" = cuda ] && echo "$WORKERS" || echo 0)" "${cache[@]}"

say "training what stands behind them: $EPOCHS epochs on $VIEWS views of each dive"
run "$out/heads/run.json" "${finecausal[@]}" train "$DATA/train" -o "$out/heads" --init "trunk:$out/trunk" \
    --freeze-backbone --views "$VIEWS" --swap-backgrounds "$SWAP" --groups-per-batch 3 --epochs "$EPOCHS" \
    --validate-every 2 --precision "$PRECISION" --device "$DEVICE" "${cache[@]}"

ready=$out/heads/best
if [ "$PRESET" = compact ]; then
    say "training the dive-number classifier"
    "${finecausal[@]}" weights recogniser "$DATA/train" --weights "$ready" -o "$out/recognising" --steps "$NUMBERS" --device "$DEVICE" "${cache[@]}"
    ready=$out/recognising
fi

say "bank, interval and held-out figures"
"$PYTHON" weights/make.py "$ready" "$DATA" "$out/weights" --device "$DEVICE" "${cache[@]}"
"${finecausal[@]}" weights verify "$out/weights"
