"""What a task's label is, given its score: drawn, predicted by an oracle, and measured.

A score f has mean 0 and variance 1 over all rows; the true linear predictor eta (a logit where the
label is binary) is an affine function of it. Every target has

    kind, grid      the trainer's name of the kind; the grid that its scores are counted on
    fit(counts, …)  the target whose labels have the planned rates over scores counted on the grid
    linear(f)       (R,) eta
    draw(f, rng)    (R,) labels
    predict(eta)    what an oracle predicts of the label as observed, noise included: (R,)
                    probabilities or expected values, (R, C) probabilities of classes
    constant()      what one predicts who knows no row: one row of `predict`
    metrics(counts) expected metrics of both, {"oracle": …, "constant": …}
"""

from data_synth.targets.binary import BinaryTarget
from data_synth.targets.choice import ChoiceTarget
from data_synth.targets.regression import RegressionTarget

Target = BinaryTarget | ChoiceTarget | RegressionTarget

__all__ = ["BinaryTarget", "ChoiceTarget", "RegressionTarget", "Target"]
