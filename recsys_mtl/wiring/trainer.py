"""From a config and its data to a trainer, for `train`, its baselines and ablations."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.config.check_adatt import kept_from_warmup
from recsys_mtl.config.features import CategoryConfigBase
from recsys_mtl.config.schema import Config
from recsys_mtl.config.sizes import require_memory
from recsys_mtl.config.tables import sections_of
from recsys_mtl.data.loader import Loader, generator
from recsys_mtl.data.prepare import Prepared
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.splits import SplitName
from recsys_mtl.data.unknown import UnknownDropout
from recsys_mtl.metrics import Undefined
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.model.device import (
    check_compile,
    check_precision,
    pick_device,
    warn_of_slow_precision,
)
from recsys_mtl.process_group import share_threads
from recsys_mtl.training import Epoch, Trainer, TrainingResult, Validation
from recsys_mtl.training.evaluate import Scores, mean_loss
from recsys_mtl.training.optim_state import optimizer_tensors
from recsys_mtl.training.skips import diverged
from recsys_mtl.wiring.device_rows import rows_for
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_evaluator, build_plan, build_step
from recsys_mtl.wiring.warm_start import Taken, start_from

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A trained network with the best epoch's weights, and its training result.

    Attributes:
        network: trained.
        result: of the training.
        device: it trained on.
        taken: what it took over from another model; None: nothing.
        optimizer: state after the last step, where `training.keep_optimizer` asks for it; like the
            network it has this process' rows of a sharded table, see `training.shards.on_first`.
    """

    network: MultiTaskNetwork
    result: TrainingResult
    device: torch.device
    taken: Taken | None = None
    optimizer: Mapping[str, Tensor] = field(default_factory=dict, repr=False)


class Recorder:
    """Follows a training from its first batch, or lets it begin in its middle.

    The base class does nothing.
    """

    taken: Taken | None = None

    @contextmanager
    def fitting(self, trainer: Trainer, taken: Taken | None) -> Iterator[None]:
        """Around `trainer.fit`; may load a state first.

        Args:
            trainer: not yet trained.
            taken: what it took over from another model.
        """
        yield

    def on_step(self) -> None:
        """A batch is done."""

    def on_epoch(self, epoch: Epoch) -> None:
        """An epoch is done."""


def fit_network(config: Config, prepared: Prepared, recorder: Recorder | None = None) -> Fitted:
    """Build the config's network and train it on the prepared data; see `build_trainer`.

    Args:
        config: the run.
        prepared: its data.
        recorder: follows the training; `taken` of one that resumes replaces the warm start.

    Raises:
        UserError: the network does not fit this machine, the device or precision is not available,
            or training diverges.
    """
    if config.training.recipe == "auto":
        raise ValueError("the recipe is open: train with `Prepared.config`")
    require_memory(config, processes=parallel.world(), local=parallel.local_world())
    warm, recorder = config.training.warm_start, recorder or Recorder()
    taken = recorder.taken
    if warm.model is not None and prepared.parent is None and taken is None:
        raise ValueError("the model to start from is not loaded: prepare the data with it")
    trainer = build_trainer(
        config,
        prepared.preprocessor,
        prepared.loaders,
        on_epoch=recorder.on_epoch,
        on_step=recorder.on_step,
    )
    if warm.model is not None and prepared.parent is not None:
        taken = start_from(prepared.parent, trainer.step, prepared.preprocessor, warm)
    with recorder.fitting(trainer, taken):
        result = trainer.fit()
    if kept_from_warmup(config, result.best_epoch):
        log.warning(
            "adatt: nothing was transferred: the weights that are kept, of epoch %d, are of the "
            "warm-up (adatt.warmup_epochs %d)", result.best_epoch + 1, config.adatt.warmup_epochs,
        )  # fmt: skip
    step = trainer.step
    parallel.together(lambda: _require_finite(step.network))  # a shard may be wrong in one alone
    optimizer = optimizer_tensors(step) if config.training.keep_optimizer else {}
    return Fitted(step.network, result, step.device, taken, optimizer)


def _require_finite(network: MultiTaskNetwork) -> None:
    """The weights of this process are numbers.

    Raises:
        UserError: they are not.
    """
    for name, weights in network.state_dict().items():
        if not weights.isfinite().all():
            raise diverged(f"the weights {name} are not finite")


def fit_and_test(config: Config, prepared: Prepared) -> tuple[Fitted, Scores]:
    """`fit_network`, then the scores of the best weights on the test rows.

    Raises:
        UserError: see `fit_network`.
        KeyboardInterrupt: Ctrl-C; an interrupted training has no result here.
    """
    fitted = fit_network(config, prepared)
    if fitted.result.stopped == "interrupted":
        raise KeyboardInterrupt
    evaluator = build_evaluator(config, prepared.preprocessor, precision="fp32")
    return fitted, evaluator(fitted.network, prepared.loaders["test"])


def build_trainer(
    config: Config,
    preprocessor: Preprocessor,
    loaders: Mapping[SplitName, Loader],
    *,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    on_step: Callable[[], None] = lambda: None,
) -> Trainer:
    """The trainer of a config, with an untrained network.

    The config's seed governs initialisation, dropout and the order of the rows: it is set here, as
    torch's global seed, so `fit` follows without other draws in between. Of several processes each
    has its own dropout.

    Args:
        config: the run.
        preprocessor: fitted.
        loaders: of the encoded rows, `train` and `valid`.
        on_epoch: called with every finished epoch.
        on_step: called after every batch.

    Raises:
        UserError: the device or precision is not available.
    """
    training = config.training
    device = pick_device(training.device)
    check_precision(training.precision, device)
    check_compile(training.compile, device)
    share_threads(training.threads)
    if parallel.rank() == 0:
        warn_of_slow_precision(training.precision, device)
    torch.manual_seed(config.seed)
    network = build_network(config, preprocessor.spec, device=device, sharded=True)
    step = build_step(config, network, device)
    if parallel.several():  # own dropout, after the same initialisation
        torch.manual_seed(generator(config.seed, parallel.rank()).initial_seed())
    evaluator = build_evaluator(config, preprocessor, precision=training.precision)

    def validate(epoch: int) -> Validation:
        scores = evaluator(network, loaders["valid"])
        score = parallel.broadcast(watched(config, scores))
        return Validation(score, scores.losses, scores.metrics, scores.gates)

    def report(epoch: Epoch) -> None:
        log.info(
            "epoch %d/%d: %.0f rows/s, validation %s %s",
            epoch.number + 1,
            training.epochs,
            epoch.rows_per_second,
            training.early_stopping.metric,
            "undefined" if epoch.score is None else f"{epoch.score:.5f}",
        )
        on_epoch(epoch)

    rows = rows_for(step.device, loaders["train"], config.data.rows_on)
    plan, train = build_plan(config), _training_rows(config, preprocessor, rows)
    return Trainer(step, train, validate, plan, on_epoch=report, on_step=on_step)


def _training_rows(config: Config, preprocessor: Preprocessor, loader: Loader) -> Loader:
    """The loader, with the dropout of rare categories that the config asks for."""
    rates, sections = {}, sections_of(config.features)
    for feature in preprocessor.features:
        alpha = config.model.embedding.unknown_dropout
        section = sections.get(feature.name)
        if isinstance(section, CategoryConfigBase) and section.unknown_dropout is not None:
            alpha = section.unknown_dropout
        of_rows = feature.unknown_rates(alpha) if alpha else None
        if of_rows is not None:
            rates[feature.name] = torch.from_numpy(of_rows)
    return UnknownDropout(loader, rates) if rates else loader


def watched(config: Config, scores: Scores) -> float | None:
    """The value that early stopping watches; None where it is undefined."""
    task, _, metric = config.training.early_stopping.metric.rpartition("/")
    if not task:
        loss = mean_loss(scores.losses, {name: t.weight for name, t in config.tasks.items()})
        return None if loss is None or math.isnan(loss) else loss
    value = scores.metrics[task][metric]
    return None if isinstance(value, Undefined) or math.isnan(value) else value
