"""An HTML page as what a reader finds on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_ALONE = ("meta", "link", "img", "br")
Rows = list[list[str]]


@dataclass
class Picture:
    """A chart: its accessible name and description, and what is written and drawn in it."""

    name: str = ""
    title: str = ""
    description: str = ""
    texts: list[str] = field(default_factory=list)
    tips: list[str] = field(default_factory=list)
    drawn: list[tuple[str, dict[str, str]]] = field(default_factory=list)


class Read(HTMLParser):
    """A page, which has to close what it opens.

    Attributes:
        tables: rows of each table by its caption, the headings first.
        pictures: by name.
        headings, paragraphs, code: texts in their order.
        tags: all of them.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, Rows] = {}
        self.pictures: dict[str, Picture] = {}
        self.headings: list[str] = []
        self.paragraphs: list[str] = []
        self.code: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self._caption = ""
        self._rows: Rows = []
        self._picture: Picture | None = None
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        of = {key: value or "" for key, value in attrs}
        if tag == "svg" and of.get("role") == "img":
            self._picture = Picture(of["aria-label"])
        elif self._picture is not None:
            self._picture.drawn.append((tag, of))
        starts = {"h1": self.headings, "h2": self.headings, "p": self.paragraphs, "pre": self.code}
        if tag in starts:
            starts[tag].append("")
        elif tag == "table":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            assert tag == "td" or of["scope"] in ("row", "col")
            self._rows[-1].append("")
        if tag not in _ALONE:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows
        elif tag == "svg" and self._picture is not None:
            assert self._picture.name == self._picture.title
            self.pictures[self._picture.name] = self._picture
            self._picture = None

    def handle_data(self, data: str) -> None:
        tag = self._open[-1] if self._open else ""
        if self._picture is not None:
            self._drawn(tag, data)
        elif tag in ("h1", "h2"):
            self.headings[-1] += data
        elif tag == "p":
            self.paragraphs[-1] += data
        elif tag == "pre":
            self.code[-1] += data
        elif tag == "caption":
            self._caption += data
        elif tag in ("td", "th"):
            self._rows[-1][-1] += data

    def _drawn(self, tag: str, data: str) -> None:
        assert self._picture is not None
        if tag == "desc":
            self._picture.description += data
        elif tag == "title" and self._open[-2] == "svg":
            self._picture.title += data
        elif tag == "title":
            self._picture.tips.append(data)
        elif tag == "text":
            self._picture.texts.append(data)


def table(page: Read, caption: str) -> list[dict[str, str]]:
    """Rows of a table by its headings."""
    head, *rows = page.tables[caption]
    return [dict(zip(head, row, strict=True)) for row in rows]
