"""What is measured on held-out films once a network that reads bodies is trained: bank, interval, numbers, familiarity.

The exemplars of the bank are simulated bodies as the reader would read them. On held-out films the network is measured
against it, the width of its interval and the temperature of its dive numbers are set, and it is noted how far films
lie from each other, so that a dive that is unlike all of them is known for it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import torch
from torch.nn import functional

from finecausal_cli.athlete.track import BodyTrack, track_features
from finecausal_cli.atomic import atomic_write
from finecausal_cli.diving import parse_dive_number
from finecausal_cli.evaluation.predict import relative_l2, spearman
from finecausal_cli.model.frame_encoder import log_probs
from finecausal_cli.model.outputs import Encoding
from finecausal_cli.model.skeleton_encoder import FAMILIAR_AXES, SkeletonBackbone
from finecausal_cli.retrieval.bank import THUMBNAILS, Bank, Exemplar, draw_body, load_bank, save_bank
from finecausal_cli.training.pairs import INTERVAL_LEVEL, conformal_half_width
from finecausal_cli.weights import StoredFamiliarity, StoredInterval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from finecausal_cli.diving import DiveNumber
    from finecausal_cli.model.finecausal import FineCausal
    from finecausal_cli.training.track_errors import JudgedBody

_BODIES_AN_EXEMPLAR: Final = 4
"""Bodies of a number for each of its exemplars, at least: numbers that hardly anybody dives have few of both."""

_VIEWS: Final = 6
"""Readings of an exemplar, of whose encodings it is the mean. With one each, 40 clean films had rho 0.85 and 0.79 with
two banks of the same bodies; with six 0.91."""

_AT_ONCE: Final = 16
_FARTHEST: Final = 0.95
_FEWEST: Final = 10
_FAR: Final = 0.8
_LEAST_LIMIT: Final = 1.25


def spread_bodies(bodies: Sequence[JudgedBody], per_number: int) -> list[JudgedBody]:
    """Choose bodies of each number, spread over the range of execution; failed dives are left out."""
    by_number: dict[str, list[JudgedBody]] = defaultdict(list)
    for body in bodies:
        if body.dive.execution > 0:
            by_number[str(body.number)].append(body)
    chosen = []
    for _, members in sorted(by_number.items()):
        ranked = sorted(members, key=lambda body: (body.dive.execution, body.dive.key))
        count = min(per_number, max(1, len(ranked) // _BODIES_AN_EXEMPLAR))
        chosen += [ranked[int((part + 0.5) * len(ranked) / count)] for part in range(count)]
    return chosen


def encode_tracks(model: FineCausal, tracks: Sequence[BodyTrack], device: torch.device) -> Encoding:
    """Encode tracks in one pass."""
    features = torch.from_numpy(np.stack([track_features(track) for track in tracks]))
    with torch.inference_mode():
        return model.encode(features.to(device)).map(lambda tensor: tensor.float().clone())


def encode_exemplars(
    model: FineCausal,
    bodies: Sequence[JudgedBody],
    show: Callable[[JudgedBody, np.random.Generator], BodyTrack],
    device: torch.device,
) -> Encoding:
    """Encode exemplars, each as the mean over some ways in which a camera may see it and a reader may read it."""
    parts = []
    for first in range(0, len(bodies), _AT_ONCE):
        rows = range(first, min(first + _AT_ONCE, len(bodies)))
        views = [show(bodies[row], np.random.default_rng((23911, row, view))) for row in rows for view in range(_VIEWS)]
        encoded = encode_tracks(model, views, device)
        parts.append(encoded.map(lambda tensor: tensor.reshape(-1, _VIEWS, *tensor.shape[1:]).mean(dim=1)))
    return Encoding.concat(parts)


def build_body_bank(
    encodings: Encoding,
    bodies: Sequence[JudgedBody],
    show: Callable[[JudgedBody, np.random.Generator], BodyTrack],
    folder: Path,
    *,
    weights_digest: str,
) -> Bank:
    """Make a bank of simulated bodies, as the reader would read them; thumbnails are drawn figures.

    Args:
        encodings: Of the bodies, by `encode_exemplars`.
        bodies: The exemplars.
        show: Shows a body as it may be read.
        folder: Where the bank goes.
        weights_digest: Digest of the network's weights.

    Raises:
        OutputError: The folder cannot be written.
    """
    exemplars = []
    for index, body in enumerate(bodies):
        track = show(body, np.random.default_rng((23911, index, 0)))
        name = f"{body.number}-{body.dive.video.stem}"
        thumbnail = f"{THUMBNAILS}/{name}.jpg"
        with atomic_write(folder / thumbnail, "a thumbnail") as part:
            draw_body(track, sum(track.transitions) // 2).save(part, format="JPEG", quality=80)
        exemplars.append(
            Exemplar(
                id=name,
                dive=str(body.number),
                height_m=body.dive.height_m,
                difficulty=body.dive.difficulty,
                execution=body.dive.execution,
                thumbnail=thumbnail,
                origin="simulated",
            )
        )
    save_bank(folder, exemplars, encodings.map(lambda tensor: tensor.cpu().half()), weights_digest=weights_digest)
    return load_bank(folder, weights_digest=weights_digest)


@dataclass(frozen=True)
class JudgedFilms:
    """Films judged against exemplars of their own number.

    Attributes:
        true: Their points.
        judged: The points that the network gives.
        difficulties: Their difficulties.
        recognised: Whether the number that is the likeliest is theirs.
        in_three: Whether it is among the likeliest three.
        certainty: Probability of the likeliest.
        encodings: Their encodings.
    """

    true: tuple[float, ...]
    judged: tuple[float, ...]
    difficulties: tuple[float, ...]
    recognised: tuple[bool, ...]
    in_three: tuple[bool, ...]
    certainty: tuple[float, ...]
    encodings: Encoding

    def figures(self) -> dict[str, float]:
        """Return rank correlation, relative L2 and mean absolute error of the points, and how numbers are known."""
        errors = np.abs(np.array(self.true) - np.array(self.judged))
        return {
            "films": len(self.true),
            "rho": spearman(self.true, self.judged),
            "relative_l2": relative_l2(self.true, self.judged),
            "mean_absolute_error": float(errors.mean()),
            "number": float(np.mean(self.recognised)),
            "number_in_three": float(np.mean(self.in_three)),
            "certainty": float(np.mean(self.certainty)),
        }

    def interval(self) -> StoredInterval:
        """Return the split-conformal interval of these films."""
        return StoredInterval(
            level=INTERVAL_LEVEL, execution_half_width=conformal_half_width(self.errors.tolist(), INTERVAL_LEVEL)
        )

    @property
    def errors(self) -> NDArray[np.float64]:
        """Absolute errors in execution units."""
        true, judged, difficulties = (np.array(each) for each in (self.true, self.judged, self.difficulties))
        return np.asarray(np.abs(true - judged) / difficulties)

    def familiarity(self, model: FineCausal) -> StoredFamiliarity | None:
        """Return how far these films lie at most, and how much larger the errors of the farthest fifth are."""
        distances = model.unfamiliarity(self.encodings)
        if distances is None or len(self.true) < _FEWEST:
            return None
        away = distances.cpu().double().numpy()
        far = self.errors[away >= np.quantile(away, _FAR)]
        widths = [conformal_half_width(errors.tolist(), INTERVAL_LEVEL) for errors in (far, self.errors)]
        factor = max(1.0, widths[0] / max(widths[1], 1e-6))
        return StoredFamiliarity(limit=max(_LEAST_LIMIT, float(away.max())), factor=factor)


def judge_films(
    model: FineCausal, films: Sequence[JudgedBody], bank: tuple[Encoding, Sequence[JudgedBody]], device: torch.device
) -> JudgedFilms | None:
    """Judge films against exemplars of their number; None for fewer than two whose number has any.

    Args:
        model: The network, in evaluation mode.
        films: As read.
        bank: Encodings of the exemplars, and what they are.
        device: Where to compute.
    """
    encoded, exemplars = bank
    voters: dict[str, list[int]] = {}
    for index, body in enumerate(exemplars):
        voters.setdefault(str(body.number), []).append(index)
    known = [(film, film.read) for film in films if film.read is not None and str(film.number) in voters]
    if len(known) < 2:
        return None
    queries = encode_tracks(model, [read.track for _, read in known], device)
    executions = torch.tensor([body.dive.execution for body in exemplars], device=device)
    judged = []
    for index, (film, _) in enumerate(known):
        chosen = voters[str(film.number)]
        with torch.inference_mode():
            delta = model.compare(queries.select(index), encoded.select(chosen)).delta[:, 0]
        judged.append(float((executions[chosen] + delta).mean()) * film.dive.difficulty)
    numbers = [parse_dive_number(name) for name in voters]
    assert queries.number_logits is not None  # noqa: S101 -- the preset has a classifier
    probabilities = log_probs(queries.number_logits, numbers).exp()
    likeliest = probabilities.topk(min(3, len(numbers)), dim=1).indices.tolist()
    hits = [[numbers[index] == film.number for index in few] for few, (film, _) in zip(likeliest, known, strict=True)]
    return JudgedFilms(
        true=tuple(film.dive.execution * film.dive.difficulty for film, _ in known),
        judged=tuple(judged),
        difficulties=tuple(film.dive.difficulty for film, _ in known),
        recognised=tuple(few[0] for few in hits),
        in_three=tuple(any(few) for few in hits),
        certainty=tuple(probabilities.amax(dim=1).tolist()),
        encodings=queries,
    )


@torch.no_grad()
def calibrate_numbers(
    model: FineCausal, films: Sequence[JudgedBody], numbers: Sequence[DiveNumber], device: torch.device
) -> None:
    """Set the temperature of the least cross-entropy on films (Guo et al. 2017)."""
    assert model.recogniser is not None  # noqa: S101 -- the preset has a classifier
    known = [(film, film.read) for film in films if film.read is not None and film.number in numbers]
    if not known:
        return
    model.recogniser.temperature.fill_(1.0)
    logits = encode_tracks(model, [read.track for _, read in known], device).number_logits
    assert logits is not None  # noqa: S101 -- as above
    true = torch.tensor([numbers.index(film.number) for film, _ in known], device=device)

    def entropy(temperature: float) -> float:
        return float(functional.nll_loss(log_probs(logits / temperature, numbers), true))

    model.recogniser.temperature.fill_(min(np.geomspace(0.4, 6, 60).tolist(), key=entropy))


@torch.no_grad()
def measure_familiarity(model: FineCausal, encodings: Encoding) -> None:
    """Note the mean and the whitened axes of encodings, and the distance that 95% of them keep."""
    backbone = cast("SkeletonBackbone", model.video_trunk)
    if len(encodings) < _FEWEST:
        return
    features: Tensor = encodings.fused.mean(dim=1).double()
    mean = features.mean(dim=0)
    _, sizes, axes = torch.linalg.svd(features - mean, full_matrices=False)
    count = min(FAMILIAR_AXES, len(sizes))
    spread = (sizes[:count] / (len(features) - 1) ** 0.5).clamp(min=1e-6)
    backbone.familiar.zero_()
    backbone.familiar[0] = mean.to(backbone.familiar)
    backbone.familiar[1 : 1 + count] = (axes[:count] / spread[:, None]).to(backbone.familiar)
    backbone.familiar_distance.fill_(1.0)
    distances = backbone.unfamiliarity(encodings.fused)
    backbone.familiar_distance.fill_(float(distances.quantile(_FARTHEST)))
