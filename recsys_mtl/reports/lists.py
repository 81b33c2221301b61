"""A page as Markdown without tables, for readers that set them badly, such as MLflow's pages."""

from __future__ import annotations

from recsys_mtl.reports.page import Page, Picture, Table
from recsys_mtl.text import as_markdown


def as_lists(page: Page) -> str:
    """Markdown in which each table is a list, an item a row; pictures are left out."""
    parts = [f"# {as_markdown(page.title)}"]
    for part in page.parts:
        if isinstance(part, str):
            parts.append(as_markdown(part))
        elif not isinstance(part, Picture):
            parts += [f"## {as_markdown(part.title)}", _list(part)]
            parts += [as_markdown(part.note)] if part.note else []
    return "\n\n".join(parts) + "\n"


def _list(table: Table) -> str:
    return "\n".join(f"- {_item(table, list(map(as_markdown, row)))}" for row in table.rows)


def _item(table: Table, cells: list[str]) -> str:
    """What the row is about in bold, then its other cells with the names of their columns."""
    if len(cells) == 1:
        return cells[0]
    heads = 2 if table.texts == 2 < len(cells) else 1
    head = f"**{' '.join(cells[:heads])}**"
    if len(cells) == 2:
        return f"{head}: {cells[1]}"
    named = zip(map(as_markdown, table.columns[heads:]), cells[heads:], strict=True)
    return f"{head}: {', '.join(f'{name} {cell}' for name, cell in named if cell)}"
