"""Import the installed packages in a separate process, as an import may crash."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_SECONDS = 300
# Each line is sent at once, so the parent has the last attempt when the process dies.
_CODE = """
import gc, importlib, json, sys
gc.disable()  # the objects of an import are not freed
for name in sys.argv[1:]:
    print(json.dumps({"trying": name}), flush=True)
    try:
        module = importlib.import_module(name)
    except BaseException as error:
        lines = f"{type(error).__name__}: {error}".strip().splitlines()
        print(json.dumps({"failed": name, "message": lines[-1]}), flush=True)
        if name == "torch":
            break
    else:
        if name == "torch":
            count = module.cuda.device_count()
            gpus = [module.cuda.get_device_properties(i) for i in range(count)]
            print(json.dumps({"devices": {
                "cuda": [f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in gpus],
                "mps": module.backends.mps.is_available(),
            }}), flush=True)
gc.freeze()  # nor is there anything to collect at the end
"""


@dataclass
class Imports:
    """The results of importing.

    Attributes:
        failures: modules that do not import, with the last line of the attempt's output.
        devices: that torch detects: `cuda`, a text a GPU, and `mps`; empty without torch.
    """

    failures: dict[str, str] = field(default_factory=dict)
    devices: dict[str, Any] = field(default_factory=dict)


def try_imports(modules: Sequence[str]) -> Imports:
    """Import modules in turn; after a crash, or where torch fails, the rest is not tried."""
    command = [sys.executable, "-P", "-c", _CODE, *modules]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        output, errors, code = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        output, errors, code = _text(late.stdout), "", None
    imports, tried = Imports(), ""
    for line in output.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue  # some module printed it
        tried = message.get("trying", tried)
        if "failed" in message:
            imports.failures[message["failed"]] = message["message"]
        imports.devices |= message.get("devices", {})
    if code is None:
        imports.failures[tried] = f"no answer in {_SECONDS} s"
    elif code:
        said = errors.strip().splitlines()
        imports.failures[tried] = said[-1] if said else f"exit code {code}"
    return imports


def _text(output: bytes | str | None) -> str:
    return output.decode() if isinstance(output, bytes) else output or ""
