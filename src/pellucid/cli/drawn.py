"""The drawing of one picture's way: what is settled before any work, and what is written after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pellucid.cli.case import Case
from pellucid.cli.drawing import TILES, Curve, draw, measure, numbers, write_numbers
from pellucid.cli.inputs import Job
from pellucid.cli.restoring import Recording, Restored
from pellucid.errors import CompatibilityError
from pellucid.images import Picture


@dataclass(frozen=True)
class Drawn:
    """A picture's way that is to be drawn.

    Attributes:
        case: the picture.
        truth: the true one, (c, h, w), if there is one.
        stored: the curve of the prior's validation pictures, where there is none.
        recording: what `restore` is to keep.
    """

    case: Case
    truth: Tensor | None
    stored: Curve | None
    recording: Recording

    @classmethod
    def prepare(cls, case: Case, truth: Picture | None) -> Drawn:
        """Refuses before any work what cannot be drawn.

        Raises:
            ConfigError: there is neither a truth nor a curve of the prior's.
            MetricError: the weights of the features are not installed, which only a truth needs.
            CompatibilityError: the picture enters at the path's beginning, so that there is no way.
        """
        if case.entry is not None and not case.entry.whole:
            raise CompatibilityError(
                f"--tradeoff: the measurement enters at t = {case.entry.begins:.3g}, where the path of --prior "
                f"{case.setup.request.prior} begins: there is nothing to undo, and no way to draw; leave it out"
            )
        if truth is not None:
            return cls(case, truth.pixels, None, Recording(measure(truth.pixels), TILES - 2))
        request = case.setup.request
        return cls(
            case,
            None,
            Curve.stored(getattr(case.setup.prior, "tradeoff", []), request.prior),
            Recording(stops=TILES - 1),
        )

    def save(
        self, job: Job, restored: Restored, report: dict[str, Any], window: tuple[float, float] | None
    ) -> dict[str, Any]:
        """Writes the drawing and its numbers; their names, for the report."""
        found, case = restored.tradeoff, self.case
        assert found is not None
        curve = self.stored or Curve.measured(found)
        png, path = job.tradeoff
        words: dict[str, Any] = {
            key: report[key] for key in ("input", "output", "settings", "dirac", "notice") if key in report
        }
        write_numbers(path, numbers(found, curve, words))
        y = case.picture.pixels
        seen = y if tuple(y.shape) == case.operator.image_shape else None
        draw(png, found, curve, *(_shown(part, case, window) for part in (seen, self.truth)))
        return {"tradeoff": str(png), "tradeoff_numbers": str(path)}


def _shown(part: Tensor | None, case: Case, window: tuple[float, float] | None) -> Tensor | None:
    """As it is looked at: CT in the window asked for."""
    ct = case.picture.ct
    return part if part is None or ct is None or window is None else ct.shown(part, window)
