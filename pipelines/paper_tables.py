"""The tables of the CAGT paper, its methods trained anew, the published numbers next to ours.

    python pipelines/paper_tables.py --data DIR                       # both data sets
    python pipelines/paper_tables.py --paper rot-mnist --set reruns=1     # one of them, in short

`rot-mnist` needs MNIST in DIR (without it scikit-learn's digits are used, and the report names
them), `celeba` needs CelebA there. The report has the tables of losses, accuracies, areas, steps
and options, and whether the paper's order of methods holds; `reproductions/NAME/report.html` has
the pictures. The same command resumes after the finished runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from recsys_mtl.cli.command import show_page
from recsys_mtl.cli.script import run_script
from recsys_mtl.vision.reproduction.load import load_reproduction
from recsys_mtl.vision.reproduction.reproduce import reproduce

PAPERS = ("rot-mnist", "celeba")


def paper_tables(
    data: Annotated[Path | None, typer.Option(help="else $RECSYS_MTL_DATA")] = None,
    paper: Annotated[list[str] | None, typer.Option(help="rot-mnist or celeba; repeat")] = None,
    chosen: Annotated[list[str] | None, typer.Option("--set", help="K=V of the plans")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="runs trained at a time")] = None,
    out: Annotated[Path, typer.Option(help="folder of the reports")] = Path("reproductions"),
) -> None:
    """Train the papers' methods and print their tables."""
    plans = {name: load_reproduction(name, chosen or ()) for name in paper or PAPERS}
    for name, plan in plans.items():
        reproduce(plan, out / name, data=data, processes=processes, show=show_page)


if __name__ == "__main__":
    sys.exit(run_script(paper_tables))
