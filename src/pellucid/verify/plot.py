"""The plot of one verdict: the truth, the exact answer and the method's, side by side."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from pellucid.errors import ConfigError
from pellucid.verify.report import Case, Verdict


def plot(case: Case, image: Tensor, verdict: Verdict, path: Path) -> None:
    """Saves a PNG: truth, an exact sample, exact mean and std, the method's sample, mean and std.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("plots need matplotlib: pip install 'pellucid[plots]'") from error
    decode = case.prior.codec.decode
    exact_std = case.exact.std / 2
    panels = [
        ("truth", case.truth[0], False),
        ("exact sample", case.samples[0], False),
        (f"exact mean  {verdict.optimum:.1f} dB", decode(case.exact.mean)[0], False),
        ("exact std", exact_std[0], True),
        ("", None, False),
        (f"sample  {verdict.psnr_sample:.1f} dB", image[0], False),
        (f"mean of {len(image)}  {verdict.psnr_mean:.1f} dB", image.mean(0), False),
        ("std of samples", image.std(0), True),
    ]
    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{verdict.method} on {verdict.operator}, noise {verdict.noise:g}")
    for index, (title, picture, is_std) in enumerate(panels):
        axes = figure.add_subplot(2, 4, index + 1)
        axes.set_axis_off()
        if picture is None:
            axes.text(0, 1, _words(verdict), va="top", family="monospace", fontsize=8)
            continue
        axes.set_title(title, fontsize=9)
        if is_std:
            axes.imshow(picture.mean(0).numpy(), cmap="magma", vmin=0, vmax=float(exact_std.max()))
        else:
            axes.imshow(picture.clamp(0, 1).permute(1, 2, 0).numpy())
    figure.savefig(path, dpi=110)


def _words(verdict: Verdict) -> str:
    from pellucid.verify.table import rows

    return "\n".join(f"{what[:28]:28s} {own:>6s} {exact:>6s}" for what, own, exact in rows(verdict))
