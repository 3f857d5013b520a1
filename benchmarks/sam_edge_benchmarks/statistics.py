"""Figures derived from raw samples. Records hold none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and where it may lie.

    Attributes:
        estimate: from all samples.
        low: 2.5 % of the resampled estimates lie below it.
        high: 2.5 % of them lie above it.
    """

    estimate: float
    low: float
    high: float


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return a percentile of samples, linear between neighbours.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50)
    2.5
    """
    return float(np.percentile(np.asarray(samples), percent))


def median_ratio(
    before: Sequence[float], after: Sequence[float], seed: int = SEED
) -> Interval | None:
    """Compare two sets of samples: the median after, as a share of the median before.

    The interval is a bootstrap: both sets are drawn again, with replacement. It tells what chance
    did among these samples, not how the machine's mood changed between the two.

    Returns:
        None with fewer than three samples on a side: they say nothing about their spread.

    >>> median_ratio([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    Interval(estimate=0.5, low=0.5, high=0.5)
    """
    if min(len(before), len(after)) < 3 or np.median(before) <= 0:
        return None
    generator = np.random.default_rng(seed)

    def medians(samples: Sequence[float]) -> NDArray[np.float64]:
        drawn = generator.choice(np.asarray(samples), (RESAMPLES, len(samples)))
        return np.asarray(np.median(drawn, axis=1), np.float64)

    below = np.maximum(medians(before), np.finfo(float).tiny)
    low, high = np.percentile(medians(after) / below, [2.5, 97.5])
    return Interval(float(np.median(after) / np.median(before)), float(low), float(high))


def paired_ratio(pairs: Sequence[tuple[float, float]], seed: int = SEED) -> Interval | None:
    """Compare two subjects measured in turn: the median over pairs of second / first.

    A machine that slows down slows both halves of a pair, so the ratio stays.

    Returns:
        None with fewer than three pairs.

    >>> paired_ratio([(1.0, 2.0), (10.0, 20.0), (3.0, 6.0)])
    Interval(estimate=2.0, low=2.0, high=2.0)
    """
    if len(pairs) < 3:
        return None
    ratios = np.asarray([second / first for first, second in pairs])
    drawn = np.random.default_rng(seed).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return Interval(float(np.median(ratios)), float(low), float(high))
