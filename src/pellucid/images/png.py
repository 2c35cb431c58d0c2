"""PNG with 16 bits a channel, in colour too, which Pillow rounds to 8.

Reference: Portable Network Graphics (PNG) Specification, third edition, W3C 2025; sections 8 (interlacing)
and 9 (filtering).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
BAND = 256  # rows unfiltered at once
COLOUR_TYPE = {channels: colour for colour, channels in CHANNELS.items()}
# x0, y0, dx, dy of the seven passes of Adam7.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def read_png16(path: Path) -> np.ndarray:
    """(h, w, c) uint16 of a 16-bit PNG that Pillow has found readable.

    Raises:
        ValueError: the file is damaged.
    """
    chunks = _chunks(path.read_bytes())
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    channels = CHANNELS[colour]
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(height - y) // dy), -(-(width - x) // dx)) for x, y, dx, dy in passes]
    expected = sum(h * (1 + w * channels * 2) for h, w in sizes if h > 0 and w > 0)
    # The limit keeps a small file from unpacking to gigabytes.
    data = zlib.decompressobj().decompress(chunks[b"IDAT"], expected)
    if len(data) != expected:
        raise ValueError("the file is truncated")
    image, begin = np.empty((height, width, channels), np.uint16), 0
    for (x, y, dx, dy), (h, w) in zip(passes, sizes, strict=True):
        if h > 0 and w > 0:
            rows = np.frombuffer(data, np.uint8, h * (1 + w * channels * 2), begin).reshape(h, -1)
            begin += rows.size
            plain = unfilter(rows[:, 1:], rows[:, 0], channels * 2)
            image[y::dy, x::dx] = plain.view(">u2").reshape(h, w, channels)
    return image if b"tRNS" not in chunks else _with_key_colour(image, chunks[b"tRNS"])


def encode_png16(array: np.ndarray) -> bytes:
    """(h, w) or (h, w, c) uint16 -> the chunks IHDR, IDAT and IEND of a PNG, without the signature."""
    planes = array[..., None] if array.ndim == 2 else array
    height, width, channels = planes.shape
    rows = np.ascontiguousarray(planes, ">u2").view(np.uint8).reshape(height, width, channels * 2)
    # Sub, the difference to the pixel at the left: cheap, and half the size of no filter on photographs.
    filtered = np.diff(rows, axis=1, prepend=np.zeros_like(rows[:, :1])).reshape(height, -1)
    data = np.concatenate([np.ones((height, 1), np.uint8), filtered], 1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPE[channels], 0, 0, 0)
    return chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 6)) + chunk(b"IEND", b"")


def chunk(name: bytes, data: bytes) -> bytes:
    """One PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def unfilter(rows: np.ndarray, filters: np.ndarray, pixel: int) -> np.ndarray:
    """Undoes the PNG filters of (h, w * pixel) bytes, one filter a row.

    A byte depends on those at its left, above and at the upper left, so the pixels of one anti-diagonal do not depend
    on each other: they are done at once. In bands of rows, to stay small.
    """
    out = np.empty_like(rows).reshape(len(rows), -1, pixel)
    above = np.zeros(out.shape[1:], np.int16)
    for top in range(0, len(rows), BAND):
        band = slice(top, min(top + BAND, len(rows)))
        out[band] = _unfilter_band(rows[band].reshape(out[band].shape), filters[band, None], above)
        above = out[band][-1].astype(np.int16)
    return out.reshape(rows.shape)


def _unfilter_band(rows: np.ndarray, filters: np.ndarray, above: np.ndarray) -> np.ndarray:
    height, width, pixel = rows.shape
    # Pixel x of row r stands at [x + r + 2, r + 1]: an anti-diagonal is a row here, and all around there are zeros.
    skewed = np.zeros((width + height + 1, height + 1, pixel), np.int16)
    step, line, byte = skewed.strides
    straight = as_strided(skewed[2:, 1:], rows.shape, (step + line, step, byte))
    straight[:] = rows
    skewed[1 : width + 1, 0] = above
    for k in range(width + height - 1):
        first, last = max(0, k - width + 1), min(height, k + 1)
        here, left = skewed[k + 2, first + 1 : last + 1], skewed[k + 1, first + 1 : last + 1]
        here += _prediction(filters[first:last], left, skewed[k + 1, first:last], skewed[k, first:last])
        here &= 255
    return straight.astype(np.uint8)


def _prediction(filters: np.ndarray, left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Filters 0 to 4: nothing, left, up, their average, and the one of the three nearest to left + up - corner."""
    to_left, to_up, to_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
    paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
    return np.choose(filters, (np.zeros_like(left), left, up, (left + up) >> 1, paeth))


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of every name, and all IDAT chunks joined."""
    found: dict[bytes, bytes] = {}
    parts, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if name == b"IDAT":
            parts.append(body)
        found.setdefault(name, body)
        at += 12 + length
    if b"IHDR" not in found or not parts:
        raise ValueError("the file is truncated")
    return {**found, b"IDAT": b"".join(parts)}


def _with_key_colour(image: np.ndarray, key: bytes) -> np.ndarray:
    """An alpha channel that is zero where a pixel has the colour that stands for transparency."""
    clear = (image == np.frombuffer(key, ">u2")[: image.shape[2]]).all(2, keepdims=True)
    return np.concatenate([image, np.where(clear, 0, 65535).astype(np.uint16)], 2)
