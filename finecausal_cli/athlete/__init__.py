"""The joints that are read, in the order of every array of joints."""

from __future__ import annotations

from typing import Final, Literal, get_args

_SIDED: Final = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")

JOINTS: Final[tuple[str, ...]] = (
    "pelvis",
    "neck",
    "head",
    *(f"{joint}_{side}" for side in "lr" for joint in _SIDED),
)
"""Pelvis (middle of the hips), neck (where it meets the skull, as MPII's "upper neck"), head (crown), then the left
side and the right side of the athlete."""

JOINT: Final[dict[str, int]] = {name: index for index, name in enumerate(JOINTS)}
"""Index of each joint in ``JOINTS``."""

MIRRORED: Final[tuple[int, ...]] = tuple(
    JOINT[name[:-1] + {"l": "r", "r": "l"}[name[-1]] if name[-2] == "_" else name] for name in JOINTS
)
"""Index of the joint that each one becomes in a mirrored picture."""

BONES: Final[tuple[tuple[int, int], ...]] = tuple(
    (JOINT[a], JOINT[b])
    for a, b in (
        ("pelvis", "neck"),
        ("neck", "head"),
        *((f"{a}_{side}", f"{b}_{side}") for side in "lr" for a, b in (("shoulder", "elbow"), ("elbow", "wrist"))),
        *((f"{a}_{side}", f"{b}_{side}") for side in "lr" for a, b in (("hip", "knee"), ("knee", "ankle"))),
        *(("neck", f"shoulder_{side}") for side in "lr"),
        *(("pelvis", f"hip_{side}") for side in "lr"),
    )
)
"""Pairs of joints that a skeleton draws a line between."""

End = Literal["takeoff", "contact"]
ENDS: Final[tuple[End, ...]] = get_args(End)
"""The ends of a flight: when feet or hands leave the board, and when the body first touches the water."""
