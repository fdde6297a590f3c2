from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from finecausal_cli.report import pages as page_module
from finecausal_cli.report.explanation import interventions
from finecausal_cli.report.figures import draw_charts
from finecausal_cli.report.output import keep_whole
from finecausal_cli.report.pages import explanation_page, write_page
from finecausal_cli.report.player import ClipExcerpt, player_script, script_digest
from finecausal_cli.video.writer import write_video

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finecausal_cli.scoring.background import Evidence
    from finecausal_cli.scoring.results import Assessment, Explanation

EVIL = "<img src=x onerror=alert(1)>.mp4"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class _Page(HTMLParser):
    """Collects what a page asks a browser to do, and checks that its elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []
        self.policy = ""
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attributes}
        self.ids += [value for name, value in attributes if name == "id" and value]
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href", "poster") and value]
        if dict(attributes).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attributes)["content"] or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_the_page_asks_nobody_runs_its_own_script_alone_and_escapes_what_comes_from_outside(
    make_explanation: Callable[..., Explanation], evidence: Evidence
) -> None:
    explanation = make_explanation(text=EVIL)
    made = explanation.assessment.provenance.model_copy(
        update=dict.fromkeys(("weights", "weights_note", "bank", "decoder", "device", "exemplars_chosen"), EVIL)
    )
    votes = tuple(vote.model_copy(update={"exemplar": EVIL, "dive": EVIL}) for vote in explanation.assessment.votes)
    hostile = {"provenance": made, "votes": votes, "notes": (EVIL,), "dive": EVIL, "dive_from": EVIL}
    assessment = explanation.assessment.model_copy(update={**hostile, "difficulty_from": EVIL})
    explanation = explanation.model_copy(update={"assessment": assessment})
    video = ClipExcerpt(b"\x00mp4", np.arange(5) / 25, 0.0, (120, 200), 5 / 3)
    text = explanation_page(explanation, evidence, draw_charts(explanation), excerpt=video)
    page = _Page(text)
    assert page.open == []
    assert not set(page.tags) & {"link", "iframe", "object", "embed", "form", "base"}
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    assert page.tags.count("script") == len(scripts) == 2
    assert json.loads(scripts[0][1])["end"] == 0.16
    assert scripts[1] == ("", player_script()[0])
    assert not any(name.startswith("on") for name in page.names)
    assert page.tags.count("img") == 12
    assert all(link.startswith(("#", "data:image/", "data:video/mp4;")) for link in page.links)
    assert {link[1:] for link in page.links if link[0] == "#"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {found[1:] for found in re.findall(r"url\((#[^)]*)\)", text)} <= set(page.ids)
    allowed = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data: blob:; script-src "
    assert page.policy == allowed + script_digest(scripts[1][1])
    assert "<img src=x" not in text
    assert page.words.count(EVIL) >= 12  # title, heading, dive, tables, limits, provenance


def test_the_page_says_what_the_terminal_says(explanation: Explanation, evidence: Evidence) -> None:
    page = _Page(explanation_page(explanation, evidence, {}))
    assert "Most lost at flight: -1.99 points against 2 exemplars." in page.words
    assert "score 78.89 90% interval 74.7 to 83.1" in page.words
    assert "take-off, 0:00.00 to 0:01.37" in page.words
    assert "flight 81.08 +2.19 +0.00 +1.99 +0.20 2/2" in page.words
    assert "Trained on simulated dives only" in page.words
    assert "need not follow the usual meaning of a stage" in page.words
    assert "3f2a3f2a3f2a" in page.words
    assert "video" not in page.tags


def test_no_line_ends_within_a_flag_or_the_take_off(explanation: Explanation, evidence: Evidence) -> None:
    assert keep_whole("<b> name it with --dive.") == '&lt;b&gt; name it with <span class="whole">--dive.</span>'
    assert keep_whole("--" + 30 * "long") == "--" + 30 * "long"
    height = 'at <span class="whole">10 m</span>, <span class="whole">1.73 s</span> in the air, 14.2 m/s'
    assert keep_whole("at 10 m, 1.73 s in the air, 14.2 m/s") == height
    assert keep_whole("too far, - too little") == 'too far, <span class="whole">- too</span> little'
    page = explanation_page(explanation, evidence, {})
    assert '<th scope="row"><span class="whole">take-off</span></th>' in page
    assert ".whole { white-space: nowrap; }" in page
    assert ".cards li > span { display: block; }" in page  # and not what is kept whole within


def test_a_failed_check_is_said_at_the_top(explanation: Explanation, evidence: Evidence) -> None:
    broken = explanation.model_copy(update={"checks": explanation.checks.model_copy(update={"holds": False})})
    page = _Page(explanation_page(broken, evidence, {})).words
    assert page.index("A consistency check failed") < page.index("In short")
    assert "A consistency check failed" not in _Page(explanation_page(explanation, evidence, {})).words


def test_a_stage_without_frames_is_said_to_have_none(explanation: Explanation, evidence: Evidence) -> None:
    takeoff, flight, entry = explanation.assessment.stages
    empty = takeoff.model_copy(update={"end_frame": 0, "end_s": 0.0})
    stages = (empty, flight.model_copy(update={"start_frame": 0, "start_s": 0.0}), entry)
    assessment = explanation.assessment.model_copy(update={"stages": stages})
    page = _Page(explanation_page(explanation.model_copy(update={"assessment": assessment}), evidence, {}))
    assert page.tags.count("img") == 8
    assert "No frame:" in page.words


def test_a_stage_without_frames_is_neither_lost_nor_replaced(
    make_assessment: Callable[..., Assessment], make_explanation: Callable[..., Explanation], evidence: Evidence
) -> None:
    judged = make_assessment([(-4.0, -1.0, 0.5)], [25.0], difficulty=3.0)
    assert "lost: take-off" in _Page(explanation_page(make_explanation(judged), evidence, {})).words
    takeoff, flight, entry = judged.stages
    empty = takeoff.model_copy(update={"end_frame": 0, "end_s": 0.0})
    stages = (empty, flight.model_copy(update={"start_frame": 0, "start_s": 0.0}), entry)
    explanation = make_explanation(judged.model_copy(update={"stages": stages}))
    page = _Page(explanation_page(explanation, evidence, {})).words
    assert "most lost: flight" in page
    assert "lost: take-off" not in page
    assert "Most lost at flight" in page
    assert [row[0] for table in interventions(explanation) for row in table.rows].count("take-off") == 0


def test_the_file_carries_drawings_and_the_video(
    make_explanation: Callable[..., Explanation], evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "my dive.mp4"
    write_video(clip, (np.full((60, 100, 3), index, np.uint8) for index in range(192)), 60)
    explanation = make_explanation(text=str(clip))
    write_page(tmp_path / "report.html", explanation, evidence)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = _Page(text)
    assert page.tags.count("svg") == 4
    assert "<h1>my dive.mp4</h1>" in text
    (video,) = (link for link in page.links if link.startswith("data:video/mp4;base64,"))
    with av.open(io.BytesIO(base64.b64decode(video.split(",")[1], validate=True))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, float(stream.average_rate)) == (192, 60)
    monkeypatch.setattr(page_module, "find_spec", lambda name: None)
    write_page(tmp_path / "plain.html", explanation, evidence, source="called so.mp4")
    text = (tmp_path / "plain.html").read_text(encoding="utf-8")
    assert "<h1>called so.mp4</h1>" in text
    assert "svg" not in _Page(text).tags


def test_a_name_that_is_not_text_can_be_written(
    make_explanation: Callable[..., Explanation], evidence: Evidence
) -> None:
    text = explanation_page(make_explanation(text="bad\udcff.mp4"), evidence, {})
    assert "<h1>bad?.mp4</h1>" in text.encode("utf-8", "replace").decode()
