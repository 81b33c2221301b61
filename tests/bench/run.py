"""`make bench`: throughput beside a peer, preparing rows and the start of a training, native
kernels, memory, large tables, generator, adaTT, architectures, sequences, combiners, serving,
restart of a stream, threads, checkpoints, processes.

Every timed process runs alone, the contestants take turns, and what is printed are medians over the
rounds and the ratios of one round to the peer's process beside it. The peer, torch-rechub, is
installed into .bench for this and nothing else. Prints a table and writes .bench/result.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import lines_data
import lines_kernels
import lines_preparing
import lines_serving
import lines_steps
import lines_training
import workers

BENCHES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "throughput": lines_training.throughput,
    "preparing": lines_preparing.preparing,
    "start": lines_preparing.start,
    "kernels": lines_kernels.kernels,
    "memory": lines_data.memory,
    "tables": lines_data.tables,
    "synthesize": lines_data.synthesize,
    "adatt": lines_steps.adatt,
    "architectures": lines_steps.architectures,
    "sequences": lines_steps.sequences,
    "combiners": lines_steps.combiners,
    "serving": lines_serving.serving,
    "restart": lines_data.restart,
    "threads": lines_training.threads,
    "checkpoints": lines_training.checkpoints,
    "processes": lines_training.processes,
}
"""Each prints its lines and gives what result.json keeps of it."""


def main() -> None:
    """Run the asked benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="BENCH", help=f"some of {', '.join(BENCHES)}")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every contestant")
    parser.add_argument("--rows", type=int, default=131_072, help="rows of the throughput bench")
    parser.add_argument("--memory-rows", type=int, default=5_000_000, help="of a streamed training")
    parser.add_argument("--table-rows", type=int, default=5_000_000, help="of the tables' bench")
    parser.add_argument("--restart-rows", type=int, default=1_000_000, help="of a resumed stream")
    parser.add_argument("--synthetic-rows", type=int, default=10_000_000, help="to generate")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[1024, 4096], help="of the combiners' bench"
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        help="of sequences, combiners, threads",
    )
    parser.add_argument("--requests", type=int, default=200, help="of the serving bench")
    chosen = parser.parse_args()
    asked = chosen.only or BENCHES
    if unknown := set(asked) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    workers.WORK.mkdir(exist_ok=True)
    results: dict[str, Any] = {"machine": workers.machine()}
    for name, bench in BENCHES.items():
        if name in asked:
            results[name] = bench(chosen)
    (workers.WORK / "result.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
