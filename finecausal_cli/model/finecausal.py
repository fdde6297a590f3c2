"""The whole network: encoder, segmentation, causal modules, stages and relative scores."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from finecausal_cli.diving import MAX_EXECUTION
from finecausal_cli.model.causal import CausalIntervention, TemporalCausalAttention
from finecausal_cli.model.config import (
    FRAMES,
    SNIPPET_FRAMES,
    SNIPPET_STRIDE,
    SNIPPETS,
    STAGE_WEIGHTS,
    STAGES,
    ModelConfig,
)
from finecausal_cli.model.frame_encoder import Depth, DiveNumberClassifier, FrameBackbone, FrameParser
from finecausal_cli.model.i3d import I3D, fold_for_inference, follow_plan
from finecausal_cli.model.outputs import Encoding, PairOutput, Regression
from finecausal_cli.model.segmentation import SpatialActionParser
from finecausal_cli.model.skeleton_encoder import TRACK_CHANNELS, SkeletonBackbone, SkeletonParser, mirror_tracks
from finecausal_cli.model.temporal import (
    ContrastiveRegression,
    StageFeatures,
    TemporalActionParser,
    halving_convs,
    locate_transitions,
    resample,
)

if TYPE_CHECKING:
    from finecausal_cli.device import ExecutionPlan
    from finecausal_cli.model.segmentation import ForegroundRequest


# The released code's second branch: single frames through a ResNet-34 (He et al., CVPR 2016).
#
# It is not part of the paper's causal graph: it bypasses the stage features. It is here so that the authors'
# checkpoints reproduce the authors' numbers.

FRAME_FEATURES = 512
STATIC_TOKENS = 4
"""Tokens that describe one stage in this branch."""

_OVERLAP = 5  # frames a stage reaches beyond its transitions
_STAGE_SAMPLES = dict(zip(STAGES, (36, 60, 48), strict=True))
_DEPTHS = ((64, 3), (128, 4), (256, 6), (512, 3))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm_a = nn.BatchNorm2d(outputs)
        self.conv_b = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm_b = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, h, w] to [B, outputs, h / stride, w / stride]."""
        y = functional.relu(self.norm_a(self.conv_a(x)), inplace=True)
        return functional.relu(self.norm_b(self.conv_b(y)) + self.shortcut(x), inplace=True)


class ResNet34(nn.Module):
    """ResNet-34 without its classifier: 512 features of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        blocks, inputs = [], 64
        for depth, (outputs, count) in enumerate(_DEPTHS):
            for position in range(count):
                blocks.append(ResidualBlock(inputs, outputs, stride=2 if depth and not position else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures [B, 3, H, W] to features [B, 512]."""
        x = self.pool(functional.relu(self.norm(self.conv(pictures)), inplace=True))
        features: Tensor = self.blocks(x).mean(dim=(2, 3))
        return features


class StaticBranch(nn.Module):
    """Compare two dives by features of single frames."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = ResNet34()
        self.reducers = nn.ModuleDict(
            {stage: halving_convs((samples, 48, 24, 12, STATIC_TOKENS)) for stage, samples in _STAGE_SAMPLES.items()}
        )
        self.regression = ContrastiveRegression()

    def encode(self, clips: Tensor) -> Tensor:
        """Encode every frame of clips [B, 3, F, H, W] separately: [B, F, 512]."""
        features: Tensor = self.resnet(clips.transpose(1, 2).flatten(0, 1))
        return features.reshape(-1, FRAMES, FRAME_FEATURES)

    def tokens(self, frames: Tensor, transitions: Tensor) -> Tensor:
        """Cut frame features [B, 2, F, 512] at each dive's own transitions, int64 [B, 2, 2]: [B, 2, G, 4, 64]."""
        flat = frames.flatten(0, 1)
        first, last = transitions.flatten(0, 1).unbind(dim=-1)
        spans = (
            (torch.zeros_like(first), first + _OVERLAP),
            (first - _OVERLAP, last + _OVERLAP),
            (last - _OVERLAP, torch.full_like(last, FRAMES)),
        )
        stages = [
            self.reducers[stage](resample(flat, start, end, samples))
            for (stage, samples), (start, end) in zip(_STAGE_SAMPLES.items(), spans, strict=True)
        ]
        return torch.stack(stages, dim=1).reshape(-1, 2, len(STAGES), *stages[0].shape[1:])


# The whole network: a clip is encoded once and compared often.


def cut_snippets(clips: Tensor) -> Tensor:
    """Cut clips [B, 3, F, H, W] into overlapping snippets [B * S, 3, 16, H, W], clip by clip."""
    return clips.unfold(2, SNIPPET_FRAMES, SNIPPET_STRIDE).permute(0, 2, 1, 5, 3, 4).flatten(0, 1)


def weigh_stages(stage_deltas: Tensor) -> Tensor:
    """Sum stage differences [..., G] to the difference between two dives [...], in execution units."""
    first, second, third = (
        weight * delta for weight, delta in zip(STAGE_WEIGHTS, stage_deltas.unbind(-1), strict=True)
    )
    return first + second + third


def bound_stages(stage_deltas: Tensor) -> Tensor:
    """Keep the weighted difference of each stage [..., G] within the execution that judges can give, smoothly."""
    limits = stage_deltas.new_tensor([MAX_EXECUTION / weight for weight in STAGE_WEIGHTS])
    return limits * torch.tanh(stage_deltas / limits)


class FineCausal(nn.Module):
    """Score a dive by its difference from another one.

    `encode` computes everything of a single clip, `compare` everything of a pair; training and scoring call the same
    two. In the paper's order: video features O and foreground (`video_trunk`, `parser`; section 3.1), deconfounding
    (`intervention`; eq. 2-6), transitions (`transition_parser`) and stage features S (`stages`; section 3.3), temporal
    causal attention (`tca`; eq. 7-9), regression (`regression`; section 3.5). Ours: the dive-number classifier
    (`recogniser`).

    Args:
        config: What the network is made of.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        features = config.features
        self.video_trunk: I3D | FrameBackbone | SkeletonBackbone
        self.parser: SpatialActionParser | FrameParser | SkeletonParser
        if config.trunk == "skeleton":
            self.video_trunk = SkeletonBackbone(config.width)
            self.parser = SkeletonParser(features)
        elif config.trunk == "frames":
            self.video_trunk = FrameBackbone(config.width)
            self.parser = FrameParser(self.video_trunk, shared=config.shared_trunk)
        else:
            self.video_trunk = I3D(config.width)
            self.parser = SpatialActionParser(config.width, shared=config.shared_trunk)
        self.intervention = (
            CausalIntervention(features, config.readout, residual_start=config.residual_start) if config.gat else None
        )
        self.transition_parser = TemporalActionParser(features)
        self.stages = StageFeatures(features)
        self.tca = TemporalCausalAttention() if config.tca else None
        self.regression = ContrastiveRegression()
        self.static = StaticBranch() if config.static_branch else None
        self.recogniser = DiveNumberClassifier() if config.recognises else None

    def encode(self, clips: Tensor, *, foreground: ForegroundRequest = "none") -> Encoding:
        """Encode clips: everything that does not depend on the partner of a pair.

        Args:
            clips: float [B, 3, F, H, W], RGB, normalised; of a ``skeleton`` network, tracks [B, TRACK_CHANNELS, F].
            foreground: Foreground logits to return: ``none``, ``fused`` (the foreground), or ``all`` (the side outputs
                of the training loss, too).

        Returns:
            The encoding of B clips.

        Raises:
            ValueError: The clips are not of this shape.
        """
        if isinstance(self.video_trunk, SkeletonBackbone):
            return self._encode_both_ways(clips)
        size = self.config.frame_size
        if clips.ndim != 5 or clips.shape[1:] != (3, FRAMES, size, size):
            raise ValueError(f"clips must be [B, 3, {FRAMES}, {size}, {size}], not {list(clips.shape)}")
        if not self.training and clips.device.type == "cpu" and len(clips) > 1:
            # One clip fills a CPU's cache: larger batches are slower, with equal results.
            return Encoding.concat([self._encode(clip, foreground) for clip in clips.chunk(len(clips))])
        return self._encode(clips, foreground)

    def _encode(self, clips: Tensor, foreground: ForegroundRequest) -> Encoding:
        if isinstance(self.video_trunk, FrameBackbone):
            return self._encode_frames(clips, foreground)
        snippets = cut_snippets(clips)
        shared_taps = self.config.shared_trunk and foreground != "none"
        video, taps = self.video_trunk(snippets, taps=shared_taps)
        assert isinstance(self.parser, SpatialActionParser)  # noqa: S101 -- the two are built together
        mask, maps = self.parser(snippets, video, taps, foreground)
        video, mask, *maps = (each.reshape(-1, SNIPPETS, *each.shape[1:]) for each in (video, mask, *maps))
        return Encoding(
            video=video,
            mask=mask,
            frames=self._encode_static(clips),
            foreground=tuple(maps) or None,
        )

    def _encode_frames(self, clips: Tensor, foreground: ForegroundRequest) -> Encoding:
        """Encode with the backbone that computes every frame once, although snippets overlap."""
        assert isinstance(self.video_trunk, FrameBackbone)  # noqa: S101 -- checked by the caller
        assert isinstance(self.parser, FrameParser)  # noqa: S101 -- the two are built together
        shared_taps = self.config.shared_trunk and foreground != "none"
        video, vectors, taps = self.video_trunk.read_clips(clips, taps=shared_taps)
        mask, maps = self.parser(clips, video, taps, foreground)
        return Encoding(
            video=video,
            mask=mask,
            frames=self._encode_static(clips),
            foreground=maps or None,
            number_logits=None if self.recogniser is None else self.recogniser(vectors),
        )

    def _encode_both_ways(self, tracks: Tensor) -> Encoding:
        """Encode tracks; in evaluation mode as the mean of how they are and of their mirror images."""
        if self.training:
            return self.encode_tracks(tracks)[0]
        seen, mirrored = self.encode_tracks(tracks)[0], self.encode_tracks(mirror_tracks(tracks))[0]
        return Encoding.concat([seen, mirrored]).map(lambda tensor: tensor.reshape(2, -1, *tensor.shape[1:]).mean(0))

    def encode_tracks(self, tracks: Tensor) -> tuple[Encoding, Tensor]:
        """Encode tracks of bodies; without a picture there is no foreground to segment.

        Args:
            tracks: float [B, TRACK_CHANNELS, F].

        Returns:
            The encoding, and the vectors of single frames [B, F, 128].

        Raises:
            ValueError: The tracks are not of this shape.
        """
        assert isinstance(self.video_trunk, SkeletonBackbone)  # noqa: S101 -- checked by the caller
        assert isinstance(self.parser, SkeletonParser)  # noqa: S101 -- the two are built together
        if tracks.ndim != 3 or tracks.shape[1:] != (TRACK_CHANNELS, FRAMES):
            raise ValueError(f"tracks must be [B, {TRACK_CHANNELS}, {FRAMES}], not {list(tracks.shape)}")
        video, vectors = self.video_trunk(tracks)
        encoding = Encoding(
            video=video,
            mask=self.parser(video),
            number_logits=None if self.recogniser is None else self.recogniser(vectors),
        )
        return encoding, vectors

    def unfamiliarity(self, encoding: Encoding) -> Tensor | None:
        """Return how far dives are from the calibration dives [B], 1 for the farthest but 5%; None if it is not known.

        Only networks that read bodies know, and only where that was measured.
        """
        if not isinstance(self.video_trunk, SkeletonBackbone) or not float(self.video_trunk.familiar_distance):
            return None
        return self.video_trunk.unfamiliarity(encoding.fused)

    def _encode_static(self, clips: Tensor) -> Tensor | None:
        return None if self.static is None else self.static.encode(clips)

    def project_mask_features(self, encoding: Encoding) -> Encoding:
        """Recompute the mask features of a stored encoding with the current projection (shared backbone only).

        With a backbone of its own, the parser does not derive them from the video features; they stay as they are.
        """
        if self.parser.project is None:
            return encoding
        return replace(encoding, mask=self.parser.project(encoding.video))

    def compare(
        self,
        query: Encoding,
        exemplars: Encoding,
        *,
        transitions: Tensor | None = None,
        attention: bool = False,
    ) -> PairOutput:
        """Compare B queries with B exemplars.

        Args:
            query: B encodings, or one for all exemplars.
            exemplars: B encodings.
            transitions: int64 [B, 2, 2], zero-based sampled frames at which to cut the stages of (query, exemplar);
                None takes the predicted ones.
            attention: Return the attention of the intervention and of the TCA.

        Returns:
            The comparison of B pairs, independent of each other.

        Raises:
            ValueError: The two batches do not pair up, or are empty.
        """
        if len(query) == 1:
            query = query.expand(len(exemplars))
        if len(query) != len(exemplars) or not len(exemplars):
            raise ValueError(f"{len(query)} queries cannot be paired with {len(exemplars)} exemplars")
        if self.intervention is None:
            features, node_attention = torch.stack((query.fused, exemplars.fused), dim=1), None
        else:
            features, node_attention = self.intervention(query, exemplars, attention=attention)
        logits = self.transition_parser(features.flatten(0, 1)).reshape(-1, 2, FRAMES, 2)
        if transitions is None:
            transitions = locate_transitions(logits.detach())
        tokens = self.stages(features, transitions)
        static_tokens = None
        if self.static is not None:
            if query.frames is None or exemplars.frames is None:
                raise ValueError("this network compares single frames too, and an encoding lacks them")
            static_tokens = self.static.tokens(torch.stack((query.frames, exemplars.frames), dim=1), transitions)
        regression = self.regress(tokens, static_tokens, attention=attention)
        return PairOutput(
            frame_logits=logits,
            transitions=transitions,
            tokens=tokens,
            stage_deltas=regression.stage_deltas,
            delta=regression.delta,
            static_tokens=static_tokens,
            node_attention=node_attention,
            stage_attention=regression.stage_attention,
        )

    def regress(self, tokens: Tensor, static_tokens: Tensor | None = None, *, attention: bool = False) -> Regression:
        """Regress the deltas from stage features; an intervention calls this again with the tokens of a stage replaced.

        Args:
            tokens: [B, 2, G, T, 64], stage features S.
            static_tokens: [B, 2, G, 4, 64], needed by networks with the static branch.
            attention: Return the temporal causal attention too.

        Returns:
            The differences of B pairs in both directions.
        """
        refined, stage_attention = self.apply_tca(tokens)
        stage_deltas = self.regression(refined)
        if self.static is not None:
            if static_tokens is None:
                raise ValueError("this network compares single frames too, and their tokens are missing")
            stage_deltas = (stage_deltas + self.static.regression(static_tokens)) / 2
        if self.config.antisymmetric:
            stage_deltas = (stage_deltas - stage_deltas.flip(1)) / 2
        if self.config.bounded:
            stage_deltas = bound_stages(stage_deltas)
        return Regression(
            stage_deltas=stage_deltas,
            delta=weigh_stages(stage_deltas),
            stage_attention=stage_attention if attention else None,
        )

    def apply_tca(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Apply temporal causal attention to the stage features (paper eq. 7-9).

        Args:
            tokens: [B, 2, G, T, 64].

        Returns:
            Tokens [B, 2, G, T, 64], or [B, 2, G, 1, 64] in mode ``replace``, where a stage's T tokens would be equal;
            and the attention [B, 2, layers, G, G], or None without TCA.
        """
        if self.tca is None:
            return tokens, None
        means, attention = self.tca(tokens.mean(dim=-2))
        refined = means[..., None, :]
        return (refined if self.config.tca_mode == "replace" else tokens + refined), attention

    def for_inference(self, plan: ExecutionPlan | None = None) -> FineCausal:
        """Return an equal copy with folded norms, for inference only: it can be neither trained nor saved.

        Args:
            plan: How its backbones, which `encode` runs, are to compute; None leaves fp32 and volumes. Clips are then
                of the plan's type.
        """
        folded = fold_for_inference(self)
        if plan is not None and not isinstance(self.video_trunk, SkeletonBackbone):
            resnet = None if folded.static is None else folded.static.resnet
            for part in (folded.video_trunk, folded.parser, folded.recogniser, resnet):
                if part is not None:
                    follow_plan(part, plan)
            if plan.compiled:
                for module in folded.modules():
                    if isinstance(module, I3D | Depth):
                        module.compile(dynamic=False)
        return folded

    def forward(
        self,
        query_clips: Tensor,
        exemplar_clips: Tensor,
        *,
        transitions: Tensor | None = None,
        foreground: ForegroundRequest = "none",
    ) -> tuple[Encoding, PairOutput]:
        """Encode and compare B pairs, in one call for distributed training to wrap.

        Args:
            query_clips: float [B, 3, F, H, W].
            exemplar_clips: float [B, 3, F, H, W].
            transitions: int64 [B, 2, 2], as for `compare`.
            foreground: As for `encode`.

        Returns:
            The encoding of 2 B clips, queries first, and the comparison.
        """
        count = len(query_clips)
        encoding = self.encode(torch.cat((query_clips, exemplar_clips)), foreground=foreground)
        query, exemplar = encoding.select(slice(0, count)), encoding.select(slice(count, None))
        return encoding, self.compare(query, exemplar, transitions=transitions)
