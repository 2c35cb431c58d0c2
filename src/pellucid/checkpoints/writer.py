"""Writing safetensors one tensor at a time, so that memory holds no more than the largest."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write(
    path: Path,
    tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    read: Callable[[str], Tensor],
    report: Callable[[int], None] = lambda _: None,
) -> str:
    """Writes a file of the safetensors format and returns its sha256.

    The format: 8 bytes with the header's length, a JSON header {name: type, shape, begin and end}, then the numbers.

    Args:
        path: of the file.
        tensors: name -> (shape, dtype), known before any tensor is read.
        read: name -> the tensor, of that shape and dtype.
        report: called with the bytes of every tensor once it is written.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    # Wider types first keep every tensor aligned to its own size.
    order = sorted(tensors, key=lambda name: -tensors[name][1].itemsize)
    end = 0
    for name in order:
        shape, dtype = tensors[name]
        begin, end = end, end + dtype.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for content in (struct.pack("<Q", len(text)), text):
            file.write(content)
            digest.update(content)
        for name in order:
            shape, dtype = tensors[name]
            tensor = read(name)
            if tuple(tensor.shape) != shape or tensor.dtype != dtype:
                raise ValueError(f"{name} is {tuple(tensor.shape)} {tensor.dtype}, announced as {shape} {dtype}")
            numbers = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
            file.write(numbers)
            digest.update(numbers)
            report(len(numbers))
    return digest.hexdigest()
