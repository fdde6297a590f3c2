#!/usr/bin/env bash
# From nothing to the network that judges bodies, with bank, interval and self-test, in one command that goes on where
# it was stopped.
#
#   weights/skeleton.sh OUT                           on a CPU: about three hours on two cores
#   DEVICE=cuda WORKERS=14 weights/skeleton.sh OUT    on a GPU
#
# OUT gets photographs/, bodies/, practice/, failed/, films/, practice-films/, held-out/, practice-held-out/, tracks/ and
# run/. Settings are environment variables:
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?"usage: weights/skeleton.sh OUT"}
BACKGROUNDS=${BACKGROUNDS:-$out/photographs}   # any folder of photographs; fetched from Debian's packages if missing
BODIES=${BODIES:-5000}             # simulated bodies: milliseconds each
PRACTICE=${PRACTICE:-3000}           # bodies of every listed number from every height, easy numbers more often
FAILED=${FAILED:-420}              # bodies of failed dives, which are rare otherwise
FILMS=${FILMS:-450}                # simulated films, which the athlete reader reads: about ten seconds each
PRACTICE_FILMS=${PRACTICE_FILMS:-120}    # the same of every listed number
HELD_OUT=${HELD_OUT:-130}          # films for interval and dive numbers
PRACTICE_HELD_OUT=${PRACTICE_HELD_OUT:-60}   # the same of every listed number
ALONE_STEPS=${ALONE_STEPS:-2100}
PAIR_STEPS=${PAIR_STEPS:-2900}
WIDTH=${WIDTH:-0.25}               # features of a snippet over 1024; 0.5 is a larger network
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
say "simulating $((BODIES + PRACTICE + FAILED)) bodies, $((FILMS + PRACTICE_FILMS)) films and $HELD_OUT held-out films"
practice=(--draw practice --dives all)
filmed=(--world wild --backgrounds "$BACKGROUNDS" --workers "$WORKERS")
"${finecausal[@]}" simulate "$out/bodies" --format bodies --count "$BODIES" --seed 21 --workers "$WORKERS"
"${finecausal[@]}" simulate "$out/practice" "${practice[@]}" --format bodies --count "$PRACTICE" --seed 25 --workers "$WORKERS"
"${finecausal[@]}" simulate "$out/failed" --failed --format bodies --count "$FAILED" --seed 23 --workers "$WORKERS"
"${finecausal[@]}" simulate "$out/films" "${filmed[@]}" --count "$FILMS" --seed 301
"${finecausal[@]}" simulate "$out/practice-films" "${filmed[@]}" "${practice[@]}" --count "$PRACTICE_FILMS" --seed 303
"${finecausal[@]}" simulate "$out/held-out" "${filmed[@]}" --count "$HELD_OUT" --seed 902
"${finecausal[@]}" simulate "$out/practice-held-out" "${filmed[@]}" "${practice[@]}" --count "$PRACTICE_HELD_OUT" --seed 904

say "reading the films, then training: $ALONE_STEPS steps on single dives, $PAIR_STEPS on pairs"
"${finecausal[@]}" weights skeleton --bodies "$out/bodies" --bodies "$out/practice" --bodies "$out/failed" \
    --films "$out/films" --films "$out/practice-films" --validation "$out/held-out" \
    --validation "$out/practice-held-out" --cache "$out/tracks" --output "$out/run" \
    --alone-steps "$ALONE_STEPS" --pair-steps "$PAIR_STEPS" --exemplars 8 --width "$WIDTH" \
    --device "$DEVICE"
say "the self-test"
"$PYTHON" weights/make.py --self-test "$out/run/best"
"${finecausal[@]}" weights verify "$out/run/best"
say "the weights are $out/run/best; copy them over weights/skeleton to ship them"
