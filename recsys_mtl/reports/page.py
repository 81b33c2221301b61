"""A page of tables and pictures, written once and shown on a terminal, as Markdown and as HTML."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as RichTable

from recsys_mtl.files import atomic_write
from recsys_mtl.storage.location import OneKind
from recsys_mtl.text import as_html, as_markdown, one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # slow to import, and most pages have no picture

_WIDTH_IN_FILES = 100
_DPI = 110
_STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th { border-bottom: 2px solid #888 }
td.text, th.text { text-align: left }
img { max-width: 100% }
"""


@dataclass(frozen=True)
class Table:
    """Cells as they are shown.

    Attributes:
        title: above the table.
        columns: headings.
        rows: as many cells each.
        texts: how many columns from the left hold text; the others are set right.
        note: below the table.
        printed: whether a terminal shows it.
        dense: without lines between the columns on a terminal, for many short cells.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    note: str = ""
    dense: bool = False
    printed: bool = True


@dataclass(frozen=True)
class Picture:
    """A figure, and the name (without suffix) of the PNG file that it becomes."""

    title: str
    name: str
    figure: Figure


@dataclass(frozen=True)
class Page:
    """A title, then paragraphs of text, tables and pictures in their order."""

    title: str
    parts: Sequence[str | Table | Picture]

    def show(self) -> None:
        """Print all but the pictures."""
        console = terminal()
        console.print(one_line(self.title), style="bold")
        for part in self.parts:
            if isinstance(part, str):
                console.print(one_line(part))
            elif isinstance(part, Table) and part.printed:
                console.print()
                console.print(_for_terminal(part))
                if part.note:
                    console.print(one_line(part.note), style="italic")

    def write(
        self, folder: OneKind, name: str, *, markdown: bool = False, html: str = ""
    ) -> list[OneKind]:
        """Write `name`.html, the pictures as PNG files, and `name`.md if requested.

        The HTML page holds its pictures and needs no other file.

        Args:
            folder: where to.
            name: of the files, without suffix.
            markdown: whether `name`.md is written.
            html: what `name`.html holds, instead of this page.
        """
        pictures = {
            part.name: _png(part.figure) for part in self.parts if isinstance(part, Picture)
        }
        paths = [atomic_write(folder / f"{key}.png", png) for key, png in pictures.items()]
        paths.append(atomic_write(folder / f"{name}.html", html or self._html(pictures)))
        if markdown:
            paths.append(atomic_write(folder / f"{name}.md", self.markdown()))
        return paths

    def markdown(self) -> str:
        """GitHub's Markdown; pictures are links to the PNG files next to it."""
        parts = [f"# {as_markdown(self.title)}"]
        for part in self.parts:
            if isinstance(part, str):
                parts.append(as_markdown(part))
            elif isinstance(part, Picture):
                title = as_markdown(part.title)
                parts.append(f"## {title}\n\n![{title}]({part.name}.png)")
            else:
                parts.append(_markdown(part))
        return "\n\n".join(parts) + "\n"

    def _html(self, pictures: dict[str, bytes]) -> str:
        parts = [f"<h1>{as_html(self.title)}</h1>"]
        for part in self.parts:
            if isinstance(part, str):
                parts.append(f"<p>{as_html(part)}</p>")
            elif isinstance(part, Picture):
                data = base64.b64encode(pictures[part.name]).decode()
                parts.append(f"<h2>{as_html(part.title)}</h2>")
                parts.append(
                    f'<img alt="{as_html(part.title)}" src="data:image/png;base64,{data}">'
                )
            else:
                parts.append(_html(part))
        head = f'<meta charset="utf-8"><title>{as_html(self.title)}</title><style>{_STYLE}</style>'
        return (
            f"<!doctype html>\n<html><head>{head}</head><body>\n"
            + "\n".join(parts)
            + "\n</body></html>\n"
        )


def terminal(*, highlight: bool = False) -> Console:
    """A console for which a text is a text: square brackets and `:smile:` mean nothing."""
    width = None if sys.stdout.isatty() else _WIDTH_IN_FILES
    return Console(width=width, highlight=highlight, markup=False, emoji=False)


def _for_terminal(table: Table) -> RichTable:
    title = one_line(table.title)
    shown = RichTable(title=title, title_justify="left", show_edge=False, pad_edge=False)
    if table.dense:
        shown.box, shown.padding = None, (0, 1, 0, 0)
    for i, name in enumerate(table.columns):
        shown.add_column(
            one_line(name), justify="left" if i < table.texts else "right", no_wrap=True
        )
    for row in table.rows:
        shown.add_row(*map(one_line, row))
    return shown


def _markdown(table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rule = ["---" if i < table.texts else "---:" for i in range(len(table.columns))]
    title = as_markdown(table.title)
    columns, *rows = (map(as_markdown, cells) for cells in (table.columns, *table.rows))
    lines = [f"## {title}", "", line(columns), line(rule), *map(line, rows)]
    return "\n".join(lines) + (f"\n\n{as_markdown(table.note)}" if table.note else "")


def _html(table: Table) -> str:
    def line(kind: str, cells: Sequence[str]) -> str:
        marks = [' class="text"' if i < table.texts else "" for i in range(len(cells))]
        inside = (f"<{kind}{m}>{as_html(c)}</{kind}>" for m, c in zip(marks, cells, strict=True))
        return f"<tr>{''.join(inside)}</tr>"

    rows = "\n".join(line("td", row) for row in table.rows)
    note = f"<p>{as_html(table.note)}</p>" if table.note else ""
    title = f"<h2>{as_html(table.title)}</h2>"
    return f"{title}\n<table>\n{line('th', table.columns)}\n{rows}\n</table>\n{note}"


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    return file.getvalue()
