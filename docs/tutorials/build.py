"""Executes the tutorials and writes their notebooks: `python docs/tutorials/build.py [NAME ...]`.

`--text NAME ...` keeps the outputs, where only text or the layout of the code has changed.

A tutorial is a Python file whose cells start with `# %%`; the text of a cell `# %% [markdown]` is
its comment. The notebook next to it is made by this command (`make docs` first),
with RECSYS_MTL_DATA as the tutorials say. Nothing is stored of the machine, the user or the time.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMES = sorted(
    path.stem for path in HERE.glob("*.py") if path.stem != "build"
)
MOST_BYTES = 500_000


def cells(source: str) -> Iterator[tuple[str, str]]:
    """(`markdown` or `code`, text) of each cell."""
    for cell in re.split(r"^# %%", source, flags=re.M)[1:]:
        head, _, text = cell.partition("\n")
        if "[markdown]" in head:
            yield (
                "markdown",
                re.sub(r"^# ?", "", text.strip(), flags=re.M),
            )
        else:
            yield "code", text.strip()


def workplace(folder: Path) -> Path:
    """A folder like this one, in which a tutorial may write."""
    work = folder / "docs" / "tutorials"
    work.mkdir(parents=True)
    for name in ("configs", "pipelines"):
        (folder / name).symlink_to(ROOT / name)
    return work


def build(name: str) -> None:
    """Execute a tutorial and write its notebook."""
    import nbformat
    from nbclient import NotebookClient

    book: Any = nbformat.v4.new_notebook()
    for number, (kind, text) in enumerate(
        cells((HERE / f"{name}.py").read_text())
    ):
        make = (
            nbformat.v4.new_markdown_cell
            if kind == "markdown"
            else nbformat.v4.new_code_cell
        )
        book.cells.append(make(text, id=f"{name}-{number}"))
    book.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    with tempfile.TemporaryDirectory() as folder:
        work = workplace(Path(folder))
        client = NotebookClient(
            book, timeout=None, kernel_name="python3", record_timing=False,
            resources={"metadata": {"path": str(work)}},
        )  # fmt: skip
        client.execute()
    book.metadata.language_info = {"name": "python"}
    text = nbformat.writes(book) + "\n"
    problems = [
        o["text"]
        for c in book.cells
        for o in c.get("outputs", ())
        if o.get("name") == "stderr"
    ]
    problems += [
        path
        for path in (str(ROOT), folder, str(Path.home()))
        if f"{path}/" in text
    ]
    if problems or len(text) > MOST_BYTES:
        sys.exit(
            f"{name}: {len(text)} bytes; warnings or paths in the outputs: {problems}"
        )
    (HERE / f"{name}.ipynb").write_text(text)
    print(f"{name}.ipynb: {len(book.cells)} cells, {len(text):,} bytes")


def parsed(code: str) -> str:
    """What a text of Python means, whatever its layout."""
    return ast.dump(ast.parse(code))


def reword(name: str) -> None:
    """Give a notebook the text of its source; its code has to be the same."""
    import nbformat

    path = HERE / f"{name}.ipynb"
    book: Any = nbformat.read(path, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    source = [*cells((HERE / f"{name}.py").read_text())]
    texts = [text for kind, text in source if kind == "code"]
    if [*map(parsed, texts)] != [parsed(cell.source) for cell in code]:
        sys.exit(f"{name}: its code has changed too: leave out --text")
    book.cells = [
        nbformat.v4.new_markdown_cell(text)
        if kind == "markdown"
        else code.pop(0)
        for kind, text in source
    ]
    for number, (cell, (_, text)) in enumerate(
        zip(book.cells, source, strict=True)
    ):
        cell.id, cell.source = f"{name}-{number}", text
    path.write_text(nbformat.writes(book) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "default")
    only_text, chosen = (
        "--text" in sys.argv,
        [name for name in sys.argv[1:] if name != "--text"],
    )
    for each in chosen or NAMES:
        (reword if only_text else build)(each)
