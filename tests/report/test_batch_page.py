from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

from finecausal_cli.report.pages import batch_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from finecausal_cli.batch.records import Row

EVIL = "<img src=x onerror=alert(1)>.mp4"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects tags, attributes and words, and checks that elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.said: list[str] = []
        self.feed(text)
        self.words = " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attributes}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def test_everything_from_outside_is_escaped(make_batch_row: Callable[..., Row]) -> None:
    texts = {"dive": EVIL, "weights": EVIL, "bank": EVIL, "device": EVIL, "dive_from": EVIL}
    failed = make_batch_row(EVIL, None, error=EVIL)
    text = batch_page([make_batch_row(EVIL, **texts), failed, make_batch_row("bad\udcff.mp4")])
    page = Page(text)
    assert page.open == []
    assert not set(page.tags) & {"script", "img", "iframe", "link", "object", "form"}
    assert not any(name.startswith("on") for name in page.names)
    assert "src" not in page.names
    assert "<img src=x" not in text
    assert page.words.count(EVIL) >= 6
    assert "default-src 'none'" in text


def test_the_figures_are_those_of_the_rows(make_batch_row: Callable[..., Row]) -> None:
    rows = [
        make_batch_row(f"{score}.mp4", float(score), interval_low=1.0, interval_high=99.0) for score in (40, 70, 85)
    ]
    page = Page(batch_page([*rows, make_batch_row("broken.mp4", None)])).words
    assert "dives 4 3 scored, 0 refused, 1 failed mean 65.00 median 70.00 best 85.00 85.mp4 worst 40.00 40.mp4" in page
    assert "40 to 50 1 50 to 60 0 60 to 70 0 70 to 80 1 80 to 90 1" in page
    assert "broken.mp4 not_a_video no video" in page
    assert "70.mp4 107B 70.00 1.0 to 99.0" in page
    assert "do not compare" not in page


def test_rows_of_different_weights_are_said_not_to_compare(make_batch_row: Callable[..., Row]) -> None:
    rows = [make_batch_row("a.mp4"), make_batch_row("b.mp4", weights_digest="x" * 64)]
    assert "do not compare" in Page(batch_page(rows)).words


def test_a_batch_without_a_score_has_a_page_too(make_batch_row: Callable[..., Row]) -> None:
    page = Page(batch_page([make_batch_row("a.mp4", None)])).words
    assert "dives 1 0 scored, 0 refused, 1 failed" in page
    assert "mean" not in page
    assert "dives 0" in Page(batch_page([])).words
