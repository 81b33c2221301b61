r"""Text of users (columns, categories, paths) in each form of output: it is text, never markup.

Control characters are shown as Python writes them (`\n`, `\x1b`), so that no text can break a
line, move a cursor or turn the direction of writing.
"""

from __future__ import annotations

import re
from html import escape

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MARKS = re.compile(  # GitHub's Markdown, only where a character is more than itself
    r"[\\`*|~$]|(?<!\w)_|_(?!\w)|(?<=\])[(:]|^(?:[#>]|-+$|[-+](?=\s|$))|^(\d+)(?=[.)](?:\s|$))"
)
_TAGS = re.compile(r"&(?=#?\w+;)|<(?=[A-Za-z/!?])")


def is_utf8(text: str) -> bool:
    """Whether a name, as Python reads it from the system, has a text; some libraries need one."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def one_line(text: str) -> str:
    """`text` for a terminal and for logs, where markup has no meaning: in one line."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def as_html(text: str) -> str:
    """`text` between tags or in a quoted attribute."""
    return escape(one_line(text))


def as_markdown(text: str) -> str:
    """`text` in a paragraph, heading, link or cell of Markdown; ordinary text stays as it is."""
    marked = _MARKS.sub(lambda m: f"{m[1]}\\" if m[1] else f"\\{m[0]}", one_line(text).strip())
    return _TAGS.sub(lambda match: escape(match[0]), marked)
