from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from recsys_mtl.reports.page import Page, Picture, Table
from recsys_mtl.text import as_html, as_markdown, one_line
from tests.nasty import NASTY

TABLE = Table("Rates", ("task", "rate"), [["click | cart", "0.1"], ["<b>", "0.2"]], note="of rows")


@pytest.fixture
def page() -> Page:
    figure = Figure()
    figure.subplots().plot([0, 1])
    return Page("A <page>", ["Some text & more.", TABLE, Picture("A plot", "plot", figure)])


def test_the_terminal_gets_text_and_tables(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    page.show()
    printed = capsys.readouterr().out
    for text in ("A <page>", "Some text & more.", "Rates", "click | cart", "0.2", "of rows"):
        assert text in printed
    assert "A plot" not in printed


def test_a_dense_table_has_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Page("t", [Table("T", ("a", "b"), [["x", "1"]], dense=True)]).show()
    printed = capsys.readouterr().out
    assert "┃" not in printed
    assert "x 1" in printed


def test_html_holds_everything_and_escapes_it(page: Page, tmp_path: Path) -> None:
    paths = page.write(tmp_path, "report")
    assert [path.name for path in paths] == ["plot.png", "report.html"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    html = paths[1].read_text()
    assert "<title>A &lt;page&gt;</title>" in html
    assert "Some text &amp; more." in html
    assert '<td class="text">&lt;b&gt;</td><td>0.2</td>' in html
    assert html.count("data:image/png;base64,") == 1
    assert "plot.png" not in html


def test_markdown_links_to_the_pictures(page: Page, tmp_path: Path) -> None:
    paths = page.write(tmp_path, "report", markdown=True)
    text = paths[-1].read_text()
    assert paths[-1].name == "report.md"
    assert text == page.markdown()
    assert text.startswith("# A &lt;page>\n\nSome text & more.\n\n## Rates\n\n| task | rate |\n")
    assert "| --- | ---: |\n| click \\| cart | 0.1 |\n" in text
    assert text.endswith("of rows\n\n## A plot\n\n![A plot](plot.png)\n")


def test_text_of_users_is_text_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in NASTY:
        page = Page(text, [text, Table(text, (text, "n"), [[text, "1"]], note=text)])
        page.show()
        assert capsys.readouterr().out.count(one_line(text).strip()) >= 5
        _, markdown = page.write(tmp_path, "page", markdown=True)
        assert markdown.read_text().count(as_markdown(text)) >= 5
        assert (tmp_path / "page.html").read_text().count(as_html(text)) >= 6
