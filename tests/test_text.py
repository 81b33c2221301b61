from __future__ import annotations

from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from recsys_mtl.text import as_html, as_markdown, one_line
from tests.nasty import NASTY

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
FORMS = {"paragraph": "{}", "heading": "## {}", "cell": "| a |\n|---|\n| {} |"}
TEXTS = st.text(st.sampled_from("[]()<>!?/a1 .:*_~`|\\#&;$+-=\n\x1bé"), max_size=12)


def rendered(markdown: str) -> str:
    """The text that a reader gets; marks of any kind become their names."""
    inline: list[Token] = [t for t in PARSER.parse(markdown) if t.type == "inline"]
    children = (inline[-1].children or []) if inline else []
    return "".join(c.content if c.type in ("text", "text_special") else c.type for c in children)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("click", "click"),
        ("a\nb\r\t", "a\\nb\\r\\t"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202ex\ud800", "\\u202ex\\ud800"),
        ("名前 👨‍👩‍👧 é", "名前 👨‍👩‍👧 é"),
    ],
)
def test_a_line_shows_what_would_control_it(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    "text",
    ["click == 1", "calibration_error", "-0.5", "[+0.10, +0.20]", "p < 0.05", "a & b", "-> fix"],
)
def test_ordinary_markdown_stays_readable(text: str) -> None:
    assert as_markdown(text) == text


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_markdown_is_text(form: str) -> None:
    for text in NASTY:
        assert rendered(form.format(as_markdown(text))) == one_line(text).strip(), text


@given(TEXTS)
def test_markdown_of_any_text_is_that_text(text: str) -> None:
    for form in FORMS.values():
        assert rendered(form.format(as_markdown(text))) == one_line(text).strip()


def test_html_is_text() -> None:
    for text in NASTY:
        html = as_html(text)
        assert not set("<>\"'\n\x1b") & set(html), text
        assert unescape(html) == one_line(text)
