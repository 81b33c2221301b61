"""A self-contained HTML document of sections: light and dark, wide and narrow, no script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from recsys_mtl.reports.page import Table
from recsys_mtl.reports.svg import Chart
from recsys_mtl.text import as_html

_COLOURS = {  # Okabe and Ito, Color Universal Design, 2008; lighter on a dark page
    "light": ("#0072b2", "#d55e00", "#009e73", "#8a5a83", "#6b5b00", "#333333"),
    "dark": ("#56b4e9", "#f0904c", "#3ad6a5", "#d59cc9", "#f0e442", "#dddddd"),
}
_STYLE = """\
:root { color-scheme: light dark; --back: #fff; --text: #1a1a1a; --soft: #595959; --rule: #d5d5d5;
  --card: #f6f7f8; LIGHT }
@media (prefers-color-scheme: dark) { :root { --back: #16181b; --text: #ececec; --soft: #b3b3b3;
  --rule: #3d4147; --card: #1f2226; DARK } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem;
  background: var(--back); color: var(--text) }
h1 { font-size: 1.6rem; margin: .5rem 0 }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; border-top: 1px solid var(--rule);
  padding-top: 1.2rem }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0 }
a { color: var(--c0) }
.lead { font-size: 1.1rem }
.note { color: var(--soft); font-size: .9rem }
.row { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)) }
figure { margin: .5rem 0; padding: .8rem; background: var(--card); border-radius: .5rem;
  max-width: 40rem }
figcaption.name { font-weight: 600 }
figure svg[role] { width: 100%; height: auto; display: block }
figure.wide { max-width: none; grid-column: 1 / -1 }
figure.wide svg[role] { min-width: var(--least); max-width: 72rem }
.scroll { overflow-x: auto }
details { margin: .8rem 0 }
summary { cursor: pointer; color: var(--c0) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0;
  font-size: .93rem }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--rule); text-align: right }
td.text, th.text { text-align: left }
td:not(.text) { white-space: nowrap }
tbody th { font-weight: normal }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; padding: 0;
  margin: .2rem 0; font-size: .9rem }
.legend svg { vertical-align: middle }
svg text { fill: var(--text); font: 12px system-ui, sans-serif }
svg text.small, svg text.in { font-size: 11px }
svg text.in { text-anchor: middle }
@media (max-width: 30rem) { figure:not(.wide) svg text { font-size: 14px } }
.grid { stroke: var(--rule); stroke-width: .7 }
.guide { stroke: var(--soft); stroke-dasharray: 4 3 }
.line { fill: none; stroke-width: 2 }
.band { opacity: .18; stroke: none }
.bar { opacity: .75 }
.hollow { fill: none; stroke-width: 1.5; stroke-dasharray: 3 2 }
.cell { stroke: var(--card); stroke-width: 1 }
.dot { fill: none; stroke: var(--soft); stroke-width: .9 }
pre { overflow-x: auto; background: var(--card); padding: .8rem; border-radius: .5rem;
  font-size: .85rem }
"""


@dataclass(frozen=True)
class Section:
    """A heading and what follows it.

    Attributes:
        title: the heading, which a link at the head of the page leads to.
        parts: paragraphs, tables, charts with the names of their series, and rows of charts.
    """

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Figure:
    """A chart, and the names of its series."""

    chart: Chart
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Code:
    """A text with its spaces and lines."""

    text: str


@dataclass(frozen=True)
class Folded:
    """Parts below a line that unfolds them."""

    title: str
    parts: Sequence[Part]


Part = str | Table | Figure | Sequence[Figure] | Code | Folded


def document(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """The HTML of a page.

    Args:
        title: of the page.
        lead: paragraphs at its head: what to conclude.
        sections: in their order.
    """
    anchors = [f"{_anchor(section.title)}-{number}" for number, section in enumerate(sections)]
    links = "".join(
        f'<li><a href="#{anchor}">{as_html(section.title)}</a></li>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    body = [f"<h1>{as_html(title)}</h1>"]
    body += [f'<p class="lead">{as_html(text)}</p>' for text in lead]
    body.append(f'<nav aria-label="sections"><ul>{links}</ul></nav>')
    for anchor, section in zip(anchors, sections, strict=True):
        body.append(f'<h2 id="{anchor}">{as_html(section.title)}</h2>')
        body += [_html(part) for part in section.parts]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{as_html(title)}</title><style>{_style()}</style>"
    )
    inside = "\n".join(body)
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><main>\n{inside}\n'
        "</main></body></html>\n"
    )


def _html(part: Part) -> str:
    if isinstance(part, str):
        return f"<p>{as_html(part)}</p>"
    if isinstance(part, Folded):
        inside = "\n".join(map(_html, part.parts))
        return f"<details><summary>{as_html(part.title)}</summary>\n{inside}</details>"
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Code):
        lines = "\n".join(map(as_html, part.text.splitlines()))
        return f"<pre>{lines}</pre>"
    if isinstance(part, Figure):
        return part.chart.figure(part.names)
    return f'<div class="row">{"".join(map(_html, part))}</div>'


def _table(table: Table) -> str:
    def line(kind: str, cells: Sequence[str]) -> str:
        marks = [' class="text"' if i < table.texts else "" for i in range(len(cells))]
        kinds = [kind] * len(cells)
        if kind == "td" and table.texts and cells:
            kinds[0] = "th"
        scopes = [
            "" if k == "td" else f' scope="{"row" if kind == "td" else "col"}"' for k in kinds
        ]
        inside = (
            f"<{k}{scope}{mark}>{as_html(cell)}</{k}>"
            for k, scope, mark, cell in zip(kinds, scopes, marks, cells, strict=True)
        )
        return f"<tr>{''.join(inside)}</tr>"

    rows = "\n".join(line("td", row) for row in table.rows)
    note = f'<p class="note">{as_html(table.note)}</p>' if table.note else ""
    caption = f"<caption>{as_html(table.title)}</caption>" if table.title else ""
    head = f"<thead>{line('th', table.columns)}</thead>"
    return f'<div class="scroll"><table>{caption}{head}\n<tbody>{rows}</tbody></table></div>{note}'


def _style() -> str:
    style = _STYLE
    for mode, colours in _COLOURS.items():
        variables = " ".join(f"--c{i}: {colour};" for i, colour in enumerate(colours))
        style = style.replace(mode.upper(), variables)
    series = (
        f".line.s{i}, .hollow.s{i} {{ stroke: var(--c{i}) }} "
        f".mark.s{i}, .bar.s{i}, .band.s{i}, .cell.s{i} {{ fill: var(--c{i}) }}"
        for i in range(len(_COLOURS["light"]))
    )
    return style + "\n".join(series)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
