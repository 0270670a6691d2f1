"""What the fast method costs a network: real weights on 200 photographs of several sizes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Iterator, Optional
from zipfile import ZipFile

import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.factory import open_backend
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import (
    FAST_MEAN_ERROR, FAST_P999_ERROR, Resizer)

pytestmark = pytest.mark.slow

#: Shorter side of the photographs; None leaves them as they are.
SIDES = [None, 240, 1080]
#: Over all sizes, and of each; the pictures that differ are ties between two classes.
MIN_AGREEMENT, MIN_AGREEMENT_OF_A_SIZE = 0.99, 0.98
BATCH = 8


@pytest.fixture(scope='module')
def backend(efficientnet_lite0: Path) -> Iterator[Backend]:
    """Return EfficientNet-Lite0 with its real weights, opened."""
    with open_backend(efficientnet_lite0, 'onnxruntime', max_batch_size=2 * BATCH,
                      num_buffers=1, threads=2) as opened:
        yield opened


@pytest.fixture(scope='module')
def photographs(shared_data: Path) -> list[Image.Image]:
    """Return the photographs in the order of their names, RGB."""
    with ZipFile(shared_data / 'imagenet-200.zip') as archive:
        names = sorted(name for name in archive.namelist() if name.endswith('.JPEG'))
        return [Image.open(BytesIO(archive.read(name))).convert('RGB') for name in names]


def with_short_side(photograph: Image.Image, side: Optional[int]) -> Image.Image:
    """Return a photograph enlarged or shrunk, its proportions kept."""
    if side is None:
        return photograph
    factor = side / min(photograph.size)
    return photograph.resize(
        (round(photograph.width * factor), round(photograph.height * factor)),
        Image.Resampling.BICUBIC)


def reference(picture: Image.Image) -> np.ndarray:
    """Return RGB pixels as torchvision's Resize(256, bicubic) and CenterCrop(224) give them."""
    width, height = picture.size
    size = (
        (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256))
    resized = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    return np.asarray(resized.crop((left, top, left + 224, top + 224)))


@pytest.mark.parametrize('side', [*SIDES, 480])
@pytest.mark.parametrize('jpeg', [False, True], ids=['pixels', 'jpeg'])
def test_fast_stays_within_its_bounds(
        photographs: list[Image.Image], side: Optional[int], jpeg: bool) -> None:
    fast = Resizer(ResizeRule(256, 224, 224, 'bicubic'), 'fast')
    out = np.empty((224, 224, 3), np.uint8)
    means, tails = [], []
    for photograph in photographs:
        picture = with_short_side(photograph, side)
        frame = Frame(np.asarray(picture), 'rgb')
        if jpeg:
            file = BytesIO()
            picture.save(file, 'JPEG', quality=90)
            picture, frame = Image.open(file), decode_compressed(file.getvalue(), fast.decode_side)
        fast.resize(frame, out)
        difference = np.abs(out.astype(int) - reference(picture))
        means.append(difference.mean())
        tails.append(np.percentile(difference, 99.9))
    assert max(means) <= FAST_MEAN_ERROR
    assert max(tails) <= FAST_P999_ERROR
    assert np.mean(np.array(means) <= 1) >= 0.9
    assert np.mean(np.array(tails) <= 12) >= 0.99


def test_fast_and_reference_name_the_same_classes(
        backend: Backend, photographs: list[Image.Image]) -> None:
    fast = Resizer(backend.spec.resize, 'fast')
    slots, agreements = backend.buffer(), {}
    for side in SIDES:
        equal = 0
        for first in range(0, len(photographs), BATCH):
            pictures = [
                with_short_side(photograph, side)
                for photograph in photographs[first:first + BATCH]]
            for slot, picture in enumerate(pictures):
                fast.resize(Frame(np.asarray(picture), 'rgb'), slots[slot])
                slots[len(pictures) + slot] = reference(picture)
            classes = backend.infer(2 * len(pictures)).argmax(axis=1)
            equal += int((classes[:len(pictures)] == classes[len(pictures):]).sum())
        agreements[side] = equal / len(photographs)
    print(agreements)
    assert sum(agreements.values()) / len(SIDES) >= MIN_AGREEMENT
    assert min(agreements.values()) >= MIN_AGREEMENT_OF_A_SIZE
    assert agreements[None] >= MIN_AGREEMENT


def test_jpegs_decoded_at_reduced_size_name_the_same_classes(
        backend: Backend, photographs: list[Image.Image]) -> None:
    """As the node does it with 1080p frames: libjpeg leaves out what the resize has no use for."""
    fast = Resizer(backend.spec.resize, 'fast')
    slots, batch = backend.buffer(), 2 * BATCH // 3
    like_whole = like_reference = 0
    for first in range(0, len(photographs), batch):
        chosen = photographs[first:first + batch]
        count = len(chosen)
        for slot, photograph in enumerate(chosen):
            file = BytesIO()
            with_short_side(photograph, 1080).save(file, 'JPEG', quality=90)
            reduced = decode_compressed(file.getvalue(), fast.decode_side)
            assert min(reduced.pixels.shape[:2]) == 540
            fast.resize(reduced, slots[slot])
            fast.resize(decode_compressed(file.getvalue()), slots[count + slot])
            with Image.open(file) as whole:
                slots[2 * count + slot] = reference(whole)
        classes = backend.infer(3 * count).argmax(axis=1).reshape(3, count)
        like_whole += int((classes[0] == classes[1]).sum())
        like_reference += int((classes[0] == classes[2]).sum())
    print(like_whole / len(photographs), like_reference / len(photographs))
    assert like_whole / len(photographs) >= MIN_AGREEMENT
    assert like_reference / len(photographs) >= MIN_AGREEMENT_OF_A_SIZE
