"""The blur of a moving camera, as a network learned it from pairs of pictures (BKSE's KernelWizard)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pellucid.errors import OperatorError, PellucidError, ShapeError
from pellucid.operators.base import Operator
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape

if TYPE_CHECKING:
    from pellucid.nn.kernelwizard import KernelWizard

SPREAD = 1.2  # of the code's entries, as DPS draws them


class EncodedBlur(Operator):
    """y = clip(W(x, k), 0, 1) with a code k = 1.2 n, n ~ N(0, I), drawn once from the seed and kept.

    DPS's nonlinear deblurring (Chung et al., ICLR 2023) with Tran et al.'s network W (CVPR 2021). The released code
    draws another k at every call, so that the forward model of the solver is never that of the measurement; this is
    not offered. Pictures of 256 pixels have a code of 2 x 2 entries per channel; larger ones have more, and sides that
    are no multiples of 128 are continued by reflection. Computed in the network's dtype, whatever x has.

    Args:
        image_shape: (c, h, w), c as the network has it.
        network: W; in eval mode, without gradients of its weights.
        seed: of the code; a list for one an image.
        code: k itself, (channels, h / 128, w / 128) or (b, ...), instead of a seed.
        upper_half: apply W to (1 + x) / 2 and map the result back, y = clip(2 W((1 + x) / 2, k) - 1, 0, 1), as
            Flash-Diffusion's code does: it hands pictures in [0, 1] to an operator for [-1, 1].

    Raises:
        ShapeError: the network takes other channels, or the code does not fit the picture.
    """

    def __init__(
        self,
        image_shape: Shape,
        network: KernelWizard,
        seed: int | Sequence[int] = 0,
        *,
        code: Tensor | None = None,
        upper_half: bool = False,
    ) -> None:
        channels, height, width = picture_shape(image_shape)
        if channels != network.config["channels"]:
            raise ShapeError(f"this blur takes pictures of {network.config['channels']} channels, not of {channels}")
        sides = (-(-height // network.multiple), -(-width // network.multiple))
        wanted = (network.code, *sides)
        if code is None:
            seeds = [seed] if isinstance(seed, int) else list(seed)
            code = torch.stack([draw(wanted, one) for one in seeds])
            batch = None if isinstance(seed, int) else len(seeds)
        else:
            batch = len(code) if code.ndim == 4 else None
            code = code if code.ndim == 4 else code[None]
            if tuple(code.shape[1:]) != wanted:
                raise ShapeError(f"the code of such a picture has the shape {wanted}, not {tuple(code.shape[1:])}")
        super().__init__(image_shape, batch=batch)
        self.network, self.upper_half = network, upper_half
        self.hold("code", code.detach().to("cpu", torch.float64))

    def _forward(self, x: Tensor) -> Tensor:
        from pellucid.prior.diffusion import pad_to_multiple  # priors stand on operators, not the other way round

        weight = next(self.network.parameters())
        if weight.device != x.device:
            self.network.to(x.device)
        height, width = x.shape[-2:]
        picture = (1 + x) / 2 if self.upper_half else x
        picture = pad_to_multiple(picture, self.network.multiple).to(weight.dtype)
        code = self.constant("code", picture).expand(len(x), -1, -1, -1)
        y = self.network(picture, code)[..., :height, :width].to(x.dtype)
        return (2 * y - 1 if self.upper_half else y).clamp(0, 1)


def draw(shape: tuple[int, ...], seed: int) -> Tensor:
    """The code of a seed: 1.2 n in float32, from torch's generator on the CPU."""
    return SPREAD * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build_encoded_blur(image_shape: Shape, weights: str, seed: int = 0) -> EncodedBlur:
    """The blur of an imported folder, for the text form.

    Raises:
        OperatorError: the folder holds no KernelWizard.
    """
    folder = Path(weights)
    try:
        stamp = (folder / "card.json").stat().st_mtime_ns
    except OSError as error:
        raise OperatorError(f"there is no imported network in {folder}; make it by pellucid import") from error
    return EncodedBlur(image_shape, _network(folder, stamp), seed)


@lru_cache(maxsize=1)
def _network(folder: Path, stamp: int) -> KernelWizard:
    """Kept for the next operator of the same folder, as reading takes seconds; without the part that finds codes."""
    from pellucid.checkpoints.kernelwizard import load_kernelwizard

    try:
        network = load_kernelwizard(folder)
    except PellucidError as error:
        raise OperatorError(str(error)) from error
    del network.kernel_extractor  # 366 of 461 MB in the published network
    return network
