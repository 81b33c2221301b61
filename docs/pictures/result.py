"""The picture of a study against boosting, light and dark, from the numbers of its folder.

    python pipelines/against_boosting.py --data OUT --tables configs/kuairand.yaml --seeds 5 \
      --arms-from configs/tables/arms/kuairand.yaml --arms default,lightgbm,stem --out study
    python docs/pictures/result.py study    # writes docs/pictures/result.svg

OUT holds the rows of pipelines/kuairand.py. The numbers are the study's, no others.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from recsys_mtl.reports.svg import forest

ARM = "stem"
STYLE = """<style>
svg { --back: #ffffff; --text: #1a1a1a; --soft: #595959; --rule: #d5d5d5; --c0: #d55e00;
  --c1: #0072b2 }
@media (prefers-color-scheme: dark) { svg { --back: #16181b; --text: #ececec; --soft: #b3b3b3;
  --rule: #3d4147; --c0: #f0904c; --c1: #56b4e9 } }
text { fill: var(--text); font: 12px system-ui, sans-serif }
.head { font-size: 14px; font-weight: 600 }
.back { fill: var(--back) } .grid { stroke: var(--rule); stroke-width: .7 }
.guide { stroke: var(--soft); stroke-dasharray: 4 3 } .line { fill: none; stroke-width: 2 }
.line.s0 { stroke: var(--c0) } .line.s1 { stroke: var(--c1) }
.mark.s0 { fill: var(--c0) } .mark.s1 { fill: var(--c1) }
</style>"""
HEAD = 36


def picture(study: Path) -> str:
    """A forest plot of the arm's lead over LightGBM, a row a task, as an SVG that stands alone."""
    summary = json.loads((study / "result.json").read_text())["summary"]
    table, tasks = next(iter(summary["tasks"].items()))
    assert {task["rival"] for task in tasks.values()} == {"lightgbm"}
    leads = {f"mean of {len(tasks)} tasks": summary["tables"][table][ARM]["points"]}
    leads |= {name.replace("_", " "): task["arms"][ARM]["points"] for name, task in tasks.items()}
    rows = [(name, lead["mean"], lead["low"], lead["high"]) for name, lead in leads.items()]
    title = f"One network ({ARM}) against a LightGBM for each task"
    text = f"Points ahead, with 95 % intervals over {len(summary['seeds'])} seeds."
    label = "points ahead (AUC or rank correlation × 100)"
    chart = forest(title, text, rows, label=label, reference=0.0)
    size = f'width="{chart.width}" height="{chart.height + HEAD}"'
    inside = chart.svg().split(">", 1)[1]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" '
        f'viewBox="0 {-HEAD} {chart.width} {chart.height + HEAD}" aria-label="{title}">{STYLE}'
        f'<rect class="back" x="0" y="{-HEAD}" width="100%" height="100%" rx="8"/>'
        f'<text class="head" x="14" y="-13">{title}</text>{inside}\n'
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(picture(Path(sys.argv[1])))
