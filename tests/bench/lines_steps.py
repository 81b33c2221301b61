"""Lines of the bench about a step: adaTT, architectures, sequences, combiners."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import combiners_table
import workers


def adatt(asked: Namespace) -> dict[str, Any]:
    """Steps with and without adaTT, of sixteen tasks."""
    result: dict[str, Any] = workers.worker(
        "adatt.py", str(workers.rows(asked.rows, tasks=16)), str(asked.rounds)
    )
    print(
        f"\nadaTT, median of {asked.rounds} rounds of 10 steps of 4,096 rows, {workers.machine()}"
    )
    for name, numbers in result.items():
        ratio = numbers["ratio"]
        print(
            f"  {name:35} {1000 * numbers['seconds']:6.0f} ms a step   {ratio:.2f} x plain   "
            f"{1 / ratio:.3f} of its rows/s"
        )
    return result


def architectures(asked: Namespace) -> dict[str, Any]:
    """Steps of every architecture with experts of one width, of sixteen tasks."""
    path = str(workers.rows(asked.rows, tasks=16))
    result: dict[str, Any] = workers.worker("architectures.py", path, str(asked.rounds), threads=1)
    print(
        f"\narchitectures, one thread, median of {asked.rounds} rounds of 3 steps, "
        f"{workers.machine()}"
    )
    for name, numbers in result.items():
        ratio = f"{numbers['ratio']:.2f} x one shared bottom"
        print(f"  {name:15} {1000 * numbers['seconds']:6.0f} ms a step   {ratio}")
    return result


def sequences(asked: Namespace) -> dict[str, Any]:
    """Steps with a history of up to 50 entries, by encoder; one thread."""
    path = str(workers.rows(asked.rows, tasks=16))
    result: dict[str, Any] = workers.worker(
        "sequences.py", path, str(asked.rounds), asked.precision, threads=1
    )
    print(
        f"\nhistory of 0 to 50 entries beside 26 ids and 13 numbers, {asked.precision}, "
        f"one thread, median of {asked.rounds} rounds of 5 steps of 2,048 rows, {workers.machine()}"
    )
    for name, numbers in result.items():
        print(
            f"  {name:35} {1000 * numbers['seconds']:6.0f} ms a step   "
            f"{numbers['ratio']:.2f} x list, mean"
        )
    return result


def combiners(asked: Namespace) -> dict[str, Any]:
    """Steps that combine sixteen tasks' gradients, ours beside torchjd's; one thread each."""
    path = str(workers.rows(asked.rows, tasks=16))
    sizes, precision = asked.batch_sizes, asked.precision

    def ask(what: str, size: int, *rest: str) -> dict[str, Any]:
        return workers.worker("combiners.py", what, path, str(size), precision, *rest, threads=1)

    results: dict[str, Any] = {"rows": asked.rows, "precision": precision}
    results["agree"] = ask("agree", min(256, *sizes))
    print(
        f"\ncombiners, {precision}, one thread, median of {asked.rounds} rounds, "
        f"{workers.machine()}"
    )
    print(combiners_table.agreement(results["agree"]))
    for size in sizes:
        results[str(size)] = ask("steps", size, str(asked.rounds))
        print(f"\n{combiners_table.steps(size, results[str(size)])}", flush=True)
    small, large = min(sizes), max(sizes)
    results["ways"] = ask("ways", small, str(asked.rounds))
    print(f"\n{combiners_table.ways(small, results['ways'])}", flush=True)
    results["cosines"] = ask("cosines", small, "20")
    print(f"\n{combiners_table.cosines(small, results['cosines'])}", flush=True)
    results["passes"] = {name: ask("passes", large, name) for name in combiners_table.CAGT}
    print(f"\n{combiners_table.passes(large, results['passes'])}", flush=True)
    results["peak_mib"] = {
        name: ask("memory", large, *combiners_table.method_and_way(name))["mib"]
        for name in results[str(large)]
    }
    print(f"\n{combiners_table.memory(large, results['peak_mib'])}", flush=True)
    return results
