"""TrivialAugment: each kind alters what it names, and nothing else."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
import pytest
from resnet_trt_node.training.data.augment import crop_and_resize, plan_epoch
from resnet_trt_node.training.data.trivial_augment import alter_tones, draw_alterations, KINDS
from resnet_trt_node.training.settings import TrainingSettings
import torch

pytestmark = pytest.mark.slow

NEUTRAL = (1.0, 256.0, 1.0, 0.0)
WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
CPU = torch.device('cpu')


def photograph(side: int = 32) -> np.ndarray:
    """Return uint8 (side, side, 3), smooth with some noise, values 20 to 200."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:side, :side] / side
    smooth = np.stack([rows, columns, rows * columns], axis=-1) * 160 + 20
    return (smooth + random.integers(0, 20, smooth.shape)).astype(np.uint8)


def altered(picture: np.ndarray, tones: tuple[float, ...]) -> np.ndarray:
    """Return float32 (H, W, 3)."""
    pictures = torch.from_numpy(picture).permute(2, 0, 1).float()[None]
    return alter_tones(pictures, torch.tensor([tones]))[0].permute(1, 2, 0).numpy()


def test_neutral_tones_change_nothing():
    picture = photograph()
    np.testing.assert_allclose(altered(picture, NEUTRAL), picture, atol=1e-3)


@pytest.mark.parametrize(('tones', 'expected'), [
    ((16.0, 256.0, 1.0, 0.0), lambda one: ImageOps.posterize(one, 4)),
    ((1.0, 100.0, 1.0, 0.0), lambda one: ImageOps.solarize(one, 100)),
    ((1.0, 256.0, 1.0, 1.0), ImageOps.autocontrast),
], ids=['posterize', 'solarize', 'autocontrast'])
def test_tones_are_those_of_pillow(tones, expected):
    picture = photograph()
    reference = np.asarray(expected(Image.fromarray(picture)), np.float32)
    assert np.abs(altered(picture, tones) - reference).max() <= 1.0  # Pillow rounds
    assert np.abs(reference - picture).max() > 5


@pytest.mark.parametrize('factor', [0.1, 1.9])
def test_sharpness_is_that_of_pillow_but_for_the_border(factor):
    picture = photograph()
    reference = np.asarray(ImageEnhance.Sharpness(Image.fromarray(picture)).enhance(factor))
    result = altered(picture, (1.0, 256.0, factor, 0.0))
    assert np.abs(result - reference)[1:-1, 1:-1].max() <= 2.0
    smooth = np.asarray(Image.fromarray(picture).filter(ImageFilter.SMOOTH), np.float32)
    blurred = altered(picture, (1.0, 256.0, 0.0, 0.0))
    assert np.abs(blurred - smooth)[1:-1, 1:-1].max() <= 1.0


def test_a_flat_picture_is_not_stretched():
    flat = np.full((8, 8, 3), 70, np.uint8)
    np.testing.assert_allclose(altered(flat, (1.0, 256.0, 1.0, 1.0)), flat, atol=1e-3)


def test_each_kind_alters_its_own_numbers_within_its_range():
    drawn = draw_alterations(np.random.default_rng(1), 20000)
    identity = np.eye(2, 3, dtype=np.float32)
    warped = np.abs(drawn.warps - identity).max((1, 2)) > 0
    coloured = np.abs(drawn.colours - 1).max(1) > 0
    toned = np.abs(drawn.tones - np.array(NEUTRAL, np.float32)).max(1) > 0
    shares = [float(one.mean()) for one in (warped, coloured, toned)]
    assert not np.any(warped & coloured | warped & toned | coloured & toned)
    # A posterize of 8 bits changes nothing: a twelfth of its draws.
    assert shares == pytest.approx([5 / len(KINDS), 3 / len(KINDS), 4 / len(KINDS)], abs=0.02)
    assert np.abs(drawn.warps[:, :, 2]).max() == pytest.approx(2 * 150 / 331, rel=0.01)
    determinants = np.linalg.det(drawn.warps[:, :, :2])
    np.testing.assert_allclose(determinants, 1, atol=1e-5)  # turned and sheared, never scaled
    assert 0.01 <= drawn.colours.min() < 0.05
    assert 1.95 < drawn.colours.max() <= 1.99
    assert set(np.unique(drawn.tones[:, 0])) == {2.0 ** bits for bits in range(7)}


def test_a_turn_by_a_right_angle_turns_the_picture():
    picture = torch.from_numpy(photograph())
    warp = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    result = crop_and_resize(picture[None], WHOLE, warp, 32)[0].permute(1, 2, 0)
    torch.testing.assert_close(
        result, torch.rot90(picture, 1, (0, 1)).float(), rtol=0, atol=1e-2)


def test_a_moved_crop_shows_what_lies_beyond_its_box():
    picture = torch.from_numpy(photograph(32))
    box = torch.tensor([[0.25, 0.25, 0.5, 0.5]])
    warp = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])  # by half of half a side: 4 pixels
    moved = crop_and_resize(picture[None], box, warp, 16)[0]
    there = crop_and_resize(
        picture[None], torch.tensor([[0.375, 0.25, 0.5, 0.5]]), torch.eye(2, 3)[None], 16)[0]
    torch.testing.assert_close(moved, there, rtol=0, atol=1e-2)


def test_an_epoch_with_it_is_decided_by_seed_and_number_and_keeps_the_rest():
    settings = TrainingSettings(seed=4, auto_augment='trivial', mix='cutmix')
    first, again = (plan_epoch(settings, 256, 4, 2, CPU) for _ in range(2))
    plain = plan_epoch(TrainingSettings(seed=4, mix='cutmix'), 256, 4, 2, CPU)
    for name in ('warps', 'colours', 'tones'):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert (plain.colours, plain.tones) == (None, None)
    assert torch.equal(first.crops, plain.crops)
    assert first.places == plain.places
    mirrored = plain.warps[:, 0, 0] < 0
    turned = torch.linalg.det(first.warps[:, :, :2]) < 0
    assert torch.equal(mirrored, turned)
