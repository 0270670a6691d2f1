"""Pictures to train with: all of them on the device, or decoded again by threads."""

from __future__ import annotations

from dataclasses import dataclass
import itertools
import os
from typing import Callable, Iterator, Protocol, Sequence, TYPE_CHECKING, Union

import numpy as np
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.datasets.class_folders import ClassFolders, CorruptPicture, decoded
from resnet_trt_node.datasets.labelled import LabelledPicture, spread
from resnet_trt_node.errors import DataError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import ResizeMethod, Resizer
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    #: Pixels, uint8 (H, W, 3), and width by height of the original.
    _Resized = tuple[NDArray[np.uint8], float]

#: Pictures are kept with sides of at most so many times the network's input: a crop then is
#: shrunk by at most about that.
KEPT_SIDE = 2
#: Pictures that are looked at to find the side.
_SAMPLED = 64
#: Share of the device's free memory that pictures may take; the rest is for the training.
_MEMORY_SHARE = 0.3


@dataclass(frozen=True)
class Batch:
    """
    Pictures of a step, on the device.

    :param pictures: uint8 (B, S, S, 3), RGB, stretched to a square.
    :param aspects: float32 (B,), width by height of the original.
    :param targets: int64 (B,).
    """

    pictures: torch.Tensor
    aspects: torch.Tensor
    targets: torch.Tensor


class TrainingPictures(Protocol):
    """N pictures that come in batches."""

    def __len__(self) -> int:
        """Return N."""

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """
        Yield batches of `size` pictures; those that fill no batch are left out.

        :param order: int64 (N,), on the CPU.
        :param size: at most N.
        """


class StoredPictures:
    """
    All pictures in one tensor on the device.

    :param pictures: uint8 (N, S, S, 3).
    :param aspects: float32 (N,), width by height of the originals.
    :param targets: int64 (N,).
    """

    def __init__(
            self, pictures: torch.Tensor, aspects: torch.Tensor, targets: torch.Tensor) -> None:
        self._all = Batch(pictures, aspects, targets)

    def __len__(self) -> int:
        """Return N."""
        return len(self._all.targets)

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """Yield batches, see `TrainingPictures`."""
        # One copy an epoch: each copy of a small tensor would wait for the device.
        order = order.to(self._all.targets.device)
        for start in range(0, len(order) - size + 1, size):
            part = order[start:start + size]
            yield Batch(
                self._all.pictures.index_select(0, part),
                self._all.aspects.index_select(0, part),
                self._all.targets.index_select(0, part))


class StreamedPictures:
    """
    Pictures that threads decode and shrink whenever they are needed.

    Threads, not processes: decoding and resizing happen outside of Python's lock, and a process
    forked from one that has threads, as PyTorch and OpenCV do, may hang.

    :param data: the data set; stays open.
    :param items: its pictures.
    :param side: S, pixels a side that they are shrunk to.
    :param device: where batches go.
    :param workers: threads, 0 for one a processor.
    """

    def __init__(
            self, data: ClassFolders, items: Sequence[LabelledPicture], side: int,
            device: torch.device, workers: int) -> None:
        self._data = data
        self._items = items
        self._side = side
        self._device = device
        self._workers = workers
        self._resizer = Resizer(square(side), 'exact')

    def __len__(self) -> int:
        """Return N."""
        return len(self._items)

    def batches(self, order: torch.Tensor, size: int) -> Iterator[Batch]:
        """Yield batches, see `TrainingPictures`; the next ones are decoded meanwhile."""
        numbers = order[:len(order) // size * size].tolist()
        shrunk = decoded(
            [self._items[number] for number in numbers],
            lambda item: _resized(
                self._resizer, self._data.store.frame(item.name, reduced_to=self._side)),
            self._workers)
        while batch := list(itertools.islice(shrunk, size)):
            yield self._batch(batch)

    def _batch(
            self, found: Sequence[tuple[LabelledPicture, Union[_Resized, CorruptPicture]]]
            ) -> Batch:
        """
        Bring pictures to the device.

        :raises DataError: if one became unreadable after it was looked at.
        """
        # Page-locked, so that the copy to a GPU does not wait for what is computed there.
        pixels = torch.empty(
            (len(found), self._side, self._side, 3), dtype=torch.uint8,
            pin_memory=self._device.type == 'cuda')
        aspects = []
        for place, (_, result) in enumerate(found):
            if isinstance(result, CorruptPicture):
                raise DataError(
                    f'{result.name} cannot be read any more ({result.reason}): do not change '
                    'pictures while they are trained with; mend it and --resume')
            pixels[place] = torch.from_numpy(result[0])
            aspects.append(result[1])
        return Batch(
            pixels.to(self._device, non_blocking=True),
            torch.tensor(aspects, dtype=torch.float32).to(self._device),
            torch.tensor([item.target for item, _ in found]).to(self._device))


def square(side: int) -> ResizeRule:
    """Return the rule of pictures that are kept: stretched, so that all have one size."""
    return ResizeRule(None, side, side)


def kept_side(data: ClassFolders, image_size: int) -> int:
    """
    Return S, pixels a side that pictures are kept with.

    :param data: the data set, of which a few pictures are looked at.
    :param image_size: sides of the network's input.
    :returns: the longest side there is, at most `KEPT_SIDE` times the input's.
    """
    sides = [
        max(result.size) for _, result in decoded(spread(data.items, _SAMPLED), data.frame)
        if isinstance(result, Frame)]
    return min(max(sides, default=image_size), KEPT_SIDE * image_size)


def store(
        data: ClassFolders, items: Sequence[LabelledPicture], rule: ResizeRule,
        method: ResizeMethod, step: Callable[[], None],
        threads: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[CorruptPicture]]:
    """
    Decode and resize pictures once.

    :param data: the data set.
    :param items: which of its pictures.
    :param rule: how they are resized.
    :param method: 'fast' or 'exact', see `Resizer`.
    :param step: called after each picture.
    :param threads: see `decoded`.
    :returns: uint8 (M, H, W, 3); float32 (M,), width by height of the originals; int64 (M,),
        targets; and the pictures that could not be decoded, which M does not count.
    """
    resizer = Resizer(rule, method)
    pixels = torch.empty((len(items), rule.crop_height, rule.crop_width, 3), dtype=torch.uint8)
    aspects: list[float] = []
    targets: list[int] = []
    corrupt: list[CorruptPicture] = []

    for item, result in decoded(
            items, lambda item: _resized(resizer, data.frame(item)), threads):
        if isinstance(result, CorruptPicture):
            corrupt.append(result)
        else:
            pixels[len(targets)] = torch.from_numpy(result[0])
            aspects.append(result[1])
            targets.append(item.target)
        step()
    return pixels[:len(targets)], torch.tensor(aspects), torch.tensor(targets), corrupt


def memory_budget(device: torch.device) -> int:
    """Return how many bytes pictures may take where they are kept."""
    if device.type == 'cuda':
        return int(torch.cuda.mem_get_info(device)[0] * _MEMORY_SHARE)
    return int(os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') * _MEMORY_SHARE)


def _resized(resizer: Resizer, frame: Frame) -> _Resized:
    out = np.empty((resizer.rule.crop_height, resizer.rule.crop_width, 3), np.uint8)
    resizer.resize(frame, out)
    height, width = frame.size
    return out, width / height
