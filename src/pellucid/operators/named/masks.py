"""Names for the identity and the masks."""

from __future__ import annotations

from typing import Any

from pellucid.errors import OperatorError
from pellucid.operators.diagonal import Identity
from pellucid.operators.mask import SIDES, Mask, SoftMask
from pellucid.operators.named.entry import RCOND, SEED, Entry, Parameter
from pellucid.operators.values import NUMBER, PATH, SIZE, WHOLE, words
from pellucid.typing import Shape

KINDS = ("random", "box", "half", "file")


def build_mask(image_shape: Shape, seed: int = 0, top: int | None = None, left: int | None = None, **kind: Any) -> Mask:
    """The mask of the one kind that is given. Raises `OperatorError` if it is not one."""
    if len(kind) != 1:
        raise OperatorError(f"a mask takes exactly one of {', '.join(KINDS)}, such as mask:random=0.7 or mask:box=64")
    if (top is None) != (left is None) or (top is not None and "box" not in kind):
        raise OperatorError("top and left belong together, and to a box: mask:box=64,top=10,left=20")
    if "random" in kind:
        return Mask.random(image_shape, kind["random"], seed)
    if "box" in kind:
        return Mask.box(image_shape, kind["box"], None if top is None or left is None else (top, left))
    if "half" in kind:
        return Mask.side(image_shape, kind["half"])
    return Mask.from_file(image_shape, kind["file"])


ENTRIES = (
    Entry("identity", Identity, "nothing but noise", "identity"),
    Entry(
        "mask",
        build_mask,
        "missing pixels: one of random, box, half, file",
        "mask:random=0.7,seed=1",
        (
            Parameter("random", NUMBER, None, "fraction of the pixels that is missing"),
            SEED,
            Parameter("box", SIZE, None, "size of the missing box"),
            Parameter("top", WHOLE, None, "row of the box; centred if not given"),
            Parameter("left", WHOLE, None, "column of the box; centred if not given"),
            Parameter("half", words(*SIDES), None, "the missing half"),
            Parameter("file", PATH, None, "a picture, black where pixels are missing"),
        ),
    ),
    Entry(
        "soft-mask",
        SoftMask,
        "a soft hole in the middle",
        "soft-mask:std=50",
        (
            Parameter("std", NUMBER, 50.0, "of the hole, in pixels"),
            Parameter("power", NUMBER, 4.0, "of its profile"),
            RCOND,
        ),
    ),
)
