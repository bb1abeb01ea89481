"""Quantiles within 1 % of the true value: a log-bucket sketch (as DDSketch has it, with fixed limits).

A value belongs to the bucket ⌊log(value) · SCALE⌋; bucket and count are all that is kept. Adding two sketches adds
their counts, so a merge loses nothing, in any order. The bound holds for magnitudes from 1e-9 to 1e18 in the unit
measured; below, a value counts as 0, above as 1e18. So a sketch has at most 6 300 buckets; one of latencies has a
hundred.

Why our own: facts/performance.md §3, measured again in benchmarks/RESULTS.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

RELATIVE_ERROR = 0.01
_GAMMA = 1.0199  # (gamma - 1) / (gamma + 1) = 0.985 %: leaves more than the rounding of a logarithm can cost
SCALE = 1 / math.log(_GAMMA)
MAGNITUDE_MIN, MAGNITUDE_MAX = 1e-9, 1e18
BUCKET_MIN = math.log(MAGNITUDE_MIN) * SCALE // 1
BUCKET_MAX = math.log(MAGNITUDE_MAX) * SCALE // 1

Buckets = Mapping[float, int]  # the number of a bucket, a whole float: so the hot path is spared an `int()`


def bucket_of(magnitude: int | float) -> float | None:
    """The bucket of a value above 0; None for one so small that it counts as 0."""
    bucket = math.log(magnitude) * SCALE // 1
    return None if bucket < BUCKET_MIN else min(bucket, BUCKET_MAX)


def middle_of(bucket: float) -> float:
    """The value that stands for a bucket: at most `RELATIVE_ERROR` off, relatively, from any value in it."""
    return 2 * math.pow(_GAMMA, bucket + 1) / (_GAMMA + 1)


def ascending(negative: Buckets, zeros: int, positive: Buckets) -> Iterator[tuple[float, int]]:
    """(value, count) of every bucket, least value first."""
    for bucket in sorted(negative, reverse=True):
        yield -middle_of(bucket), negative[bucket]
    if zeros:
        yield 0.0, zeros
    for bucket in sorted(positive):
        yield middle_of(bucket), positive[bucket]
