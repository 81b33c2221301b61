"""Adaptive Task Transfer: Measure → Select → Regulate, for any torch module.

Shapes: T tasks, E shared experts that are measured each on their own (1: all as one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recsys_mtl.adatt.measures import Measure, Observation
from recsys_mtl.adatt.prior import group_prior, prior_blend
from recsys_mtl.adatt.schedule import Clock, Phase, Schedule
from recsys_mtl.adatt.settings import Settings
from recsys_mtl.adatt.transfer import gradient_coefficients, transferred
from recsys_mtl.adatt.weights import blocked_peers, only_present, transfer_weights


class AdaTT(nn.Module):
    """Adaptive Task Transfer over T task losses (not AdaTT of Li et al., KDD 2023).

    In the training loop::

        adatt.start_epoch(epoch)  # every epoch, also after a resume
        if adatt.due():  # every step
            adatt.observe(Observation(...))
        losses = adatt.losses(losses, present)  # or: adatt.coefficients(present)

    `state_dict` holds all state, and the phase follows from it. W belongs in the optimizer
    without weight decay; with several processes its gradient has to be averaged over them.

    Args:
        tasks: T names.
        measure: of affinity; its T must be this one.
        schedule: the phases.
        prior: (T, T) P; None: all peers alike.
        settings: how much is transferred.

    Raises:
        ValueError: the measure or the prior is of another T.
    """

    prior: Tensor
    share: Tensor
    frozen_weights: Tensor
    clamped: Tensor
    terms: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        measure: Measure,
        schedule: Schedule,
        *,
        prior: Tensor | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.measure = measure
        self.schedule = schedule
        self.settings = Settings() if settings is None else settings
        prior = group_prior(self.tasks, {}) if prior is None else prior.detach().float().clone()
        size, square = len(self.tasks), (len(self.tasks), len(self.tasks))
        for name, shape in (("measure", measure.latest.shape[1:]), ("prior", prior.shape)):
            if tuple(shape) != square:
                raise ValueError(f"{name}: expected {size} tasks, found shape {tuple(shape)}")
        self.W = nn.Parameter(torch.zeros(square), requires_grad=self.settings.learn_weights)
        self.clock = Clock()
        self.register_buffer("prior", prior)
        # Phase and r as separate state: else a compiled `losses` is compiled anew every epoch.
        self._phase = self.schedule.phase(0)
        self.register_buffer("share", torch.tensor(self.blend))
        self.register_load_state_dict_post_hook(_resume)  # type: ignore[no-untyped-call]
        self.register_buffer("frozen_weights", torch.zeros_like(measure.latest))
        self.register_buffer("clamped", torch.tensor(0))
        self.register_buffer("terms", torch.tensor(0))

    @property
    def phase(self) -> Phase:
        """The phase of the current epoch."""
        return self._phase

    @property
    def frozen(self) -> bool:
        """Whether the weights are fixed; the caller may freeze gates with them."""
        return self.phase is Phase.FROZEN

    @property
    def blend(self) -> float:
        """The prior's share r."""
        return prior_blend(
            self.clock.get("epoch"),
            warmup=self.schedule.warmup_epochs,
            freeze=self.schedule.freeze_epoch,
            start=self.settings.blend_start,
            end=self.settings.blend_end,
        )

    def start_epoch(self, epoch: int) -> None:
        """Sets the phase; on the first frozen epoch fixes the weights."""
        if epoch != self.clock.get("epoch"):
            self.clamped.zero_()
            self.terms.zero_()
        self.clock.set("epoch", epoch)
        self._phase = self.schedule.phase(epoch)
        self.share.fill_(self.blend)
        if not self.frozen:
            self.clock.set("frozen_since", -1)
        elif self.clock.get("frozen_since") < 0:
            self.frozen_weights.copy_(self._selected().detach())
            self.clock.set("frozen_since", epoch)

    def due(self) -> bool:
        """Whether to measure in this step; call it once a step, as it counts them."""
        steps = self.clock.get("steps")
        self.clock.set("steps", steps + 1)
        return not self.frozen and steps % self.settings.interval == 0

    def observe(self, observation: Observation) -> bool:
        """Measures; False where nothing was measured: frozen, or numbers that are not finite."""
        return not self.frozen and self.measure.observe(observation)

    def weights(self, present: Tensor | None = None) -> Tensor:
        """(E, T, T) transfer weights, row i what i receives; in warm-up those that would act.

        In the dynamic phase they carry W's gradient; frozen, they are off the graph and fixed.

        Args:
            present: (T,) bool; None: all are.
        """
        weights = self.frozen_weights if self.frozen else self._selected()
        return weights if present is None else only_present(weights, present)

    def losses(self, losses: Tensor, present: Tensor) -> Tensor:
        """(T,) losses after weighting to (T,) enhanced ones; in warm-up the very same tensor.

        With an affinity for each expert, the mean of the experts' weights acts here.

        Args:
            losses: (T,), 0 where absent.
            present: (T,) bool.
        """
        terms = self.transferred(losses, present)
        return losses if terms is None else losses + terms

    def transferred(self, losses: Tensor, present: Tensor) -> Tensor | None:
        """(T,) what `losses` adds to each task's loss; None in the warm-up. Arguments as there."""
        if self.phase is Phase.WARMUP:
            return None
        weights = self.weights(present).mean(0)
        terms, clamped = transferred(
            losses, weights, strength=self.settings.strength, max_ratio=self.settings.max_ratio
        )
        self.clamped.add_(clamped.sum())
        self.terms.add_((weights.detach().sum(-1) > 0).sum())
        return terms

    def coefficients(self, present: Tensor) -> Tensor | None:
        """(E, T) factors of the task gradients on each expert, 1 where absent; None in warm-up.

        Off the graph and without `max_ratio`: W does not learn from them.
        """
        if self.phase is Phase.WARMUP:
            return None
        weights = self.weights(present).detach()
        return gradient_coefficients(weights, self.settings.strength)

    def detect_negative_transfer(self) -> dict[str, list[str]]:
        """The peers of each task that its affinity blocks; only tasks with any.

        With an affinity for each expert, their mean decides.
        """
        affinity = self.measure.affinity().mean(0)
        blocked = blocked_peers(affinity, self.settings.selection.threshold).tolist()
        return {
            task: [peer for peer, bad in zip(self.tasks, row, strict=True) if bad]
            for task, row in zip(self.tasks, blocked, strict=True)
            if any(row)
        }

    def diagnostics(self) -> dict[str, Any]:
        """Plain numbers: call it at the end of an epoch. Matrices are (E, T, T) nested lists.

        `clamped_share` is that of the transfer terms of this epoch that the bound cut.
        """
        return {
            "phase": self.phase.value,
            "epoch": self.clock.get("epoch"),
            "blend": self.blend,
            "affinity": self.measure.affinity().tolist(),
            "weights": self.weights().detach().tolist(),
            "learned": self.W.detach().tolist(),
            "clamped_share": int(self.clamped) / max(int(self.terms), 1),
            "observations": int(self.measure.observations),
            "skipped": int(self.measure.skipped),
            "negative_transfer": self.detect_negative_transfer(),
        }

    def _selected(self) -> Tensor:
        """(E, T, T) weights from the current affinity, before presence."""
        return transfer_weights(
            self.measure.affinity(),
            self.W,
            self.prior,
            blend=self.share,
            selection=self.settings.selection,
        )


def _resume(adatt: nn.Module, _: Any) -> None:
    """After `load_state_dict`: the phase follows the clock."""
    assert isinstance(adatt, AdaTT)
    adatt._phase = adatt.schedule.phase(adatt.clock.get("epoch"))
