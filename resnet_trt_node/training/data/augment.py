"""
Random crops, flips, colours and mixing of whole batches, on the device that trains.

Everything random about an epoch is drawn on the CPU before it starts, from a generator that the
seed and the epoch's number decide. So a resumed training sees what the unbroken one would have
seen, whatever the device, and no step waits for random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from typing import Optional

import numpy as np
from resnet_trt_node.onnx_tools.normalisation import IMAGENET
from resnet_trt_node.training.data.trivial_augment import draw_alterations
from resnet_trt_node.training.settings import MIXES, TrainingSettings
import torch
from torch.nn import functional

#: Aspect ratios of random crops: those of Szegedy et al., https://arxiv.org/abs/1409.4842.
RATIOS = (3 / 4, 4 / 3)
_CROP_NUMBERS = 4
_COLOUR_NUMBERS = 3
#: ITU-R BT.601, as Pillow turns colours to grey.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class EpochPlan:
    """
    The random numbers of an epoch of n pictures.

    :param order: int64 (n,), on the CPU: the pictures' indices.
    :param crops: float32 (n, 4) in [0, 1), on the device: area, aspect ratio and place.
    :param warps: float32 (n, 2, 3), on the device: where points of a picture lie in its crop, see
        `crop_and_resize`.
    :param colours: float32 (n, 3), factors of brightness, contrast and saturation; on the device;
        None where they do not vary.
    :param tones: float32 (n, 4), see `alter_tones`, on the device; None where they do not vary.
    :param shares: of each step, how much a picture keeps of itself when batches are mixed.
    :param places: of each step, where the other picture's part lies, two numbers in [0, 1).
    """

    order: torch.Tensor
    crops: torch.Tensor
    warps: torch.Tensor
    colours: Optional[torch.Tensor]
    tones: Optional[torch.Tensor]
    shares: list[float]
    places: list[list[float]]


def plan_epoch(
        settings: TrainingSettings, count: int, steps: int, epoch: int,
        device: torch.device) -> EpochPlan:
    """
    Draw an epoch's random numbers.

    :param settings: what varies, and the seed.
    :param count: pictures.
    :param steps: batches.
    :param epoch: its number, which makes it differ from the others.
    :param device: where pictures are augmented.
    """
    random = np.random.default_rng([settings.seed, epoch])
    order = torch.from_numpy(random.permutation(count))
    crops = random.random((count, _CROP_NUMBERS), np.float32)
    mirrored = (random.random(count) < 0.5) & settings.flip
    spread = random.random((count, _COLOUR_NUMBERS), np.float32) * 2 - 1
    colours = 1 + np.float32(settings.colour) * spread
    alpha = MIXES[settings.mix]
    shares = random.beta(alpha, alpha, steps).tolist() if alpha else [1.0] * steps
    places = random.random((steps, 2)).tolist()
    warps = np.repeat(np.eye(2, 3, dtype=np.float32)[None], count, axis=0)
    tones = None
    if settings.auto_augment != 'none':
        drawn = draw_alterations(random, count)
        warps, tones, colours = drawn.warps, drawn.tones, colours * drawn.colours
    warps[mirrored, :, 0] *= -1
    varied = tones is not None or settings.colour > 0
    return EpochPlan(
        order, torch.from_numpy(crops).to(device), torch.from_numpy(warps).to(device),
        torch.from_numpy(colours).to(device) if varied else None,
        None if tones is None else torch.from_numpy(tones).to(device), shares, places)


def crop_boxes(
        numbers: torch.Tensor, aspects: torch.Tensor, min_scale: float) -> torch.Tensor:
    """
    Place random crops.

    The area's share is uniform in [min_scale, 1], the logarithm of the aspect ratio uniform over
    those of `RATIOS` with which such an area fits into the picture. Where none fits, as in very
    long pictures, the crop is shrunk until it does.

    :param numbers: float32 (B, 4), uniform in [0, 1).
    :param aspects: float32 (B,), width by height of the pictures.
    :param min_scale: smallest share of the area.
    :returns: float32 (B, 4): left, top, width, height in shares of the picture's sides, within
        [0, 1].
    """
    area = min_scale + (1 - min_scale) * numbers[:, 0]
    low = torch.clamp(torch.log(area * aspects), math.log(RATIOS[0]), math.log(RATIOS[1]))
    high = torch.clamp(torch.log(aspects / area), math.log(RATIOS[0]), math.log(RATIOS[1]))
    ratio = torch.exp(low + (high - low) * numbers[:, 1])
    width, height = torch.sqrt(area * ratio / aspects), torch.sqrt(area * aspects / ratio)
    excess = torch.clamp(torch.maximum(width, height), min=1.0)
    width, height = width / excess, height / excess
    return torch.stack(
        [numbers[:, 2] * (1 - width), numbers[:, 3] * (1 - height), width, height], dim=1)


def crop_and_resize(
        pictures: torch.Tensor, boxes: torch.Tensor, warps: torch.Tensor,
        image_size: int) -> torch.Tensor:
    """
    Cut boxes out of pictures, resize them bilinearly, and mirror, turn, shear or move them.

    What such a warp shows beyond a box is what lies there in the picture; beyond the picture, its
    border.

    Where a box may shrink, twice as many points a side are sampled and averaged: pictures are at
    most about twice the output's size (see `training_data`), so that no source pixel is left out.

    :param pictures: uint8 (B, S, S, 3), any strides.
    :param boxes: float32 (B, 4), see `crop_boxes`.
    :param warps: float32 (B, 2, 3): the point (x, y) of the result, from -1 to 1 along each side,
        shows the point `warp @ (x, y, 1)` of the box, in the same measure.
    :param image_size: T.
    :returns: float32 (B, 3, T, T), values 0 to 255.
    """
    left, top, width, height = boxes.unbind(1)
    centre = torch.stack([2 * left + width - 1, 2 * top + height - 1], dim=1)
    matrix = warps * torch.stack([width, height], dim=1)[:, :, None]
    matrix = torch.cat([matrix[:, :, :2], matrix[:, :, 2:] + centre[:, :, None]], dim=2)
    factor = 2 if pictures.shape[1] > image_size else 1
    side = factor * image_size
    grid = functional.affine_grid(matrix, [len(pictures), 3, side, side], align_corners=False)
    values = functional.grid_sample(
        pictures.permute(0, 3, 1, 2).float(), grid, mode='bilinear', padding_mode='border',
        align_corners=False)
    return values if factor == 1 else functional.avg_pool2d(values, factor)


def vary_colours(pictures: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """
    Change brightness, contrast and saturation.

    :param pictures: float32 (B, 3, T, T), 0 to 255.
    :param factors: float32 (B, 3), 1 changes nothing.
    :returns: of the same kind, cut off at 0 and 255.
    """
    brightness, contrast, saturation = (one.reshape(-1, 1, 1, 1) for one in factors.unbind(1))
    pictures = pictures * brightness
    mean = _grey(pictures).mean((2, 3), keepdim=True)
    pictures = mean + contrast * (pictures - mean)
    grey = _grey(pictures)
    return torch.clamp(grey + saturation * (pictures - grey), 0, 255)


def normalise(pictures: torch.Tensor) -> torch.Tensor:
    """
    Normalise as the deployable model does.

    :param pictures: float (B, 3, T, T), 0 to 255.
    :returns: float32 of that shape, channels last in memory.
    """
    mean, scale = _constants(pictures.device)
    return ((pictures - mean) * scale).contiguous(memory_format=torch.channels_last)


def mix_batch(
        pictures: torch.Tensor, mix: str, share: float,
        place: list[float]) -> tuple[torch.Tensor, float]:
    """
    Mix each picture of a batch with the next one.

    Mixup, https://arxiv.org/abs/1710.09412, and CutMix, https://arxiv.org/abs/1905.04899.

    :param pictures: float (B, 3, T, T).
    :param mix: one of `MIXES`.
    :param share: how much a picture keeps of itself, in [0, 1].
    :param place: where the other's part lies, two numbers in [0, 1).
    :returns: the mixed pictures, and the share that the first one's class has; the other class is
        that of `torch.roll(targets, -1)`.
    """
    if mix == 'none':
        return pictures, 1.0
    others = torch.roll(pictures, -1, 0)
    if mix == 'mixup':
        return torch.lerp(others, pictures, share), share
    side = pictures.shape[-1]
    hole = round(side * math.sqrt(1 - share))
    top, left = (int(number * (side - hole + 1)) for number in place)
    mixed = pictures.clone()
    mixed[:, :, top:top + hole, left:left + hole] = others[
        :, :, top:top + hole, left:left + hole]
    return mixed, 1 - (hole / side) ** 2


def _grey(pictures: torch.Tensor) -> torch.Tensor:
    red, green, blue = pictures[:, :1], pictures[:, 1:2], pictures[:, 2:]
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and 1 / std of pixels of 0..255; copied once, since a copy waits for the GPU."""
    mean = torch.tensor(IMAGENET.mean, dtype=torch.float64) * IMAGENET.scale
    scale = 1 / (torch.tensor(IMAGENET.std, dtype=torch.float64) * IMAGENET.scale)
    return (
        mean.float().reshape(1, 3, 1, 1).to(device), scale.float().reshape(1, 3, 1, 1).to(device))
