from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.text import Text

from finecausal_cli.report.console import open_console, printable, shorten, words


def _stream(encoding: str) -> tuple[io.BytesIO, io.TextIOWrapper]:
    raw = io.BytesIO()
    return raw, io.TextIOWrapper(raw, encoding=encoding, write_through=True)


def test_a_stream_that_cannot_hold_a_character_gets_its_code() -> None:
    raw, stream = _stream("ascii")
    open_console(stream).print(Text("plongée 跳"))
    assert raw.getvalue() == b"plong\\xe9e \\u8df3\n"


def test_our_words_are_spelled_out_where_the_stream_is_not_utf8() -> None:
    consoles = {encoding: open_console(_stream(encoding)[1]) for encoding in ("utf-8", "ascii")}
    assert words("back 2½ somersaults ½ twist", consoles["utf-8"]) == "back 2½ somersaults ½ twist"
    assert words("back 2½ somersaults ½ twist", consoles["ascii"]) == "back 2 1/2 somersaults 1/2 twist"


def test_markup_in_a_name_is_text() -> None:
    raw, stream = _stream("utf-8")
    open_console(stream).print("[red]name[/red] :smile:")
    assert raw.getvalue() == b"[red]name[/red] :smile:\n"


def test_no_color_leaves_no_escape_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for value, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        raw, stream = _stream("utf-8")
        open_console(stream).print(Text("x", style="bold red"))
        assert (b"\x1b" in raw.getvalue()) is coloured


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("bad\udcff", "bad\\udcff"),
        ("right\u202eleft", "right\\u202eleft"),
        ("跳水 é.mp4", "跳水 é.mp4"),
    ],
)
def test_a_name_cannot_drive_the_terminal(name: str, shown: str) -> None:
    assert printable(name, open_console(_stream("utf-8")[1])) == shown


def test_a_name_is_shown_as_the_stream_can_hold_it() -> None:
    assert printable("跳 é", open_console(_stream("latin-1")[1])) == "\\u8df3 é"
    assert printable("跳 é", open_console(_stream("ascii")[1])) == "\\u8df3 \\xe9"


@pytest.mark.parametrize("name", ["short.mp4", "x" * 90 + ".mp4", "跳水" * 40 + ".mp4"])
def test_a_long_name_keeps_its_end(name: str) -> None:
    shown = shorten(name, 40)
    assert cell_len(shown) <= 40
    assert shown.endswith(".mp4")
    assert (shown == name) is (cell_len(name) <= 40)
