"""A night in production: train, register, promote through the gate, score, watch for drift.

    python pipelines/nightly.py visits.yaml --model shop --rows data/today --out nights

Meant for cron or Airflow. Each night has a folder, `nights/2026-11-26`: `run/` is the training,
`promotion/` the gate's report, `scores/` the champion's predictions, `_scores/` their drift.html,
`steps.json` what each step gave. One line a step is printed; details are logged on stderr. The same
command on the same day resumes after the finished steps, and a scoring after its finished parts.

With `--warm` the training starts from the champion's weights (`training.warm_start`): yesterday's
model learns today's rows. Its test rows are then today's, which the champion has not seen, but the
gate cannot know that: `--labelled` names rows that neither was trained on.

Exit codes: 0 the new model is the champion and has scored; 2 wrong input, or a server that is
away; 3 the gate rejected the new model, and the champion has scored; 4 scored, but the rows have
drifted, whatever the gate said; 130 interrupted.
"""

from __future__ import annotations

import json
import math
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys_mtl.cli.script import Steps, run_script
from recsys_mtl.cli.status import DONE, REJECTED
from recsys_mtl.config import Config, config_hash, load_config
from recsys_mtl.data.files import find_files
from recsys_mtl.errors import relocated, wrong
from recsys_mtl.lifecycle.gate import Gate, load_gate
from recsys_mtl.lifecycle.promote import Request, promote
from recsys_mtl.lifecycle.register import register
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.runs.train import train
from recsys_mtl.scoring.folder import notes_folder
from recsys_mtl.scoring.model import find_model
from recsys_mtl.scoring.predict import predict
from recsys_mtl.tracking.mlflow_store import may_exist
from recsys_mtl.tracking.registry import CHAMPION, Registry
from recsys_mtl.tracking.version import require_name

DRIFTED = 4


def nightly(
    config: Annotated[Path, typer.Argument(help="the training's YAML file")],
    model: Annotated[str, typer.Option(help="registered model, created where it is new")],
    rows: Annotated[str, typer.Option(help="rows to score: file, folder or glob")],
    chosen: Annotated[list[str] | None, typer.Option("--set", help="K=V: override CONFIG")] = None,
    gate: Annotated[Path | None, typer.Option(help="its rules, as configs/gate.yaml")] = None,
    labelled: Annotated[str | None, typer.Option(help="rows for the gate; else test rows")] = None,
    warm: Annotated[bool, typer.Option(help="start from the champion, if there is one")] = False,
    drift: Annotated[float, typer.Option(help="alarm above this PSI of a feature or score")] = 0.25,
    out: Annotated[Path, typer.Option(help="folder of the nights")] = Path("nights"),
    night: Annotated[str, typer.Option(help="this one's name; else today's date")] = "",
) -> int:
    """Train, register, promote and score; exit code 3: rejected, 4: the rows have drifted."""
    loaded, rules = load_config(config, chosen or ()), load_gate(gate)
    folder = out / (night or str(date.today()))
    asked = {
        "model": model, "config": config_hash(loaded), "rows": rows, "gate": rules.model_dump(),
        "labelled": labelled, "warm": warm, "drift": drift,
    }  # fmt: skip
    steps = Steps(folder, asked)

    def trained() -> dict[str, Any]:
        _check(loaded, model, rows, labelled, drift)
        words = [*(chosen or ()), *(_from_champion(loaded.tracking.uri, model) if warm else ())]
        return _train(load_config(config, words), folder / "run")

    run_id = steps.do("train", trained)["run_id"]
    registry = Registry(loaded.tracking.uri)
    version = steps.do("register", lambda: _register(registry, model, folder / "run", run_id))
    request = Request(model, str(version["number"]), input=labelled)
    promoted = steps.do("promote", lambda: _promote(registry, rules, request, folder))
    champion = f"models:/{model}/{promoted['champion']}"
    scored = steps.do("score", lambda: _score(registry, champion, rows, folder / "scores", drift))
    if scored["drifted"]:
        return DRIFTED
    return DONE if promoted["passed"] else REJECTED


def _check(config: Config, model: str, rows: str, labelled: str | None, drift: float) -> None:
    """What a later step would refuse, before the training."""
    with relocated(lambda _: "--model"):
        require_name(model)
    if math.isnan(drift):
        raise wrong("no PSI", where="--drift", expected="a number", found="nan")
    if not config.tracking.enabled:
        raise wrong("a night's training is registered", where="tracking.enabled", expected="true")
    find_files(rows, root=Path.cwd(), fmt="auto", where="--rows")
    if labelled is not None:
        find_files(labelled, root=Path.cwd(), fmt=config.data.format, where="--labelled")


def _from_champion(uri: str | None, model: str) -> list[str]:
    """The override that starts from the champion; none before the first one."""
    if not may_exist(uri):
        return []
    registry = Registry(uri)
    champion = registry.alias(model, CHAMPION) if model in registry.names() else None
    if champion is None:
        return []
    return [f"training.warm_start.model=models:/{model}/{champion.number}"]


def _train(config: Config, out: Path) -> dict[str, Any]:
    result = train(config, out)
    if result["interrupted"]:
        raise KeyboardInterrupt
    count, seconds = result["data"]["rows"]["train"], result["training"]["seconds"]
    return {"line": f"{count:,} rows in {seconds:.0f} s", "run_id": result["mlflow"]["run_id"]}


def _register(registry: Registry, model: str, run: Path, run_id: str) -> dict[str, Any]:
    known = registry.versions(model) if model in registry.names() else []
    number = next((v.number for v in known if v.run_id == run_id), None)  # by a killed call
    if number is None:
        number = register(str(run), name=model, tracking_uri=registry.uri).numbers["number"]
    return {"line": f"version {number} of {model}", "number": number}


def _promote(registry: Registry, gate: Gate, request: Request, folder: Path) -> dict[str, Any]:
    def tags() -> Any:
        return registry.resolve(f"{request.name}/{request.challenger}", where="night").tags

    def decided() -> bool:
        """By a killed call, which may not have come to the aliases: they are moved last."""
        champion, known = registry.alias(request.name, CHAMPION), tags()
        before = str(champion.number if champion else "none")
        word = known.get("decision")
        moved = bool(known.get("decision_against") != before)
        return word == "rejected" or (word == "promoted" and moved)

    if not decided():
        report = promote(registry, gate, request)
        report.page.write(prepare_out(folder / "promotion"), "report", markdown=True)
    champion = registry.alias(request.name, CHAMPION)
    return {
        "line": f"{tags()['decision']}: {tags()['decision_reason']}",
        "passed": tags()["decision"] == "promoted",
        "champion": None if champion is None else champion.number,
    }


def _score(registry: Registry, model: str, rows: str, out: Path, limit: float) -> dict[str, Any]:
    found = find_model(None, model=model, tracking_uri=registry.uri)
    count = predict(found, input=rows, output=out)["rows"]
    file = (
        notes_folder(out) / "drift.json"
    )  # not there where the model knows nothing of its training rows
    drifts = json.loads(file.read_text())["drift"] if file.exists() else []
    moved = [d for d in drifts if d["reading"] != "by chance" and (d["psi"] or 0) > limit]
    drifted = [f"{d['part']} {d['name']}" for d in moved]
    alarm = f"; drifted: {', '.join(drifted)}" if drifted else ""
    return {"line": f"{count:,} rows by {model}{alarm}", "drifted": drifted}


if __name__ == "__main__":
    sys.exit(run_script(nightly))
