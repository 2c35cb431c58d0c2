"""KernelWizard: a network that blurs a picture as a code says, and one that finds the code in a pair of pictures.

Written from its behaviour; the parameters have the published names.

Reference: Tran et al., Explore Image Deblurring via Encoded Blur Kernel Space, CVPR 2021.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHUFFLED = 64  # channels after the second enlargement, whatever the width
HALVINGS = 5  # of the features, down to the code
MULTIPLE = 4 * 2**HALVINGS  # pixels of the picture per entry of the code, along each side


class Residual(nn.Module):
    """x + conv2(relu(conv1(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.relu(self.conv1(x)))
        return out


class Reflected(nn.Module):
    """x + conv(relu(conv(x))) without biases, edges by reflection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        nothing, activation = nn.Identity(), nn.ReLU()
        convs = [nn.Conv2d(width, width, 3, bias=False) for _ in range(2)]
        pads = [nn.ReflectionPad2d(1) for _ in range(2)]
        self.conv_block = nn.Sequential(pads[0], convs[0], nothing, activation, pads[1], convs[1], nothing)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv_block(x)
        return out


class KernelExtractor(nn.Module):
    """Features of a sharp and of a blurred picture -> mean and log variance of the code.

    Args:
        width: channels of one picture's features.
        code: channels of the code.
        blocks: residual blocks.
        pair: whether it sees the sharp picture too.
        variational: whether there is a log variance.
    """

    def __init__(self, width: int, code: int, blocks: int, pair: bool, variational: bool) -> None:
        super().__init__()
        self.pair, self.variational = pair, variational
        outputs = 2 * code if variational else code
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d((2 if pair else 1) * width, width, 7, bias=False),
            nn.Identity(),
            nn.ReLU(),
        ]
        for level in range(HALVINGS):
            a, b = (min(width * 2**power, outputs) for power in (level, level + 1))
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.Identity(), nn.ReLU()]
        layers += [Reflected(outputs) for _ in range(blocks)]
        self.model = nn.Sequential(*layers)

    def forward(self, sharp: Tensor, blurred: Tensor) -> tuple[Tensor, Tensor | None]:
        """(mean, log variance or None), (b, code, h / 32, w / 32) for features (b, width, h, w)."""
        out: Tensor = self.model(torch.cat([sharp, blurred], dim=1) if self.pair else blurred)
        if not self.variational:
            return out, None
        mean, logvar = out.chunk(2, dim=1)
        return mean, logvar


class Rung(nn.Module):
    """A level of the adapter's UNet: down, the level below (or the code), up.

    Args:
        outer: channels that come in and, on the way up, go out.
        inner: channels below.
        submodule: the level below; None for the lowest, where the code joins.
        code: channels of the code, for the lowest.
        outermost: whether this is the first level, which returns its result alone and ends with tanh.
    """

    def __init__(
        self, outer: int, inner: int, submodule: Rung | None, code: int = 0, *, outermost: bool = False
    ) -> None:
        super().__init__()
        self.outermost = outermost
        down = nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False)
        joined = inner + code if submodule is None else 2 * inner
        up = nn.ConvTranspose2d(joined, outer, 4, stride=2, padding=1, bias=outermost)
        self.down = nn.Sequential(down) if outermost else nn.Sequential(nn.LeakyReLU(0.2), down)
        self.submodule = submodule
        self.up = nn.Sequential(nn.ReLU(), up, nn.Tanh()) if outermost else nn.Sequential(nn.ReLU(), up)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        below = self.down(x)
        below = torch.cat([below, code], dim=1) if self.submodule is None else self.submodule(below, code)
        up: Tensor = self.up(below)
        return up if self.outermost else torch.cat([up, x], dim=1)


class Adapter(nn.Module):
    """Features and code -> features of the blurred picture, in (-1, 1)."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        widths = [min(width * 2**level, code) for level in range(HALVINGS - 1)]
        rung = Rung(widths[-1], code, None, code)
        for level in reversed(range(1, HALVINGS - 1)):
            rung = Rung(widths[level - 1], widths[level], rung)
        self.model = Rung(width, width, rung, outermost=True)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        out: Tensor = self.model(x, code)
        return out


class KernelWizard(nn.Module):
    """Blurs a picture as a code says: (b, 3, h, w) in [0, 1] and (b, code, h / 128, w / 128) -> (b, 3, h, w).

        x + trunk(adapter(features(x), code))

    The result is not clipped. The sides are multiples of 128.

    Args:
        channels: of the pictures.
        width: feature channels.
        front, back: residual blocks before and after the adapter.
        code: channels of the code.
        blocks: residual blocks of the extractor of codes.
        pair: whether the extractor sees the sharp picture too.
        variational: whether the extractor tells a log variance.
    """

    multiple = MULTIPLE

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        front: int = 10,
        back: int = 20,
        code: int = 512,
        blocks: int = 4,
        pair: bool = True,
        variational: bool = True,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": channels,
            "width": width,
            "front": front,
            "back": back,
            "code": code,
            "blocks": blocks,
            "pair": pair,
            "variational": variational,
        }
        self.code = code
        lrelu = nn.LeakyReLU(0.1)
        self.feature_extractor = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            lrelu,
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            lrelu,
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            lrelu,
            *(Residual(width) for _ in range(front)),
        )
        self.kernel_extractor = KernelExtractor(width, code, blocks, pair, variational)
        self.adapter = Adapter(width, code)
        self.recon_trunk = nn.Sequential(
            *(Residual(width) for _ in range(back)),
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            lrelu,
            nn.Conv2d(width, 4 * SHUFFLED, 3, padding=1),
            nn.PixelShuffle(2),
            lrelu,
            nn.Conv2d(SHUFFLED, SHUFFLED, 3, padding=1),
            lrelu,
            nn.Conv2d(SHUFFLED, channels, 3, padding=1),
        )

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """The blurred picture."""
        features = self.adapter(self.feature_extractor(x), code)
        out: Tensor = x + self.recon_trunk(features)
        return out

    def extract(self, sharp: Tensor, blurred: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log variance of the code that makes `blurred` of `sharp`; both (b, c, h, w) in [0, 1]."""
        return self.kernel_extractor(self.feature_extractor(sharp), self.feature_extractor(blurred))
