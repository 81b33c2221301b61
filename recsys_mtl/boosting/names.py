"""The baselines of gradient boosting by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsys_mtl.boosting.histogram import Histogram
from recsys_mtl.boosting.lightgbm import TRIES, LightGBM, load
from recsys_mtl.boosting.model import Learner
from recsys_mtl.errors import did_you_mean, wrong

LEARNERS: Mapping[str, Learner] = {
    "lightgbm": LightGBM(),
    "lightgbm_tuned": LightGBM(TRIES),
    "gradient_boosting": Histogram(),
}
NAMES = tuple(LEARNERS)
WORDS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in NAMES},
    "tuned": ("lightgbm", "lightgbm_tuned"),
}
"""What may follow `--baselines`, and the baselines that it means."""


def default_name() -> str:
    """LightGBM where it is installed, else scikit-learn's."""
    return "gradient_boosting" if _import_error() else "lightgbm"


def require_installed(words: Sequence[str]) -> tuple[str, ...]:
    """The baselines that words mean, without repetition.

    Raises:
        UserError: a word is unknown, or LightGBM is asked for and does not import.
    """
    for word in words:
        if word not in WORDS:
            raise wrong(
                "unknown baseline",
                where="--baselines",
                expected=f"one of {', '.join(WORDS)}",
                found=word,
                fix=did_you_mean(word, WORDS),
            )
    names = tuple(dict.fromkeys(name for word in words for name in WORDS[word]))
    if any(isinstance(LEARNERS[name], LightGBM) for name in names) and (error := _import_error()):
        raise wrong(
            "LightGBM does not import",
            where=f"--baselines {' '.join(words)}",
            expected="the extra lightgbm",
            found=error,
            fix="pip install 'recsys-mtl[lightgbm]', or --baselines without a name",
        )
    return names


def _import_error() -> str:
    """Why LightGBM does not import; empty where it does."""
    try:
        load()
    except (ImportError, OSError) as error:  # OSError: libgomp is missing
        return str(error)
    return ""
