from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from recsys_mtl.vision.backbones import SmallCNN
from recsys_mtl.vision.images import ImageTask
from recsys_mtl.vision.network import ImageNetwork
from recsys_mtl.vision.reproduction.scores import evaluate

CPU = torch.device("cpu")


class Split:
    """Random images, some without the label of the first task."""

    tasks = (ImageTask("smiles", 2), ImageTask("turn", 4), ImageTask("bald", 2))
    shape = (3, 8, 8)

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(2)
        self.images = torch.rand(count, *self.shape, generator=generator)
        drawn = [torch.randint(0, t.classes, (count,), generator=generator) for t in self.tasks]
        self.labels = torch.stack(drawn, 1)
        self.labels[::3, 0] = -1
        self.labels[:, 2] = 0

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self.images[indices], self.labels[indices]

    def fingerprint(self) -> str:
        return "split"


@pytest.fixture
def network() -> ImageNetwork:
    torch.manual_seed(7)
    return ImageNetwork(SmallCNN(3, 8, channels=(4,), width=6), Split.tasks)


def test_numbers_are_those_of_all_images_at_once(network: ImageNetwork) -> None:
    split = Split(1203)
    scores = evaluate(network, split, device=CPU)
    logits = network(split.images)
    losses, _ = network.task_losses(logits, split.labels)
    assert scores.losses == pytest.approx(losses.tolist(), rel=1e-5)
    assert torch.equal(scores.predicted, network.predictions(logits))
    right = (scores.predicted[:, 1] == split.labels[:, 1]).double().mean()
    assert scores.accuracy[1] == pytest.approx(float(right))
    known = split.labels[:, 0] >= 0
    expected = roc_auc_score(split.labels[known, 0], logits[0].squeeze(1)[known].detach())
    assert scores.auroc[0] == pytest.approx(expected)
    right = (scores.predicted[known, 0] == split.labels[known, 0]).double().mean()
    assert scores.accuracy[0] == pytest.approx(float(right))


def test_areas_are_undefined_for_several_or_single_classes(network: ImageNetwork) -> None:
    assert np.isnan(evaluate(network, Split(50), device=CPU).auroc[1:]).all()


@pytest.mark.parametrize("training", [True, False])
def test_chosen_rows_are_measured_and_the_mode_stays(network: ImageNetwork, training: bool) -> None:
    network.train(training)
    rows = torch.tensor([4, 1, 9])
    scores = evaluate(network, Split(20), device=CPU, rows=rows)
    everything = evaluate(network, Split(20), device=CPU)
    assert torch.equal(scores.predicted, everything.predicted[rows])
    assert network.training is training
