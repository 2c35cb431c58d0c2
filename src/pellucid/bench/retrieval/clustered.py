"""Vectors that lie as embeddings of photographs do: in clusters of clusters, few of their many dimensions in use.

Independent Gaussian vectors are no test of an index: in hundreds of dimensions all of them are about as far from each
other, no partition holds a query's neighbours, and every index has to look at everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CHUNK = 8192
STREAMS = {"collection": 1, "held-out": 2, "noise": 3}


@dataclass(frozen=True)
class Clustered:
    """x = (m + g + c + s_c Q (d_c * z) + e) / |...|, a mixture of Gaussians on the sphere, all of it from the seed.

    m is common to all (embeddings lie in a cone), g the centre of one of `groups`, c that of one of `clusters` in it,
    whose sizes are lognormal; Q has `rank` orthonormal columns, g and c lie in their span with standard deviations
    1, 2^-fall, 3^-fall, ...; d_c is (1, 2^-decay, 3^-decay, ...) in an order of the cluster's own, scaled to length 1,
    so that about (sum d^2)^2 / sum d^4 of the dimensions are in use; s_c is lognormal around `spread`; e is white, of
    length `white`. z ~ N(0, I).

    Args:
        dimension: of the vectors.
        clusters, groups: how many centres.
        rank, decay: of the covariance within a cluster.
        fall: of the centres' covariance.
        mean, group, own: lengths of m, g and c.
        spread, white: lengths of what varies within a cluster, in the cluster's subspace and in all dimensions.
        tail: standard deviation of the logarithm of a cluster's size.
        seed: of everything.
    """

    dimension: int
    clusters: int = 4000
    groups: int = 100
    rank: int = 256
    decay: float = 0.3
    fall: float = 0.42
    mean: float = 0.48
    group: float = 0.48
    own: float = 0.48
    spread: float = 0.64
    white: float = 0.1
    tail: float = 1.2
    seed: int = 0

    def about(self) -> dict[str, Any]:
        """Name and parameters, for the record."""
        return {"generator": f"{type(self).__module__}.{type(self).__name__}", **asdict(self)}

    def chunks(self, count: int, stream: str = "collection") -> Iterator[np.ndarray]:
        """(<= 8192, dimension) float32 of length 1, until there are `count`; streams are disjoint draws of one mixture.

        A chunk depends on the seed, the stream and its number alone.
        """
        parts = self._parts()
        for number in range(-(-count // CHUNK)):
            yield self._chunk(parts, min(CHUNK, count - number * CHUNK), (self.seed, STREAMS[stream], number))

    def draw(self, count: int, stream: str = "held-out") -> np.ndarray:
        """(count, dimension), `chunks` in one array."""
        return np.concatenate(list(self.chunks(count, stream)))

    def disturbed(self, x: np.ndarray, cosine: float) -> np.ndarray:
        """`x` turned away, each by the angle of this cosine, in a direction of chance: what a degradation does."""
        random = np.random.default_rng((self.seed, STREAMS["noise"]))
        away = random.standard_normal(x.shape, dtype=np.float32)
        away -= (away * x).sum(1, keepdims=True) * x
        return (cosine * x + np.sqrt(1 - cosine**2) * unit(away)).astype(np.float32)

    def _parts(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng((self.seed, 0))

        basis = np.linalg.qr(random.standard_normal((self.dimension, self.rank), dtype=np.float32))[0]
        order = np.arange(1, self.rank + 1, dtype=np.float32)

        def directions(count: int) -> np.ndarray:
            return unit(random.standard_normal((count, self.rank), dtype=np.float32) * order**-self.fall @ basis.T)

        groups = random.integers(self.groups, size=self.clusters)
        common = unit(random.standard_normal((1, self.dimension), dtype=np.float32))
        centres = self.mean * common + self.group * directions(self.groups)[groups]
        centres += self.own * directions(self.clusters)
        spectrum = order**-self.decay
        spectrum /= np.linalg.norm(spectrum)
        stds = np.stack([random.permutation(spectrum) for _ in range(self.clusters)])
        stds *= self.spread * np.exp(0.25 * random.standard_normal((self.clusters, 1), dtype=np.float32))
        weights = np.exp(self.tail * random.standard_normal(self.clusters))
        return {"centres": centres, "basis": basis, "stds": stds, "ends": np.cumsum(weights / weights.sum())}

    def _chunk(self, parts: dict[str, np.ndarray], count: int, seed: tuple[int, ...]) -> np.ndarray:
        random = np.random.default_rng(seed)
        which = np.searchsorted(parts["ends"], random.random(count)).clip(max=self.clusters - 1)
        z = random.standard_normal((count, self.rank), dtype=np.float32) * parts["stds"][which]
        white = random.standard_normal((count, self.dimension), dtype=np.float32)
        white *= np.float32(self.white / np.sqrt(self.dimension))
        return unit(parts["centres"][which] + z @ parts["basis"].T + white)


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32, copy=False)
