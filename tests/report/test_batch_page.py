from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from finecausal_cli.report.pages import batch_page
from finecausal_cli.report.player import script_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    assert not set(page.tags) & {"img", "iframe", "link", "object", "form"}
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src {script_digest(script)}" in text
    assert page.tags.count("script") == 1
    assert not any(name.startswith("on") for name in page.names)
    assert "src" not in page.names
    assert "<img src=x" not in text
    assert page.words.count(EVIL) >= 6


def test_the_figures_are_those_of_the_rows(make_batch_row: Callable[..., Row]) -> None:
    rows = [
        make_batch_row(f"{score}.mp4", float(score), interval_low=1.0, interval_high=99.0) for score in (40, 70, 85)
    ]
    page = Page(batch_page([*rows, make_batch_row("broken.mp4", None)])).words
    cards = "mean score 65.00 points; median 70.00 best score 85.00 85.mp4 worst score 40.00 40.mp4"
    assert f"dives 4 3 scored, 0 without points, 0 refused, 1 failed {cards}" in page
    assert "40 to 50 1 50 to 60 0 60 to 70 0 70 to 80 1 80 to 90 1" in page
    assert "broken.mp4 ? - not_a_video no video" in page
    assert "70.mp4 107B forward 70.00 1.0 to 99.0" in page
    assert "do not compare" not in page


def test_dives_without_points_are_counted_and_each_mean_has_its_unit(make_batch_row: Callable[..., Row]) -> None:
    unsure = {"score": None, "mark": 7.0, "error_kind": "no_number", "error": "not sure"}
    scored = make_batch_row("a.mp4", 66.0, mark=8.0)
    rows = [scored, scored.model_copy(update={"source": "b.mp4", **unsure}), make_batch_row("broken.mp4", None)]
    page = Page(batch_page(rows)).words
    assert "dives 3 1 scored, 1 without points, 0 refused, 1 failed" in page
    assert "mean mark 7.50 of 10; points need a sure dive number mean score 66.00 points; median 66.00" in page


def test_rows_of_different_weights_are_said_not_to_compare(make_batch_row: Callable[..., Row]) -> None:
    rows = [make_batch_row("a.mp4"), make_batch_row("b.mp4", weights_digest="x" * 64)]
    assert "do not compare" in Page(batch_page(rows)).words


def test_a_batch_without_a_score_has_a_page_too(make_batch_row: Callable[..., Row]) -> None:
    page = Page(batch_page([make_batch_row("a.mp4", None)])).words
    assert "dives 1 0 scored, 0 without points, 0 refused, 1 failed" in page
    assert "mean" not in page
    assert "dives 0" in Page(batch_page([])).words


def test_the_folder_is_named_once_and_dives_link_to_their_pages(make_batch_row: Callable[..., Row]) -> None:
    rows = [make_batch_row(f"/home/coach/meets/{name}.mp4") for name in ("day1/a b", "day2/c")]
    text = batch_page(rows, {"a b.html", "other.html"})
    assert text.count("/home/coach/meets") == 1
    assert "<h1>meets: 2 dives</h1>" in text
    assert re.findall(r'<a href="([^"]*)">([^<]*)</a>', text) == [("a%20b.html", "day1/a b.mp4")]
    # Of one absolute and one relative name there is no common folder.
    assert "<h1>2 dives</h1>" in batch_page([make_batch_row("/a/b.mp4"), make_batch_row("c/d.mp4")])


def test_a_person_filters_and_sorts_in_chromium(make_batch_row: Callable[..., Row], browser, tmp_path: Path) -> None:
    dives = {"9.mp4": ("107B", 40.0), "10.mp4": ("405C", 100.5), "11.mp4": ("107B", 70.0)}
    rows = [make_batch_row(name, score, dive=number) for name, (number, score) in dives.items()]
    (tmp_path / "report.html").write_text(batch_page([*rows, make_batch_row("broken.mp4", None)]), encoding="utf-8")
    browser.open(tmp_path / "report.html")
    seen = "[...document.querySelectorAll('.dives tbody tr')].filter((row) => row.checkVisibility())"
    names = f"{seen}.map((row) => row.cells[0].textContent)"
    browser.click(".scored th:nth-child(4) button")
    assert browser.run(names) == ["9.mp4", "11.mp4", "10.mp4", "broken.mp4"]
    browser.click(".scored th:nth-child(4) button")
    assert browser.run(names) == ["10.mp4", "11.mp4", "9.mp4", "broken.mp4"]
    browser.click(".scored th:nth-child(1) button")
    assert browser.run(names) == ["9.mp4", "10.mp4", "11.mp4", "broken.mp4"]
    browser.click(".filters input")
    browser.call("Input.insertText", text="107b")
    assert browser.run(names) == ["9.mp4", "11.mp4"]
    assert browser.run("document.querySelector('.filters output').textContent") == "2 of 4 dives"
    browser.run(
        "(() => { const [words, group] = document.querySelectorAll('.filters input, .filters select');"
        " words.value = ''; group.value = 'inward'; group.dispatchEvent(new Event('change')); })()"
    )
    assert browser.run(names) == ["10.mp4"]
    assert browser.errors == []
