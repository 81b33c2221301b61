"""`recsys-mtl doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recsys_mtl.cli.command import Command
from recsys_mtl.cli.options import Out
from recsys_mtl.cli.status import DONE, UNHEALTHY

if TYPE_CHECKING:
    from recsys_mtl.environment import Diagnosis


def doctor(out: Out = None) -> int:
    """Show versions, mismatches with their fix, and devices."""
    from recsys_mtl import environment

    command = Command("doctor", out)
    diagnosis = environment.diagnose()
    _show(diagnosis)
    command.write(diagnosis.numbers())
    return DONE if diagnosis.healthy else UNHEALTHY


def _show(diagnosis: Diagnosis) -> None:
    devices = diagnosis.devices
    for name, version in diagnosis.versions.items():
        print(f"{name:<16}{version or '-'}")
    print()
    for name, value in devices["cpu"].items():
        print(f"cpu {name:<12}{_word(value)}")
    print(f"{'cuda':<16}{'; '.join(devices.get('cuda', ())) or 'none'}")
    print(f"{'mps':<16}{'yes' if devices.get('mps') else 'none'}")
    print(f"{'embeddings':<16}auto takes {diagnosis.embeddings} for large tables")
    print(f"{'native kernels':<16}{diagnosis.kernels}")
    print()
    for trouble in diagnosis.troubles:
        kind = "could be better" if trouble.optional else "wrong"
        print(f"{kind}: {trouble.what}\n    fix: {trouble.mend}")
    print("healthy" if diagnosis.healthy else "not healthy")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)
