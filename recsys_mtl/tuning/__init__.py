"""Tuning: a search for the settings of a run, judged by its validation rows.

    plan.Tuning, load_tuning    what a tuning's YAML may say, or a run's config as it is
    tune.tune                   trials by Optuna, resumed, pruned and fanned out; files and page
    space, ready                keys with their ranges, and ready-made search spaces
    search                      the study in the output folder: all that imports Optuna

A trial is the base config, as `train` would run it, with some keys changed. Test rows are never
scored: `recsys-mtl train best.yaml` does that, and `recsys-mtl ablate ablation.yaml` compares the
tuned settings with the base on fresh seeds.
"""

from recsys_mtl.tuning.plan import Tuning, load_tuning
from recsys_mtl.tuning.tune import tune

__all__ = ["Tuning", "load_tuning", "tune"]
