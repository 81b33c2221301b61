"""The model card: what a model predicts, from what, how well, and where it must not be trusted.

Everything in it comes from the training's config and result.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from shlex import quote

import numpy as np

from recsys_mtl.config import Config
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.reports.results import boosting_note
from recsys_mtl.runs.measured import segment_table
from recsys_mtl.runs.trained import Trained
from recsys_mtl.tasks import kind_of

FEW_ROWS = 200  # labelled test rows below which a metric says little
_PAIRS = 5


def card(trained: Trained, config: Config, *, name: str, model_uri: str) -> Page:
    """The page of a trained model.

    Args:
        trained: the training.
        config: of its model folder.
        name: that it is registered under.
        model_uri: of the logged model.
    """
    result = trained.result
    summary = (
        f"A multi-task model ({config.model.architecture.name}) of {len(config.tasks)} tasks,"
        f" trained on {result['started'][:10]} on {result['device']} by recsys-mtl"
        f" {result['version']}; run {result['mlflow']['run_id']}, config {result['config_hash']},"
        f" seed {result['seed']}."
    )
    parts: list[str | Table] = [summary, _intended(trained, config), _limits(trained)]
    parts.append(_use(name, model_uri))
    parts += [_tasks(trained, config), _metrics(trained), _data(trained, config)]
    segments = segment_table(result["tasks"])
    parts += [] if segments is None else [segments]
    parts += [*_warm_start(trained), *_baselines(trained), *_relations(trained, list(config.tasks))]
    return Page(f"Model card: {name}", parts)


def shortened(text: str, length: int, pointer: str) -> str:
    """`text`, or as many of its lines as fit into `length` characters with the line `pointer`."""
    if len(text) <= length:
        return text
    end = text.rfind("\n", 0, length - len(pointer) - 2)
    return f"{text[: max(end, 0)].rstrip()}\n\n{pointer}"


def limits(trained: Trained) -> list[str]:
    """What speaks against trusting the model, one sentence each."""
    result = trained.result
    sentences = []
    if result["interrupted"]:
        sentences.append("The training was interrupted: the model is the best epoch until then.")
    if skipped := result["training"]["skipped_batches"]:
        sentences.append(f"{skipped} batches were skipped: not finite.")
    for task, facts in result["tasks"].items():
        if facts["labelled"] < FEW_ROWS:
            sentences.append(f"{task}: only {facts['labelled']} labelled test rows.")
        if reason := _useless(trained, task):
            sentences.append(f"{task}: no better than a constant ({reason}).")
    sentences += [f"Leakage warning: {text}" for text in result["data"]["warnings"]]
    sentences.append(f"One seed ({result['seed']}): how much another would change is not known.")
    return sentences


def _useless(trained: Trained, task: str) -> str | None:
    """Why the task's predictions are worth no more than a constant; None where they are."""
    kind = kind_of(trained.result["tasks"][task]["kind"])
    main = kind.main
    ours = trained.metric(task, main)
    constant = trained.result["baselines"].get("constant", {}).get(task, {}).get(main, {})
    level = constant.get("value")
    if ours is not None and level is not None and ours <= level:
        return f"{main} {ours:.4f}, the constant {level:.4f}"
    for metric in kind.section.metrics:
        value, limit = trained.metric(task, metric.name), metric.constant
        if value is None or limit is None:
            continue
        if value <= limit if metric.larger_is_better else value >= limit:
            return f"{metric.name} {value:.4f}"
    return None


def _intended(trained: Trained, config: Config) -> Table:
    """What the model is for, as far as the training knows."""
    kinds: dict[str, list[str]] = {}
    for task, section in config.tasks.items():
        kinds.setdefault(section.kind, []).append(task)
    rows = trained.result["data"]["rows"]
    split = config.data.split.kind
    sentences = [
        *(f"Predicts, for a row: {', '.join(tasks)} ({kind})." for kind, tasks in kinds.items()),
        f"For rows like the {rows['train']:,} that it was trained on, with the same columns, known "
        f"before the labels are; it was measured on {rows['test']:,} others (split: {split}).",
        "To rank, to estimate and to plan, with the intervals below in mind.",
        "Not for other populations or times without new labelled rows, and not to say what an "
        "action would cause: it knows what goes together.",
        "Not for decisions about people without a person's review, nor without a check by group: "
        "evaluation.segments measures it for each.",
    ]
    return Table("Intended use", ["use"], [[text] for text in sentences])


def _limits(trained: Trained) -> Table:
    return Table("Limits", ["limit"], [[text] for text in limits(trained)])


def _use(name: str, model_uri: str) -> Table:
    model = quote(f"models:/{name}/VERSION")
    rows = [
        ["load", f'mlflow.pyfunc.load_model("{model_uri}")'],
        ["serve", f"mlflow models serve --env-manager local -m {model_uri}"],
        ["score", f"recsys-mtl predict --model {model} --input ROWS --output OUT"],
    ]
    note = "VERSION is the number of this version; MLFLOW_TRACKING_URI names the server."
    return Table("Use", ["to", "command"], rows, texts=2, note=note)


def _tasks(trained: Trained, config: Config) -> Table:
    epoch = trained.result["training"]["epochs"][-1]
    rows = [
        [
            name,
            task.kind,
            task.sample_space,
            task.loss_name,
            f"{epoch['labelled'].get(name, 0):,}",
            f"{trained.result['tasks'][name]['labelled']:,}",
        ]
        for name, task in config.tasks.items()
    ]
    counts = ("labelled training rows", "labelled test rows")
    columns = ("task", "kind", "sample space", "loss", *counts)
    return Table("Tasks", columns, rows, texts=4)


def _metrics(trained: Trained) -> Table:
    rows = []
    for task, facts in trained.result["tasks"].items():
        for name in kind_of(facts["kind"]).section.shown(facts["metrics"]):
            entry = facts["metrics"].get(name, {})
            low, high = entry.get("low"), entry.get("high")
            interval = "" if low is None else f"{low:.4f} to {high:.4f}"
            rows.append([task, name, _number(entry.get("value")), interval])
    note = (
        "On the test rows; calibration_error is 0 where probabilities mean what they say. "
        "Intervals: of one metric a task and of those within lists, by the bootstrap over rows, or "
        "over lists where there are lists; other seeds are not in them."
    )
    columns = ["task", "metric", "value", "95 % interval"]
    return Table("Test metrics", columns, rows, texts=2, note=note)


def _data(trained: Trained, config: Config) -> Table:
    data = trained.result["data"]
    kinds = Counter(feature.kind for feature in config.features.values())
    rows = [[f"{split} rows", f"{count:,}"] for split, count in data["rows"].items()]
    rows += [[f"{kind} features", str(count)] for kind, count in sorted(kinds.items())]
    rows += [["split", config.data.split.kind], ["fingerprint", data["fingerprint"]]]
    rows.append(["leakage warnings", str(len(data["warnings"]))])
    return Table("Data", ["fact", "value"], rows, texts=2)


def _warm_start(trained: Trained) -> Iterator[Table]:
    """The model that the training started from."""
    facts = trained.result.get("warm_start")
    if facts is None:
        return
    keys = ("model", "version", "run_id", "fingerprint", "bundle_sha256", "optimizer")
    rows = [[key, str(facts[key])] for key in keys if facts.get(key) is not None]
    for name, counts in facts["tables"].items():
        text = ", ".join(f"{count:,} {word}" for word, count in counts.items())
        rows.append([f"table {name}", text])
    note = "Its data have shaped this model too: rows of them do not tell how good it is."
    yield Table("Warm start", ["fact", "value"], rows, texts=2, note=note)


def _baselines(trained: Trained) -> Iterator[Table]:
    baselines = trained.result["baselines"]
    if not baselines:
        return
    rows = []
    for task, facts in trained.result["tasks"].items():
        main = kind_of(facts["kind"]).main
        others = [by.get(task, {}).get(main, {}).get("value") for by in baselines.values()]
        rows.append([task, main, _number(trained.metric(task, main)), *map(_number, others)])
    columns = ["task", "metric", "model", *(name.replace("_", " ") for name in baselines)]
    note = boosting_note(trained.result.get("boosting", {}))
    yield Table("Baselines", columns, rows, texts=2, note=note)


def _relations(trained: Trained, tasks: Sequence[str]) -> Iterator[Table]:
    """How the tasks related in the last epoch, where that was measured."""
    epoch = trained.result["training"]["epochs"][-1]
    if epoch.get("adatt"):
        affinity = np.nanmean(np.asarray(epoch["adatt"]["affinity"], np.float64), axis=0)
        blocked = epoch["adatt"]["negative_transfer"]
        texts = [f"{task} blocks {', '.join(peers)}" for task, peers in blocked.items()]
        borrowed = epoch["adatt"].get("borrowed", {})
        texts += [f"{task} borrowed from {', '.join(lent)}" for task, lent in borrowed.items()]
        yield _pairs("Affinity of tasks", "affinity", affinity, tasks, "; ".join(texts))
    if conflicts := epoch.get("conflicts"):
        cosine = np.asarray(conflicts["pair_cosine"], np.float64)
        ratios = [share for share in conflicts["conflict_ratio"].values() if share is not None]
        note = f"{np.mean(ratios):.0%} of the pairs' gradients conflicted." if ratios else ""
        yield _pairs("Gradients of tasks", "cosine", cosine, tasks, note)


def _pairs(title: str, name: str, matrix: np.ndarray, tasks: Sequence[str], note: str) -> Table:
    """The pairs of most and of least agreement in a (T, T) matrix, both ways averaged."""
    mean = (matrix + matrix.T) / 2
    pairs = [(float(mean[i, j]), i, j) for i, j in combinations(range(len(tasks)), 2)]
    known = sorted((p for p in pairs if np.isfinite(p[0])), key=lambda pair: -pair[0])
    worst = [pair for pair in known[_PAIRS:][-_PAIRS:] if pair[0] < 0]
    rows = [[tasks[i], tasks[j], f"{value:.3f}"] for value, i, j in known[:_PAIRS] + worst]
    return Table(f"{title}, last epoch", ["task", "with", name], rows, texts=2, note=note)


def _number(value: float | None) -> str:
    return number(value, missing="undefined")
