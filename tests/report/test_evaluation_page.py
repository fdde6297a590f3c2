from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from finecausal_cli.report.figures import draw_figures
from finecausal_cli.report.pages import evaluation_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.evaluation.run import Evaluation

EVIL = "<script>alert('1')</script>&{:d}"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class _Page(HTMLParser):
    """Collects what a page asks a browser to do, and checks that its elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value for name, value in attributes if name == "id" and value]
        self.links |= {value for name, value in attributes if name in ("href", "src", "xlink:href") and value}
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


def test_the_page_asks_nobody_and_runs_nothing(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation(key=EVIL, dataset=EVIL, caveats=(EVIL,), protocols=True)
    text = evaluation_page(evaluation, draw_figures(evaluation), last=make_evaluation())
    page = _Page(text)
    assert page.open == []
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {found[1:] for found in re.findall(r"url\((#[^)]*)\)", text)} <= set(page.ids)
    assert "default-src 'none'" in text
    shown = "".join(page.text)
    assert shown.count(EVIL) >= 3  # the title, the heading and the note
    assert "<script>alert('1')</script>&19" in shown


def test_the_page_shows_the_figures_and_the_largest_errors_first(make_evaluation: Callable[..., Evaluation]) -> None:
    evaluation = make_evaluation(protocols=True, lift=1.0)
    shown = " ".join(" ".join(_Page(evaluation_page(evaluation, {})).text).split())
    assert f"Spearman's rho {evaluation.summary.rho:.4f}" in shown
    assert "inside the interval 60.0%" in shown
    assert "Best and last epoch" not in shown
    assert "Choices of exemplars" in shown
    largest = shown[shown.index("Largest errors") :]
    assert largest.index("videos/00004.mp4") < largest.index("videos/00003.mp4")
    assert "videos/00004.mp4 - 2.0 50.00 55.00 +5.00 no 0.925" in largest


def test_drawings_take_the_colour_of_the_text(make_evaluation: Callable[..., Evaluation]) -> None:
    for drawing in draw_figures(make_evaluation()).values():
        assert "currentColor" in drawing
        assert "#010203" not in drawing
        assert drawing.startswith("<svg")
        assert "<metadata" not in drawing
        assert not re.match(r"<svg[^>]* (width|height)=", drawing)
