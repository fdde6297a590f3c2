"""What a network is made of, as data. Stored beside its weights, so building one needs no flag."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FORMAT_VERSION: Final = 1
"""Raised whenever an older ``config.json`` could be misread."""

STAGES = ("takeoff", "flight", "entry")
"""The three stages of a dive, in order (the paper's forward, twist, entry)."""

STAGE_WEIGHTS = (0.3, 0.5, 0.2)
"""Weight of each stage in the difference between two dives (released code: 3, 5, 2 in 10)."""


FRAMES = 96
"""Sampled frames in a clip (paper section 4.2)."""

SNIPPET_FRAMES = 16
"""Consecutive sampled frames in one snippet, the input of the backbone."""

SNIPPET_STRIDE = 10
"""Sampled frames between the starts of neighbouring snippets."""

SNIPPETS = (FRAMES - SNIPPET_FRAMES) // SNIPPET_STRIDE + 1
"""Snippets in a clip: 9."""

TOKEN_FEATURES = 64
"""Length of one stage token, at every width."""

STAGE_TOKENS = 12
"""Tokens that describe one stage of one clip."""

STARTING_VALUES = frozenset({"residual_start"})
"""Fields of the initialisation; they do not change what a trained network computes."""

VIEWING_VALUES = frozenset({"framing"})
"""Fields of the network's input, not of its computation: changing them leaves stored encodings valid."""

LATER_FIELDS = {"foreground": "linear", "trunk": "i3d", "recognises": False, "bounded": False}
"""Fields added after weights had been published, with the value of those weights. A field of that value is left out of
the digest, so that older digests stay valid."""

_FEATURE_STEP = 16  # the transition parser halves D four times


class Framing(BaseModel):
    """Size of the athletes in a network's training pictures, as shares of its square input.

    Attributes:
        reach: Mean share of the input's height that an athlete stretched to 2.25 m fills.
        least: Smallest share.
        most: Largest share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach: float = Field(gt=0, le=1)
    least: float = Field(gt=0, le=1)
    most: float = Field(gt=0, le=1)


class ModelConfig(BaseModel):
    """Architecture of one FineCausal network.

    Attributes:
        preset: The preset it started from.
        trunk: The backbone: the paper's ``i3d``; ``frames``, a 2-D network over single frames followed by temporal
            convolutions, which is more accurate for the same arithmetic; or ``skeleton``, temporal convolutions over
            the track of the athlete's joints, which sees no picture.
        width: Width multiplier of the backbone, 1/32 to 1; D = 1024 * width must be a multiple of 16, so width is a
            multiple of 1/64.
        shared_trunk: Share one backbone between the video features and the foreground parser, with a linear map from
            the video features to the mask features. The paper has two backbones.
        static_branch: Add the released code's ResNet-34 branch over 96 single frames.
        gat: Causal intervention by graph attention (paper eq. 2-6); off, the fused features pass unchanged.
        tca: Temporal causal attention (paper eq. 7-9); off, the stage tokens pass unchanged.
        readout: Which nodes the intervention returns: video features ``o`` (released code) or fused ``f`` (eq. 2-6).
        residual_start: Initial value of the learnt weight of the intervention's residual connection. With the
            released code's 0.1, messages that all nodes share drown the differences between dives; see docs.
        tca_mode: ``replace`` all tokens of a stage by its refined vector (released code) or ``residual``.
        foreground: Decoder of the foreground: ``linear`` sums the upsampled depths (the paper; for ``i3d``),
            ``top_down`` is a feature pyramid that ends at the picture (for ``frames``); ``skeleton`` has ``none``.
        antisymmetric: Use half the difference of the two directions of a pair, so that a dive compared with itself has
            zero deltas. Otherwise only the weighted sum of the stages is trained, and stages drift by constants that
            cancel in it.
        bounded: Keep every stage's weighted difference within what judges can give, 30 execution units (ours).
        geometry: Resizing: ``squeeze`` is the released code's, ``fit`` keeps the aspect ratio.
        recognises: Also classify the dive number, from the ``frames`` or ``skeleton`` backbone (ours).
        frame_size: Height and width of the network's input, in pixels.
        framing: Size at which the athlete is shown; a virtual camera follows the athlete of a clip that is framed
            otherwise. None crops the centre of the whole picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    preset: Literal["reference", "finecausal", "compact", "skeleton"] = "finecausal"
    trunk: Literal["i3d", "frames", "skeleton"] = "i3d"
    width: float = Field(default=1.0, ge=1 / 32, le=1)
    shared_trunk: bool = False
    static_branch: bool = False
    gat: bool = True
    tca: bool = True
    readout: Literal["o", "f"] = "f"
    residual_start: float = Field(default=1.0, ge=0)
    tca_mode: Literal["replace", "residual"] = "residual"
    foreground: Literal["linear", "top_down", "none"] = "linear"
    antisymmetric: bool = True
    bounded: bool = False
    geometry: Literal["fit", "squeeze"] = "fit"
    recognises: bool = False
    frame_size: int = Field(default=112, ge=32, multiple_of=16)
    framing: Framing | None = None

    @field_validator("width")
    @classmethod
    def _divides_evenly(cls, width: float) -> float:
        if (1024 * width) % _FEATURE_STEP:
            raise ValueError("width must be a multiple of 1/64, so that D = 1024 * width is a multiple of 16")
        return width

    @model_validator(mode="after")
    def _foreground_suits_the_backbone(self) -> ModelConfig:
        needed = {"i3d": "linear", "frames": "top_down", "skeleton": "none"}[self.trunk]
        if self.foreground != needed:
            raise ValueError(f'trunk "{self.trunk}" needs foreground "{needed}"')
        if self.recognises and self.trunk == "i3d":
            raise ValueError('recognises needs trunk "frames" or "skeleton"')
        return self

    @model_validator(mode="after")
    def _framing_keeps_the_aspect(self) -> ModelConfig:
        if self.framing is not None and self.geometry != "fit":
            raise ValueError('framing needs geometry "fit"')
        return self

    @property
    def features(self) -> int:
        """D, the length of one snippet's feature vector."""
        return round(1024 * self.width)


PRESETS: dict[str, ModelConfig] = {
    "reference": ModelConfig(
        preset="reference",
        static_branch=True,
        readout="o",
        residual_start=0.1,
        tca_mode="replace",
        antisymmetric=False,
        geometry="squeeze",
    ),
    "finecausal": ModelConfig(),
    "compact": ModelConfig(
        preset="compact", trunk="frames", width=0.25, shared_trunk=True, foreground="top_down", frame_size=112
    ),
    "skeleton": ModelConfig(
        preset="skeleton",
        trunk="skeleton",
        width=0.25,
        shared_trunk=True,
        foreground="none",
        bounded=True,
        recognises=True,
    ),
}
"""Configurations by name."""
