"""Names and values that some form of output takes for more than text."""

from __future__ import annotations

NASTY = (
    "[/b]x", "[bold red]y", "[link=http://a.b]z[/link]", ":smile:", "<script>alert(1)</script>",
    "<!-- gone", "<?php", "&lt;b&gt;", "&#65;", "a | b", "a\\|b", "back\\slash\\", "`tick`", "``",
    "$\\frac{x$", "**bold**", "* item", "_under_", "__x", "a_b", "~~s~~", "![i](http://x/y.png)",
    "[a]: http://x", "[a][b]", "<http://x>", "# head", "#", "-", "- x", "---", "+ x", "> quote",
    "1. one", "2) two", "===", "new\nline", "car\rriage", "esc\x1b[31mred", "bell\x07", "tab\there",
    "\u202ertl", "line\u2028end", "  pad  ", "名前", "e\u0301", "é", "👨‍👩‍👧", "'q'", '"dq"',
    "{brace}", "%s %d", "a=b,c", "x/y", "..",
)  # fmt: skip
