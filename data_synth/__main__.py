"""`python -m data_synth --rows N --seed S --out DIR` writes DIR/demo.parquet."""

from __future__ import annotations

import argparse
from pathlib import Path

from data_synth.generate import write


def main() -> None:
    """Read the options, write the file."""
    parser = argparse.ArgumentParser(prog="data_synth", description=__doc__)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for demo.parquet")
    chosen = parser.parse_args()
    if chosen.rows < 1 or chosen.seed < 0:
        parser.error("--rows must be 1 or more and --seed 0 or more")
    write(chosen.out, rows_total=chosen.rows, seed=chosen.seed)


if __name__ == "__main__":
    main()
