"""Self-contained HTML pages of an explanation, a batch and an evaluation. External text is escaped."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from markupsafe import Markup

from finecausal_cli.atomic import atomic_write
from finecausal_cli.config import __version__
from finecausal_cli.diving import GROUPS, describe_dive, parse_dive_number
from finecausal_cli.errors import DiveNumberError
from finecausal_cli.evaluation.predict import is_covered
from finecausal_cli.report.batch import caveats_of, interval, points, summarise_rows
from finecausal_cli.report.console import STAGE_WORDS, Section, file_name, signed
from finecausal_cli.report.console import Row as Cells
from finecausal_cli.report.evaluation import evaluation_sections, figure, setting_sentence, share
from finecausal_cli.report.explanation import explanation_sections, limits_of, summarise_explanation, time_code
from finecausal_cli.report.output import render_page
from finecausal_cli.report.overlay import STAGE_COLOURS, KeyFrameStrip, key_frames
from finecausal_cli.report.player import build_player, cut_excerpt, player_script, script_digest
from finecausal_cli.report.score import (
    athlete_in_words,
    competition_in_words,
    difficulty_in_digits,
    exemplars_in_words,
    first_lines,
    height_in_words,
    interval_in_words,
    range_in_words,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from finecausal_cli.batch.records import Row
    from finecausal_cli.evaluation.predict import Prediction
    from finecausal_cli.evaluation.run import Evaluation
    from finecausal_cli.report.player import ClipExcerpt
    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Assessment, Explanation
    from finecausal_cli.video.worker import WorkerProcess


# The page of an explanation.

_TEMPLATE = "explanation_page.html"

CAPTIONS: Final = {
    "contributions": "From the exemplars to the dive: what each stage gains (blue) and loses (orange).",
    "interventions": "What changes with one stage replaced. Inside the grey band a change is no larger than the "
    "effect of shifted stage borders.",
    "graph-attention": "Graph attention between the nine snippets of query and exemplar, plain and fused with the "
    "predicted foreground. Blue: more than without preference; orange: less. The numbers are means of a block.",
    "stage-attention": "How much each stage (row) attends to itself and to earlier ones, percent.",
}


_MAIN: Final = ("Likeliest dive numbers", "Measured facts", "Interventions", "Stages against")
"""Beginnings of the titles of the tables that a coach reads first; the others fold away."""


def write_page(
    path: Path,
    explanation: Explanation,
    evidence: Evidence,
    *,
    source: str | None = None,
    timeout_s: float | None = None,
    process: WorkerProcess | None = None,
) -> None:
    """Write the page as one self-contained file, the video included.

    Args:
        path: The file.
        explanation: The explanation.
        evidence: Its frames and masks.
        source: What the page calls the video; by default what the assessment calls it.
        timeout_s: Most seconds without any progress that decoding the video once more may take; None decodes it in
            this process and sets no limit.
        process: A process to decode it in, as ``cut_excerpt`` takes it.

    Raises:
        VideoError: A frame of the video cannot be decoded any more, or that took too long.
        OutputError: The file cannot be written.
    """
    drawings: Mapping[str, str] = {}
    if find_spec("matplotlib") is not None:
        from finecausal_cli.report.figures import draw_charts

        drawings = draw_charts(explanation)
    excerpt = cut_excerpt(explanation.assessment, evidence, timeout_s=timeout_s, process=process)
    text = explanation_page(explanation, evidence, drawings, excerpt=excerpt, source=source)
    with atomic_write(path, "the report") as part:
        part.write_text(text, encoding="utf-8", errors="replace")


def explanation_page(
    explanation: Explanation,
    evidence: Evidence,
    drawings: Mapping[str, str],
    *,
    excerpt: ClipExcerpt | None = None,
    source: str | None = None,
) -> str:
    """Return the page.

    Args:
        explanation: The explanation.
        evidence: Its frames and masks.
        drawings: SVG elements by name, made by ``draw_charts``; the page shows them as they are.
        excerpt: The video of the dive; None shows the curves without it.
        source: What the page calls the video; by default what the assessment calls it.
    """
    assessment = explanation.assessment
    source = assessment.source if source is None else source
    player = build_player(explanation, evidence, excerpt)
    script, digest = player_script()
    tables = explanation_sections(explanation)
    return render_page(
        _TEMPLATE,
        version=__version__,
        first_lines=first_lines(assessment),
        name=file_name(source),
        source=source,
        dive=_dive_in_words(assessment),
        facts=_facts(assessment),
        cards=_cards(assessment),
        summary=summarise_explanation(explanation),
        holds=explanation.checks.holds,
        player=player,
        unit=assessment.unit,
        strips=key_frames(KeyFrameStrip.of(assessment, evidence)),
        seen=athlete_in_words(assessment),
        colours=STAGE_COLOURS,
        words=STAGE_WORDS,
        segments=_segments(assessment),
        drawings=[
            (name, Markup(svg), CAPTIONS[name])  # noqa: S704 - our own drawing, its words escaped by matplotlib
            for name, svg in drawings.items()
        ],
        tables=[table for table in tables if table.title.startswith(_MAIN)],
        more=[table for table in tables if not table.title.startswith(_MAIN)],
        limits=limits_of(explanation),
        made=assessment.provenance,
        chosen=assessment.provenance.exemplars_chosen,
        data=Markup(player.data),  # noqa: S704 - JSON without "<"
        script=Markup(script),  # noqa: S704 - our own file
        script_digest=Markup(digest),  # noqa: S704 - base64
    )


def _cards(assessment: Assessment) -> list[tuple[str, str, str]]:
    """Return the main numbers: name, value, reference."""
    interval = assessment.interval
    between = "" if interval is None else f"{interval.level:.0%} interval {interval.low:.1f} to {interval.high:.1f}"
    beside = "; ".join(filter(None, (between, interval_in_words(assessment), range_in_words(assessment))))
    degree = "-" if assessment.difficulty is None else difficulty_in_digits(assessment.difficulty)
    start = f"{assessment.exemplar_value:.2f}"
    if assessment.score is None:
        scores = [("mark", f"{assessment.mark:.2f}", f"of 10; {beside}" if beside else "of 10")]
        scores.append(("points", "none", assessment.points_withheld or ""))
        mean = "their mean mark"
    else:
        scores = [("score", f"{assessment.score:.2f}", beside), ("mark", f"{assessment.mark:.2f}", "of 10 a judge")]
        mean = "their mean score at this difficulty"
    return [*scores, ("difficulty", degree, assessment.difficulty_from), (exemplars_in_words(assessment), start, mean)]


def _segments(assessment: Assessment) -> list[tuple[str, str, str, int]]:
    """Return the timeline: stage, begin, end, and its frames, which set its width."""
    return [
        (stage.name, time_code(stage.start_s), time_code(stage.end_s), stage.end_frame - stage.start_frame)
        for stage in assessment.stages
    ]


def _dive_in_words(assessment: Assessment) -> str:
    if assessment.dive is None:
        return f"Dive not known ({assessment.dive_from})"
    try:
        text = f"{assessment.dive}: {describe_dive(parse_dive_number(assessment.dive))}"
    except DiveNumberError:
        text = f"{assessment.dive}: not a dive number"
    is_given = assessment.height_m is not None and not height_in_words(assessment)
    height = f", {assessment.height_m:g} m" if is_given else ""
    return f"{text}{height} ({assessment.dive_from})"


def _facts(assessment: Assessment) -> list[str]:
    """Return what is known of the height and of other dives of this number, one sentence each."""
    height = height_in_words(assessment)
    return [text for text in (f"Height: {height}" if height else "", competition_in_words(assessment)) if text]


# The page of a batch.

_BATCH_TEMPLATE = "batch_page.html"

_SCRIPT: Final = "folder.js"
_HEADINGS: Cells = ("dive", "number", "group", "score", "interval", "execution", "take-off", "flight", "entry")
_FAILED_HEADINGS: Cells = ("dive", "number", "mark", "kind", "what is wrong")
_LESS: Final = ("group", "interval", "execution", "kind")
"""Columns that a phone leaves out."""

_BARS = 10


def batch_page(rows: Sequence[Row], pages: Collection[str] = ()) -> str:
    """Return the page, with sorting and filtering. Everything from outside is escaped.

    Args:
        rows: Of the batch, in the order to show.
        pages: Names of the pages that lie beside it: a dive links to the page that is called as its video.
    """
    summary = summarise_rows(rows)
    scored = [row for row in rows if row.score is not None]
    others = [row for row in rows if row.score is None]
    made = scored[0] if scored else None
    settings = {(row.weights, row.weights_digest, row.bank_digest, row.precision) for row in scored}
    folder = _common_folder([row.source for row in rows])
    became = (
        (summary.scored, "scored"),
        (summary.withheld, "without points"),
        (summary.refused, "refused"),
        (summary.failed, "failed"),
    )
    cards = [("dives", f"{summary.count}", ", ".join(f"{count}\u00a0{name}" for count, name in became))]
    if summary.mean_mark is not None and summary.scored < summary.count - summary.refused - summary.failed:
        cards.append(("mean mark", points(summary.mean_mark), "of 10; points need a sure dive number"))
    if summary.best is not None and summary.worst is not None:
        cards += [
            ("mean score", points(summary.mean), f"points; median\u00a0{points(summary.median)}"),
            ("best score", points(summary.best.score), _within(folder, summary.best.source)),
            ("worst score", points(summary.worst.score), _within(folder, summary.worst.source)),
        ]
    cells = [_scored(row, folder) for row in scored], [_unscored(row, folder) for row in others]
    shown = list(zip((*cells[0], *cells[1]), (*scored, *others), strict=True))
    script = (Path(__file__).parent / _SCRIPT).read_text(encoding="utf-8")
    return render_page(
        _BATCH_TEMPLATE,
        version=__version__,
        title=f"{file_name(folder)}: {summary.count} dives" if folder else f"{summary.count} dives",
        folder=folder,
        cards=cards,
        caveats=[*caveats_of(rows), *_caveats(scored, mixed=len(settings) > 1)],
        bars=_bars(scored),
        scored=Section("Scored", "", _HEADINGS, cells[0]),
        failures=summary.failures,
        failed=Section("Without points", "", _FAILED_HEADINGS, cells[1]),
        groups={cell: _group(row) for cell, row in shown},
        group_names=[name for name in GROUPS.values() if any(_group(row) == name for row in rows)],
        links={cell: _link(row, pages) for cell, row in shown},
        less=_LESS,
        zip=zip,
        made=made,
        level=None if made is None or made.interval_level is None else f"{made.interval_level:.0%}",
        script=Markup(script),  # noqa: S704 - our own file
        script_digest=Markup(script_digest(script)),  # noqa: S704 - base64
    )


def _common_folder(sources: Sequence[str]) -> str:
    """Return the folder that all dives lie in; empty where they have none in common."""
    folders = {os.path.dirname(source) for source in sources}  # noqa: PTH120 - names that are no valid text
    if not folders or any(os.path.isabs(each) for each in folders) != all(os.path.isabs(each) for each in folders):  # noqa: PTH117
        return ""
    return os.path.commonpath(folders) if all(folders) else ""


def _within(folder: str, source: str) -> str:
    return source[len(folder) :].lstrip("/\\") if folder else source


def _link(row: Row, pages: Collection[str]) -> str:
    """Return the address of a dive's own page; empty without one."""
    name = f"{Path(row.source).stem}.html"
    return quote(name) if name in pages else ""


def _group(row: Row) -> str:
    """Return the group of a dive's number in words; empty where it is not known."""
    try:
        return "" if row.dive is None else GROUPS[parse_dive_number(row.dive).group]
    except DiveNumberError:
        return ""


def _scored(row: Row, folder: str) -> Cells:
    return (
        _name(row, folder),
        row.dive or "?",
        _group(row) or "?",
        points(row.score),
        interval(row) or "-",
        points(row.execution),
        *(
            "-" if value is None else signed(value)
            for value in (row.takeoff_points, row.flight_points, row.entry_points)
        ),
    )


def _unscored(row: Row, folder: str) -> Cells:
    mark = "-" if row.mark is None else points(row.mark)
    return _name(row, folder), row.dive or "?", mark, row.error_kind or "", row.error or ""


def _name(row: Row, folder: str) -> str:
    name = _within(folder, row.source)
    return name if row.start_s is None else f"{name} from {row.start_s:g} s"


def _caveats(scored: Sequence[Row], *, mixed: bool) -> list[str]:
    caveats = []
    if mixed:
        caveats.append(
            "These rows were made with different weights, banks or precisions, so their scores do not compare."
        )
    recognised = sum((row.dive_from or "").startswith("recognised") for row in scored)
    unknown = sum(row.dive is None for row in scored)
    parts = []
    if recognised:
        parts.append(f"{recognised} dive numbers were recognised, not given")
    if unknown:
        parts.append(f"{unknown} are not known, so they were compared with dives of other numbers")
    if parts:
        caveats.append(f"Dive numbers: {'; '.join(parts)}. Name them with --dive or in a manifest to be sure.")
    return caveats


def _bars(scored: Sequence[Row]) -> list[tuple[str, int, float]]:
    """Return the histogram of scores: range, count, share of the longest bar in percent."""
    scores = [row.score for row in scored if row.score is not None]
    if not scores:
        return []
    top = max(_BARS, *(int(score // _BARS + 1) * _BARS for score in scores))
    first = min(int(score // _BARS) * _BARS for score in scores)
    counts = {low: sum(low <= score < low + _BARS for score in scores) for low in range(first, top, _BARS)}
    longest = max(counts.values())
    return [(f"{low} to {low + _BARS}", count, 100 * count / longest) for low, count in counts.items()]


# The page of an evaluation.

_EVALUATION_TEMPLATE = "evaluation_page.html"
_LARGEST_ERRORS = 20

_CAPTIONS: Final = {
    "scores": "Predicted against true score. Each thin line is the stated interval of a dive; on the dotted line the "
    "prediction is exact.",
    "residuals-by-number": "How far the prediction of each dive is off, by dive number (dives). Right of the dotted "
    "line the model scores too high.",
    "transition-errors": "How far the predicted beginnings of flight and entry are off, in sampled frames.",
}


def evaluation_page(evaluation: Evaluation, drawings: Mapping[str, str], *, last: Evaluation | None = None) -> str:
    """Return the page. Everything from outside is escaped.

    Args:
        evaluation: The evaluation.
        drawings: SVG elements by name, made by ``draw_figures``; the page shows them as they are.
        last: The same run's last epoch, to be compared with its best.
    """
    sections = evaluation_sections(evaluation, last=last, by=("difficulty", "number"))
    largest_errors = Section(
        "Largest errors",
        f"The {_LARGEST_ERRORS} dives with the largest error; predictions.csv has them all.",
        ("dive", "number", "difficulty", "true", "predicted", "error", "inside", "tIoU"),
        _largest_errors(evaluation),
    )
    return render_page(
        _EVALUATION_TEMPLATE,
        version=__version__,
        setting=evaluation.setting,
        sentence=setting_sentence(evaluation),
        caveats=evaluation.caveats,
        cards=_evaluation_cards(evaluation),
        tables=[section for section in (*sections, largest_errors) if section.rows],
        drawings=[
            (name, Markup(svg), _CAPTIONS[name])  # noqa: S704 - our own drawing, its words escaped by matplotlib
            for name, svg in drawings.items()
        ],
    )


def _evaluation_cards(evaluation: Evaluation) -> list[Cells]:
    """Return the main metrics: name, value, reference."""
    summary = evaluation.summary
    cards: list[Cells] = [
        ("Spearman's rho", figure(summary.rho), f"difficulty alone {figure(summary.difficulty_rho)}"),
        ("R-l2 (x100)", figure(summary.relative_l2), f"difficulty alone {figure(summary.difficulty_relative_l2)}"),
        (
            "mean error",
            figure(summary.mean_absolute_error, 2),
            f"points; difficulty alone {figure(summary.difficulty_mean_absolute_error, 2)}",
        ),
    ]
    if summary.aiou_75 is not None:
        cards.append(("AIoU@0.75", figure(summary.aiou_75), f"AIoU@0.5 {figure(summary.aiou_50)}"))
    if evaluation.interval_level is not None:
        cards.append(("inside the interval", share(evaluation.coverage), f"stated {evaluation.interval_level:.0%}"))
    return cards


def _largest_errors(evaluation: Evaluation) -> list[Cells]:
    by_error = sorted(evaluation.predictions, key=lambda dive: (-abs(dive.predicted - dive.score), dive.key))
    return [_dive(dive, evaluation.interval_half_width) for dive in by_error[:_LARGEST_ERRORS]]


def _dive(dive: Prediction, half_width: float | None) -> Cells:
    inside = "-" if half_width is None else "yes" if is_covered(dive, half_width) else "no"
    return (
        dive.key,
        dive.number or "-",
        difficulty_in_digits(dive.difficulty),
        f"{dive.score:.2f}",
        f"{dive.predicted:.2f}",
        signed(dive.predicted - dive.score),
        inside,
        figure(dive.temporal_iou, 3),
    )
