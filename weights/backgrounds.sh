#!/usr/bin/env bash
# Photographs to stand behind simulated athletes: `finecausal simulate --world wild --backgrounds OUT`.
#
# Usage: weights/backgrounds.sh OUT [FOLDER]
#
# Takes the free wallpapers of Debian's packages (their licences: /usr/share/doc of each) and keeps what has the
# texture of a photograph, at most 1280 pixels wide. Needs Debian or Ubuntu with their package lists up to date, and
# a Python that has OpenCV (PYTHON, by default `python`). FOLDER holds packages that are extracted already.
# Nothing of it belongs into the repository.
set -euo pipefail

PACKAGES=(
  gnome-backgrounds mate-backgrounds plasma-workspace-wallpapers lomiri-wallpapers-16.04 lomiri-wallpapers-20.04
  ukui-wallpapers sway-backgrounds
)

out=${1:?the folder for the photographs}
mkdir -p "$out"
if [[ $# -gt 1 ]]; then
  extracted=$2
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  extracted=$work/extracted
  (cd "$work" && for package in "${PACKAGES[@]}"; do
    apt-get download "$package" || echo "without $package: it is not in this release" >&2
  done)
  for package in "$work"/*.deb; do
    dpkg -x "$package" "$extracted"
  done
fi

"${PYTHON:-python}" - "$extracted" "$out" <<'PYTHON'
import sys
from pathlib import Path

import cv2
import numpy as np

LEAST_BYTES = 100_000  # smaller files are thumbnails and flat drawings
WIDTH = 1280
LEAST_DETAIL = 2.0  # mean step from pixel to pixel at 320 pixels across, grey levels; flat drawings have less

source, out = Path(sys.argv[1]), Path(sys.argv[2])
seen = set()
for path in sorted(source.rglob("*")):
    if path.is_symlink() or not path.is_file() or path.suffix.lower() not in {".jpg", ".jpeg", ".png", ".webp"}:
        continue
    if path.stat().st_size < LEAST_BYTES:
        continue
    picture = cv2.imread(str(path))
    if picture is None:
        continue
    small = cv2.resize(picture, (320, 200), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
    detail = (np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2
    twin = cv2.resize(grey, (8, 5), interpolation=cv2.INTER_AREA).astype(int).tobytes()
    if detail < LEAST_DETAIL or twin in seen:
        continue
    seen.add(twin)
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    if picture.shape[1] > WIDTH:
        picture = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)
    name = "-".join(path.relative_to(source).with_suffix(".jpg").parts[-4:]).replace(" ", "_")
    cv2.imwrite(str(out / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    print(f"{name}  {detail:.1f}")
print(f"{len(seen)} photographs in {out}")
PYTHON
