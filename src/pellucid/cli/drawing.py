"""`pellucid restore --tradeoff`: what stopping earlier or later would have given, drawn and in numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing
from pellucid.tradeoff import Measure, Tradeoff

TILES, COLUMNS = 8, 4
WHOLE = 160  # a smaller picture is shown whole, of a larger one a detail
DPI = 130
INK, FAINT, CHOSEN = "#222222", "#B8B8B8", "#D55E00"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A way through the plane of perception and distortion.

    Perception is a distance of sets of pictures where many were looked at, and one of pairs where there is one picture:
    that also grows with detail which is plausible and not the true one.

    Attributes:
        t: falling, (k,).
        psnr: in dB, (k,).
        distance: in features, (k,); less is better.
        kind: of distance.
        source: whose curve it is.
    """

    t: Floats
    psnr: Floats
    distance: Floats
    kind: str
    source: str

    @classmethod
    def stored(cls, places: Sequence[dict[str, Any]], prior: str) -> Curve:
        """That of a prior's validation pictures. Raises `ConfigError` where the prior has none, or it is damaged."""
        sets = all("frechet" in place for place in places)
        try:
            columns = [
                np.array([float(place[key]) for place in places])
                for key in ("t", "psnr", "frechet" if sets else "distance")
            ]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"--tradeoff: the validation curve of --prior {prior} cannot be used: {error!r}"
            ) from error
        if not places or not all(np.isfinite(column).all() for column in columns):
            raise ConfigError(
                f"--tradeoff: --prior {prior} stores no validation curve; give the true picture: --compare TRUTH"
            )
        t, psnr, distance = (column[np.argsort(-columns[0])] for column in columns)
        source = f"validation pictures of {prior}, from t = 1"
        return cls(t, psnr, distance, "Fréchet distance of features" if sets else "feature distance", source)

    @classmethod
    def measured(cls, found: Tradeoff) -> Curve:
        """That of the picture itself, whose truth is known."""
        psnr, distance = (found.figures[name].numpy() for name in ("psnr", "distance"))
        return cls(found.times.numpy(), psnr, distance, "feature distance", "this picture, against its truth")

    def at(self, t: Floats) -> tuple[Floats, Floats]:
        """(psnr, distance) at other times, linear in between."""
        rising = self.t[::-1]
        return np.interp(t, rising, self.psnr[::-1]), np.interp(t, rising, self.distance[::-1])


def require_matplotlib() -> None:
    """Raises `ConfigError` where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError("--tradeoff draws with matplotlib: pip install 'pellucid[plots]'") from error


def measure(truth: Tensor) -> Measure:
    """PSNR in dB, clipped to [0, 1], and the feature distance to the true picture (c, h, w), of every estimate.

    Raises:
        MetricError: the weights of the features are not installed.
    """
    from pellucid.metrics.effnet import effnet_distance
    from pellucid.metrics.pixels import psnr

    effnet_distance(truth[None], truth[None])  # says beforehand what is missing

    def told(pictures: Tensor, images: Tensor) -> dict[str, Tensor]:
        shown = pictures.float().cpu().clamp(0, 1)
        true = truth[None].expand(len(shown), *truth.shape)
        return {"psnr": psnr(shown, true), "distance": effnet_distance(shown, true)}

    return told


def numbers(found: Tradeoff, curve: Curve, words: dict[str, Any]) -> dict[str, Any]:
    """Everything that is drawn, and the data misfit, for the file beside the drawing."""
    psnr, distance = curve.at(found.times.numpy())
    columns = zip(found.times.tolist(), found.nfe.tolist(), found.residual.tolist(), psnr, distance, strict=True)
    rows = [
        {
            "t": round(t, 6),
            "nfe": calls,
            "residual": round(misfit, 6) if math.isfinite(misfit) else None,
            "psnr": round(float(fidelity), 4),
            "distance": round(float(far), 6),
        }
        for t, calls, misfit, fidelity, far in columns
    ]
    about = {
        "psnr": "dB, clipped to [0, 1]",
        "distance": f"{curve.kind} (EfficientNet-Lite0), lower is better",
        "residual": "|y - A(x0_hat)|^2 / (n sigma^2), about 1 for the truth",
        "psnr and distance are of": curve.source,
    }
    return {**words, "about": about, "chosen": found.chosen, "path": rows}


def write_numbers(path: Path, report: dict[str, Any]) -> None:
    """Writes the file of numbers, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def draw(path: Path, found: Tradeoff, curve: Curve, measurement: Tensor | None, truth: Tensor | None) -> None:
    """Writes the drawing, a PNG: thumbnails of the picture at its stops, and the way through the plane.

    Args:
        path: of the PNG.
        found: the picture's estimates.
        curve: the way.
        measurement: (c, h, w), as far as it is a picture of the same size.
        truth: (c, h, w), as far as it is known.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    beside = [part for part in (measurement, truth) if part is not None]
    places = _fewer(found, TILES - len(beside))
    own = found.shown[places].tolist()
    colours = _colours([float(found.times[k]) for k in own])
    rows, columns = _detail(found.pictures)
    figure: Any = Figure(figsize=(12.4, 5.3), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(1.62, 1))
    grid = left.subplots(TILES // COLUMNS, COLUMNS).ravel()
    tiles: list[tuple[Tensor, str, str, int | None]] = []
    if measurement is not None:
        tiles.append((measurement, "measurement", FAINT, None))
    for number, (place, k) in enumerate(zip(places, own, strict=True), 1):
        tiles.append((found.pictures[place], _label(found, curve, k), colours[number - 1], number))
    if truth is not None:
        tiles.append((truth, "truth", FAINT, None))
    for axes, (picture, label, colour, badge) in zip(grid, tiles, strict=False):
        chosen = badge is not None and own[badge - 1] == found.chosen
        _tile(axes, picture[:, rows, columns], label, CHOSEN if chosen else colour, badge, chosen)
    for axes in grid[len(tiles) :]:
        axes.axis("off")
    _plane(right.subplots(), found, curve, own, colours)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=DPI, metadata={"Software": None})


def _label(found: Tradeoff, curve: Curve, k: int) -> str:
    calls, last = int(found.nfe[k]), k == len(found.times) - 1
    count = f"{calls} call{'s' * (calls > 1)}"
    name = "one shot, " if calls == 1 else "full run, " if last else ""
    psnr = f", {curve.psnr[k]:.1f} dB" if "psnr" in found.figures else ""
    return f"{name}{count}\nt = {float(found.times[k]):.2f}{psnr}"


def _tile(axes: Any, picture: Tensor, label: str, colour: str, number: int | None, chosen: bool) -> None:
    shown = picture.float().clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(shown.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(edgecolor=colour, linewidth=3.4 if chosen else 2.2 if number else 0.8)
    axes.set_xlabel(label, fontsize=9, color=CHOSEN if chosen else INK, labelpad=3, linespacing=1.25)
    if number is not None:
        _badge(axes, number, (0.075, 0.925), colour, "axes fraction")


def _badge(axes: Any, number: int, place: tuple[float, float], colour: str, units: str = "data") -> None:
    box = {"boxstyle": "circle,pad=0.22", "facecolor": colour, "edgecolor": "white", "linewidth": 1.2}
    words = {"ha": "center", "va": "center", "fontsize": 8.5, "color": "white", "fontweight": "bold", "zorder": 5}
    axes.annotate(str(number), place, xycoords=units, bbox=box, **words)


def _plane(axes: Any, found: Tradeoff, curve: Curve, own: list[int], colours: list[str]) -> None:
    """The way through the plane: better to the right (fidelity) and upwards (perception)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    times = found.times.numpy()
    psnr, distance = curve.at(times)
    axes.plot(curve.psnr, curve.distance, color=FAINT, linewidth=1, zorder=1)
    for a, b in pairwise(range(len(times))):
        colour = to_hex(colormaps["viridis"](_shade((times[a] + times[b]) / 2)))
        axes.plot(psnr[[a, b]], distance[[a, b]], color=colour, linewidth=2.6, solid_capstyle="round", zorder=2)
    for number, (k, colour) in enumerate(zip(own, colours, strict=True), 1):
        _badge(axes, number, (psnr[k], distance[k]), CHOSEN if k == found.chosen else colour)
    k = found.chosen
    axes.plot(psnr[k], distance[k], "o", markersize=23, markerfacecolor="none", markeredgecolor=CHOSEN, zorder=4)
    axes.invert_yaxis()
    axes.margins(0.14, 0.16)
    x, y = _free_corner(axes, np.concatenate([curve.psnr, psnr]), np.concatenate([curve.distance, distance]))
    ends = {"ha": "left" if x < 0.5 else "right", "va": "bottom" if y < 0.5 else "top"}
    axes.text(x, y, f"circled: your result, t = {times[k]:.2f}", transform=axes.transAxes, color=CHOSEN, **ends)
    axes.set_title("Perception against distortion", fontsize=11.5, color=INK, pad=20)
    words: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 8.5, "color": "#666666"}
    axes.text(0.5, 1.015, curve.source, transform=axes.transAxes, **words)
    axes.set_xlabel("PSNR [dB]   (right: closer to the truth)", fontsize=9.5, color=INK)
    better = "looks more real" if curve.kind.startswith("Fr") else "more like the truth"
    axes.set_ylabel(f"{curve.kind}   (up: {better})", fontsize=9.5, color=INK)
    axes.tick_params(labelsize=8.5, colors=INK, length=3)
    axes.grid(color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _free_corner(axes: Any, x: Floats, y: Floats) -> tuple[float, float]:
    """The corner of the axes, in its own units, that is furthest from all points."""
    points = axes.transAxes.inverted().transform(axes.transData.transform(np.stack([x, y], axis=1)))
    corners = [(a, b) for b in (0.03, 0.97) for a in (0.03, 0.97)]
    # A label is wide: half its length counts as the corner's place.
    return max(corners, key=lambda c: float(np.hypot(points[:, 0] - (0.6 * c[0] + 0.2), points[:, 1] - c[1]).min()))


def _colours(times: list[float]) -> list[str]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](_shade(t))) for t in times]


def _shade(t: float) -> float:
    """Dark at t = 1; the palest end of the colours is left out."""
    return 0.82 * (1 - float(t))


def _fewer(found: Tradeoff, room: int) -> list[int]:
    """Places in `found.pictures` of at most `room`: the first, the last, the chosen one, and what spreads best."""
    shown = found.shown.tolist()
    must = {0, len(shown) - 1} | {k for k, row in enumerate(shown) if row == found.chosen}
    places = list(range(len(shown)))
    while len(places) > max(room, len(must)):
        between = zip(places, places[1:], places[2:], strict=False)
        gaps = {b: shown[c] - shown[a] for a, b, c in between if b not in must}
        places.remove(min(gaps, key=lambda place: gaps[place]))
    return places


def _detail(pictures: Tensor) -> tuple[slice, slice]:
    """Rows and columns of what is shown: where the first estimate and the last one differ most."""
    height, width = pictures.shape[-2:]
    side = min(height, width)
    if side < WHOLE:
        return slice(None), slice(None)
    side = int(np.clip(side // 2, 96, 192))
    energy = (pictures[-1] - pictures[0]).square().mean(0)[None, None].float()
    found = avg_pool2d(energy, side, stride=8)[0, 0]
    top, begin = divmod(int(torch.argmax(found)), found.shape[1])
    return slice(8 * top, 8 * top + side), slice(8 * begin, 8 * begin + side)
