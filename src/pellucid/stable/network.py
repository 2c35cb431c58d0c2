"""A text-conditional U-Net that is shown a picture, with classifier-free guidance, as a function of (x_t, time)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pellucid.account import count_nfe
from pellucid.errors import CompatibilityError
from pellucid.prior.diffusion import pad_to_multiple
from pellucid.stable.tiles import Tiles


def predicted(unet: Any, x: Tensor, time: Tensor, text: Tensor, labels: Tensor | None = None) -> Tensor:
    """What the network gives for x (b, c, h, w), timesteps (b,), text (b, tokens, width) and class labels (b,)."""
    out: Tensor = unet(x, time, encoder_hidden_states=text, class_labels=labels, return_dict=False)[0]
    return out


class Shown(nn.Module):
    """f(x_t, t) for the pictures that the network is shown, and for words.

    With guidance g (Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, eq. 6, with g = 1 + w):

        f = f(x_t, t, negative) + g (f(x_t, t, prompt) - f(x_t, t, negative))

    Both terms are one batch of the network, and counted as two of its passes; at g = 1 there is only the prompt's.
    The picture is joined to x_t as further channels; large ones go through the network in tiles, with what they are
    shown at the same places.

    Args:
        unet: a UNet2DConditionModel.
        picture: what is shown, (1 or b, c, h, w) in x's size: one for all images, or one an image.
        prompt, negative: embeddings of the words, (1, tokens, width).
        guidance: g.
        label: class label for all, None for a network without classes.
        tiles: of large pictures, in latents.
        multiple: sides that the network takes are multiples of this; others are continued by reflection.
    """

    picture: Tensor
    prompt: Tensor
    negative: Tensor

    def __init__(
        self,
        unet: nn.Module,
        picture: Tensor,
        prompt: Tensor,
        negative: Tensor,
        guidance: float,
        *,
        label: int | None = None,
        tiles: Tiles,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        self.unet, self.guidance, self.label = unet, guidance, label
        self.tiles, self.multiple = tiles, multiple
        for name, value in (("picture", picture), ("prompt", prompt), ("negative", negative)):
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(b, latents, h, w), (b,) -> (b, latents, h, w)."""
        if len(self.picture) not in (1, len(x)):
            raise CompatibilityError(
                f"this prior is shown {len(self.picture)} pictures, one an image, and is asked for {len(x)} images"
            )
        if self.guidance != 1:
            count_nfe()  # beside the one that every estimate counts
        joined = torch.cat([x, self.picture.to(x).expand(len(x), -1, -1, -1)], dim=1)
        return self.tiles.blended(lambda part: self._guided(part, time), joined, align=self.multiple)

    def _guided(self, joined: Tensor, time: Tensor) -> Tensor:
        height, width = joined.shape[-2:]
        joined = pad_to_multiple(joined, self.multiple)
        texts = [self.prompt] if self.guidance == 1 else [self.negative, self.prompt]
        text = torch.cat([words.to(joined.dtype).expand(len(joined), -1, -1) for words in texts])
        joined, time = joined.repeat(len(texts), 1, 1, 1), time.repeat(len(texts))
        labels = None if self.label is None else torch.full((len(joined),), self.label, device=joined.device)
        out = predicted(self.unet, joined, time, text, labels)[..., :height, :width]
        if len(texts) == 1:
            return out
        without, towards = out.chunk(2)
        return without + self.guidance * (towards - without)
