"""Confidence that means something: from a joint's score to the probability that the joint is right."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import isotonic_regression


@dataclass(frozen=True)
class ConfidenceCurve:
    """A rising piecewise linear curve. score: (K,) rising. probability: (K,) never falling, in [0, 1]."""

    score: np.ndarray
    probability: np.ndarray

    def __post_init__(self) -> None:
        score, probability = (np.asarray(v, dtype=np.float64) for v in (self.score, self.probability))
        fits = score.ndim == 1 and len(score) >= 2 and score.shape == probability.shape
        if not (fits and np.all(np.diff(score) > 0) and np.all(np.diff(probability) >= 0)):
            raise ValueError("a confidence curve needs two or more rising scores and probabilities that never fall")
        if probability[0] < 0 or probability[-1] > 1:
            raise ValueError(f"probabilities from {probability[0]} to {probability[-1]} do not lie in [0, 1]")
        object.__setattr__(self, "score", score)
        object.__setattr__(self, "probability", probability)

    def __call__(self, score: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Return the probability for each score; NaN for NaN, the ends' values beyond the ends."""
        return np.interp(score, self.score, self.probability)


#: Without a fit the score is all there is.
UNFITTED = ConfidenceCurve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))


def fit_confidence(score: Float[np.ndarray, " N"], correct: Bool[np.ndarray, " N"], knots: int = 16) -> ConfidenceCurve:
    """Fit the curve to held-out joints by isotonic regression, thinned to about `knots` points.

    score: of joints, see `decode_heatmaps`. correct: whether each was within the tolerance. Scores are first averaged in
    bins of equal count, so that no knot stands on a few joints; the curve starts at (0, 0). A detector that has seen nothing
    at all, whose scores are all 0, is never right.
    """
    order = np.argsort(score, kind="stable")
    score, hits = np.asarray(score, dtype=np.float64)[order], np.asarray(correct, dtype=np.float64)[order]
    known = np.isfinite(score)
    score, hits = score[known], hits[known]
    if len(score) < 2 * knots:
        raise ValueError(f"a confidence curve of {knots} knots needs at least {2 * knots} joints, not {len(score)}")
    bins = np.array_split(np.arange(len(score)), knots)
    middle = np.array([score[bin_].mean() for bin_ in bins])
    rate = np.array([hits[bin_].mean() for bin_ in bins])
    count = np.array([len(bin_) for bin_ in bins], dtype=np.float64)
    rising = np.clip(isotonic_regression(rate, weights=count).x, 0.0, 1.0)
    keep = np.concatenate([[True], np.diff(middle) > 1e-6]) & (middle > 1e-6)
    if not keep.any():
        return ConfidenceCurve(np.array([0.0, 1.0]), np.zeros(2))
    return ConfidenceCurve(np.concatenate([[0.0], middle[keep]]), np.concatenate([[0.0], rising[keep]]))
