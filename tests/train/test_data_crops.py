"""Crops: a function of (seed, step, rank, index) and of nothing else; and the pictures that are made up."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.errors import ConfigError
from pellucid.train.data import CT_WINDOW, Crops, Source, open_source
from pellucid.train.data.crops import square
from pellucid.train.data.dead_leaves import dead_leaves
from pellucid.train.data.jitter import jitter
from pellucid.train.data.phantoms import KINDS, phantom, phantom_picture, shepp_logan, shepp_logan_ellipses

ALL: dict[str, Any] = {"jitter": 0.2, "dead_leaves": 0.2, "phantoms": 0.2}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    rng = np.random.default_rng(0)
    for k, side in enumerate((80, 120, 200)):
        Image.fromarray(rng.integers(0, 256, (side, side + 30, 3), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    return open_source(tmp_path)


def test_workers_change_nothing_and_the_key_everything(source: Source) -> None:
    crops = Crops(source, 5, **ALL)
    batch = crops.batch(12, 48, step=3, rank=1)
    assert batch.shape == (12, 3, 48, 48) and batch.dtype == torch.float32
    assert batch.min() >= 0 and batch.max() <= 1 and batch.std() > 0.1
    crops.batch(3, 16, step=0)  # a call in between leaves no trace
    assert torch.equal(batch, crops.batch(12, 48, step=3, rank=1))
    assert torch.equal(batch, Crops(source, 0, **ALL, workers=4).batch(12, 48, seed=5, step=3, rank=1))
    for other in ({"step": 4, "rank": 1}, {"step": 3, "rank": 0}, {"step": 3, "rank": 1, "seed": 6}):
        changed = (crops.batch(12, 48, **other) - batch).flatten(1).abs().amax(1)  # type: ignore[arg-type]
        assert (changed > 0).all()


def test_parts_of_a_batch_are_the_batch_and_ranks_share_no_crop(source: Source) -> None:
    crops = Crops(source, **ALL)
    whole = crops.batch(8, 32, step=2)
    parts = [crops.batch(2, 32, step=2, first=first) for first in (0, 2, 4, 6)]
    assert torch.equal(whole, torch.cat(parts))
    union = torch.cat([crops.batch(4, 32, step=2, rank=rank) for rank in range(4)]).flatten(1)
    assert len(torch.unique(union, dim=0)) == 16


def occurs(crop: torch.Tensor, picture: torch.Tensor) -> bool:
    side = crop.shape[-1]
    corners = (picture == crop[:, :1, :1]).all(0).nonzero().tolist()
    return any(torch.equal(picture[:, y : y + side, x : x + side], crop) for y, x in corners)


def test_crops_are_cut_from_the_picture(source: Source) -> None:
    picture = source.picture(2)
    plain = Crops(source, largest_scale=1, flips=False, rotations=False)
    crops = plain.batch(40, 64, step=0)
    hits = [occurs(crop, picture) for crop in crops]
    # The three pictures are chosen in proportion to the roots of their areas: 93.8, 134.2 and 214.5.
    assert 10 <= sum(hits) <= 28


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_a_square_sees_what_is_around_it(dtype: type) -> None:
    rng = np.random.default_rng(1)
    picture = (rng.random((150, 170)) * 250).astype(dtype)
    box = (41, 23, 41 + 100, 23 + 100)
    image = Image.fromarray(picture if dtype is np.uint8 else picture.astype(np.float32))
    whole = np.asarray(image.resize((40, 40), Image.Resampling.BICUBIC, box=box), np.float32)
    found = square(picture, 23, 41, 100, 40).astype(np.float32)
    assert np.abs(found - whole).max() <= (1 if dtype is np.uint8 else 1e-2)
    alone = np.asarray(image.crop(box).resize((40, 40), Image.Resampling.BICUBIC), np.float32)
    assert np.abs(found - alone).max() > 5


def test_pictures_smaller_than_the_crop_are_enlarged(source: Source) -> None:
    assert Crops(source).batch(6, 160, step=0).shape == (6, 3, 160, 160)


def test_jitter_is_small_keeps_grey_grey_and_is_off_at_zero() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0.3, 0.7, (32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(jitter(pixels, 0.0, rng), pixels, atol=1e-6)
    changes = [np.abs(jitter(pixels, 0.1, rng) - pixels).mean() for _ in range(50)]
    assert 0.01 < np.mean(changes) < 0.05
    grey = np.repeat(pixels[..., :1], 3, -1)
    changed = jitter(grey, 0.3, rng)
    assert np.abs(changed - changed[..., :1]).max() < 1e-5


@pytest.mark.parametrize(
    "options", [{"dead_leaves": 0.6, "phantoms": 0.6}, {"jitter": -0.1}, {"largest_scale": 0.5}, {"full_scale": 2}]
)
def test_wrong_options_are_refused(source: Source, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Crops(source, **options)  # type: ignore[arg-type]


def test_shares_of_made_up_pictures_are_kept(source: Source) -> None:
    phantoms = Crops(source, phantoms=0.3).batch(300, 16, step=0)
    share = (phantoms == phantoms[:, :1]).flatten(1).all(1).double().mean()  # the photographs here are coloured noise
    assert 0.3 - 0.08 < share < 0.3 + 0.08  # three standard deviations


def slope(images: list[np.ndarray], low: float, high: float) -> float:
    """The exponent of the mean power spectrum over the frequency, between two frequencies in cycles a pixel."""
    size = len(images[0])
    power = np.mean([np.abs(np.fft.fft2(image - image.mean())) ** 2 for image in images], 0)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    edges = np.geomspace(low, high, 9)
    rings = [(frequency >= a) & (frequency < b) for a, b in pairwise(edges)]
    points = [(np.log(frequency[ring].mean()), np.log(power[ring].mean())) for ring in rings]
    return float(np.polyfit(*np.array(points).T, 1)[0])


def test_dead_leaves_look_the_same_at_every_scale() -> None:
    images = [dead_leaves(128, seed, channels=1)[..., 0] for seed in range(24)]
    exponent = slope(images, 1 / 64, 1 / 6)
    assert -2.5 < exponent < -1.5
    halves = [image.reshape(64, 2, 64, 2).mean((1, 3)) for image in images]  # seen from twice as far
    assert abs(slope(halves, 1 / 32, 1 / 6) - exponent) < 0.4
    noise = [np.random.default_rng(seed).random((128, 128)) for seed in range(8)]
    assert abs(slope(noise, 1 / 64, 1 / 6)) < 0.3  # the measure tells noise from leaves


def test_dead_leaves_have_the_colours_of_the_palette_and_are_a_function_of_the_seed() -> None:
    palette = np.array([[0.2, 0.4, 0.6], [0.8, 0.5, 0.1]])
    image = dead_leaves(64, 3, palette=palette, texture=0)
    flat = np.abs(image[:, :, None] - palette).max(-1).min(-1) < 1e-6
    assert 0.6 < flat.mean() < 1  # the rest are edges
    edges = image[~flat]
    assert (edges >= palette.min(0) - 1e-6).all() and (edges <= palette.max(0) + 1e-6).all()
    assert np.array_equal(dead_leaves(64, 5), dead_leaves(64, 5))
    assert not np.array_equal(dead_leaves(64, 5), dead_leaves(64, 6))
    assert dead_leaves(64, 5).dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_phantoms_hold_what_bodies_hold(kind: str) -> None:
    slices = [phantom(128, seed, kind=kind) for seed in range(6)]
    assert np.array_equal(slices[2], phantom(128, 2, kind=kind)) and not np.array_equal(slices[2], slices[3])
    for hu in slices:
        assert hu.shape == (128, 128) and hu.dtype == np.float32 and hu.min() >= -1024 and hu.max() <= 3071
        assert (hu[0] == -1000).all()  # air around
        soft, bone = ((hu > -20) & (hu < 200)).mean(), (hu > 400).mean()
        assert 0.05 < soft < 0.7 and 0.002 < bone < 0.25
    lung = np.mean([((hu > -950) & (hu < -700)).mean() for hu in slices])
    assert lung > 0.08 if kind == "chest" else lung < 0.02


def test_a_phantom_picture_is_in_the_window() -> None:
    picture = phantom_picture(64, 1)
    assert picture.dtype == np.float32 and picture.min() == 0 and picture.max() <= 1
    np.testing.assert_allclose(picture * 2000 - 1000, phantom(64, 1).clip(*CT_WINDOW), atol=1e-3)


def test_shepp_and_logan() -> None:
    original, toft = shepp_logan(256, modified=False), shepp_logan(256)
    row, column = lambda y: int((1 - y) * 128), lambda x: int((x + 1) * 128)
    for picture, skull, brain, dark, tumour in ((original, 2.0, 1.02, 1.0, 1.03), (toft, 1.0, 0.2, 0.0, 0.3)):
        assert picture[0, 0] == 0
        assert picture[row(-0.9), column(0)] == pytest.approx(skull)
        assert picture[row(-0.4), column(0)] == pytest.approx(brain)
        assert picture[row(0.0), column(-0.22)] == pytest.approx(dark)
        assert picture[row(0.45), column(0)] == pytest.approx(tumour)
    # The integral is the sum of the ellipses' areas times their values.
    for modified, picture in ((False, original), (True, toft)):
        total = sum(value * np.pi * ellipse.a * ellipse.b for value, ellipse in shepp_logan_ellipses(modified))
        assert picture.mean() * 4 == pytest.approx(total, rel=2e-3)
