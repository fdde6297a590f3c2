"""An explanation as one page that needs nothing else; everything from outside is escaped."""

from __future__ import annotations

import base64
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from finecausal_cli.diving.number import parse_dive_number
from finecausal_cli.diving.wording import describe_dive
from finecausal_cli.errors import DiveNumberError, OutputError
from finecausal_cli.report import attention_rows, explanation_rows
from finecausal_cli.report.explanation_rows import Section, exemplars_in_words, time_code
from finecausal_cli.report.explanation_words import limits_of, summarise_explanation
from finecausal_cli.report.filmstrip import STAGE_COLOURS, Reel, key_frames
from finecausal_cli.report.page import render_page
from finecausal_cli.report.tables import athlete_in_words, difficulty_in_digits
from finecausal_cli.version import __version__
from finecausal_cli.whole_file import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from finecausal_cli.assess.assessment import Assessment
    from finecausal_cli.assess.explanation import Explanation
    from finecausal_cli.assess.foreground import Evidence

_TEMPLATE = "explanation_page.html"

CAPTIONS: Final = {
    "contributions": "From the exemplars' score to the dive's: points won (blue) and lost (orange) in each stage.",
    "interventions": "What the score would gain had one stage been another's. Inside the grey band a change is no more "
    "than moving the stage borders does.",
    "graph-attention": "Graph attention between the nine snippets of query and exemplar, plain and fused with the "
    "predicted foreground. Blue: more than without preference; orange: less. The numbers are means of a block.",
    "stage-attention": "How much each stage (row) attends to itself and to earlier ones, percent.",
}


def write_page(path: Path, explanation: Explanation, evidence: Evidence, *, overlay: Path | None = None) -> None:
    """Write the page as one file without any request to elsewhere.

    Args:
        path: The file.
        explanation: What to show.
        evidence: The pictures behind it.
        overlay: An MP4 video to carry within the page.

    Raises:
        OutputError: The file cannot be written, or the video cannot be read.
    """
    drawings: Mapping[str, str] = {}
    if find_spec("matplotlib") is not None:
        from finecausal_cli.report.explanation_figures import draw_charts

        drawings = draw_charts(explanation)
    text = explanation_page(explanation, evidence, drawings, video=None if overlay is None else _read(overlay))
    with whole_file(path, "the report") as part:
        part.write_text(text, encoding="utf-8", errors="replace")


def explanation_page(
    explanation: Explanation, evidence: Evidence, drawings: Mapping[str, str], *, video: bytes | None = None
) -> str:
    """Return the page.

    Args:
        explanation: What to show.
        evidence: The pictures behind it.
        drawings: SVG elements by name, made by ``draw_charts``; the page shows them as they are.
        video: An MP4 video.
    """
    assessment = explanation.assessment
    reel = Reel.of(assessment, evidence)
    return render_page(
        _TEMPLATE,
        version=__version__,
        source=assessment.source,
        dive=_dive_in_words(assessment),
        cards=_cards(assessment),
        summary=summarise_explanation(explanation),
        holds=explanation.checks.holds,
        video=None if video is None else base64.b64encode(video).decode("ascii"),
        strips=key_frames(reel),
        seen=athlete_in_words(assessment),
        colours=STAGE_COLOURS,
        segments=_segments(assessment),
        drawings=[
            (name, Markup(svg), CAPTIONS[name])  # noqa: S704 - our own drawing, its words escaped by matplotlib
            for name, svg in drawings.items()
        ],
        tables=_tables(explanation),
        limits=limits_of(explanation),
        made=assessment.provenance,
        chosen=assessment.provenance.exemplars_chosen,
    )


def _tables(explanation: Explanation) -> list[Section]:
    graph = explanation.graph_attention
    stages = attention_rows.stage_attention(explanation)
    return [
        explanation_rows.timeline(explanation),
        explanation_rows.contributions(explanation.assessment),
        *explanation_rows.interventions(explanation),
        *([explanation_rows.backgrounds(explanation)] if explanation.backgrounds else []),
        explanation_rows.checks(explanation),
        *([] if graph is None else [attention_rows.snippets(explanation), attention_rows.node_attention(graph)]),
        *([] if stages is None else [stages]),
        explanation_rows.voters(explanation.assessment),
    ]


def _cards(assessment: Assessment) -> list[tuple[str, str, str]]:
    """Return the numbers that come first: name, value, what to hold it against."""
    interval = assessment.interval
    between = "" if interval is None else f"{interval.level:.0%} interval {interval.low:.1f} to {interval.high:.1f}"
    return [
        ("score", f"{assessment.score:.2f}", between),
        ("execution", f"{assessment.execution:.2f}", "of 30; score / difficulty"),
        ("difficulty", difficulty_in_digits(assessment.difficulty), assessment.difficulty_from),
        (exemplars_in_words(assessment), f"{assessment.exemplar_score:.2f}", "their mean score at this difficulty"),
    ]


def _segments(assessment: Assessment) -> list[tuple[str, str, str, int]]:
    """Return the timeline's parts: stage, when it begins and ends, and its frames, to which its width is due."""
    return [
        (stage.name, time_code(stage.start_s), time_code(stage.end_s), stage.end_frame - stage.start_frame)
        for stage in assessment.stages
    ]


def _dive_in_words(assessment: Assessment) -> str:
    if assessment.dive is None:
        return f"Dive not known ({assessment.dive_from})"
    try:
        said = f"{assessment.dive}: {describe_dive(parse_dive_number(assessment.dive))}"
    except DiveNumberError:
        said = f"{assessment.dive}: not a dive number"
    height = "" if assessment.height_m is None else f", {assessment.height_m:g} m"
    return f"{said}{height} ({assessment.dive_from})"


def _read(video: Path) -> bytes:
    try:
        return video.read_bytes()
    except OSError as error:
        raise OutputError(f"the overlay cannot be read: {error.strerror or error}", where=video) from error
