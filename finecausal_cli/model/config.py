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
"""Consecutive sampled frames that a trunk reads at once."""

SNIPPET_STRIDE = 10
"""Sampled frames between the starts of neighbouring snippets."""

SNIPPETS = (FRAMES - SNIPPET_FRAMES) // SNIPPET_STRIDE + 1
"""Snippets in a clip: 9."""

TOKEN_FEATURES = 64
"""Length of one stage token, at every width."""

STAGE_TOKENS = 12
"""Tokens that describe one stage of one clip."""

STARTING_VALUES = frozenset({"residual_start"})
"""Fields that say where training starts; a trained network computes the same whatever they are."""

VIEWING_VALUES = frozenset({"framing"})
"""Fields that say what a network is shown of a clip, not what it computes: encodings stay valid whatever they are."""

LATER_FIELDS = {"foreground": "linear", "trunk": "i3d", "recognises": False}
"""Fields that came after weights had been published, with what those weights were: at that value a field leaves the
digest of weights as it was."""

_FEATURE_STEP = 16  # the transition parser halves D four times


class Framing(BaseModel):
    """How large athletes were in the pictures that a network was taught with, in shares of the square that it sees.

    Attributes:
        reach: Share of the square's height that an athlete stretched to 2.25 m fills, on average.
        least: The least share that was seen.
        most: The largest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach: float = Field(gt=0, le=1)
    least: float = Field(gt=0, le=1)
    most: float = Field(gt=0, le=1)


class ModelConfig(BaseModel):
    """Describe one FineCausal network.

    Attributes:
        preset: The preset it started from.
        trunk: What turns snippets into features: the paper's ``i3d``, or ``frames``, a network that reads single frames
            first and their order second, which sees more of a dive for the same arithmetic.
        width: Width multiplier of the trunk, 1/32 to 1; D = 1024 * width must be a multiple of 16, so width is a
            multiple of 1/64.
        shared_trunk: Use one trunk for the video features and the foreground parser, with a linear map from the
            pooled features to the mask features; two of them otherwise (the paper).
        static_branch: Add the released code's ResNet-34 branch over 96 single frames.
        gat: Causal intervention by graph attention (paper eq. 2-6); off, the fused features pass unchanged.
        tca: Temporal causal attention (paper eq. 7-9); off, the stage tokens pass unchanged.
        readout: Which nodes the intervention returns: video features ``o`` (released code) or fused ``f`` (eq. 2-6).
        residual_start: First value of the learnt weight of the input that is added to the intervention's result. The
            released code's 0.1 drowns what tells one dive from another in messages that all nodes share; see docs.
        tca_mode: ``replace`` all tokens of a stage by its refined vector (released code) or ``residual``.
        foreground: How the foreground is read off the trunk's depths: ``linear`` adds them up (the paper),
            ``top_down`` joins each with what the deeper ones found, and with the picture.
        antisymmetric: Read every stage's difference in both directions and take half of what separates them, so that a
            dive against itself differs by nothing in any stage. Without it only the weighted sum of the stages is
            learned, and constants that cancel in it wander between them.
        geometry: How pictures are brought to size; ``squeeze`` is the released code's, ``fit`` keeps the aspect.
        recognises: Also say which dive number it is, from what the ``frames`` trunk says of every frame (ours). Learned
            last, for a trunk that rests: ``finecausal weights recogniser``.
        frame_size: Height and width of the square the network sees, in pixels.
        framing: How large the athlete is to be shown; a virtual camera follows the athlete of a clip that is framed
            otherwise. None shows the centre of the whole picture.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = FORMAT_VERSION
    preset: Literal["reference", "finecausal", "compact"] = "finecausal"
    trunk: Literal["i3d", "frames"] = "i3d"
    width: float = Field(default=1.0, ge=1 / 32, le=1)
    shared_trunk: bool = False
    static_branch: bool = False
    gat: bool = True
    tca: bool = True
    readout: Literal["o", "f"] = "f"
    residual_start: float = Field(default=1.0, ge=0)
    tca_mode: Literal["replace", "residual"] = "residual"
    foreground: Literal["linear", "top_down"] = "linear"
    antisymmetric: bool = True
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
    def _frames_are_parsed_top_down(self) -> ModelConfig:
        if self.trunk == "frames" and self.foreground != "top_down":
            raise ValueError('trunk "frames" needs foreground "top_down"')
        if self.recognises and self.trunk != "frames":
            raise ValueError('recognises needs trunk "frames"')
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
}
"""The three ways the one class is built (never a second copy of the forward)."""
