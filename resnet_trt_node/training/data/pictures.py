"""Pictures to train with: all of them on the device, or decoded again by threads."""

from __future__ import annotations

from dataclasses import dataclass
import itertools
import os
from typing import Callable, Iterable, Iterator, Sequence, TYPE_CHECKING, Union

import numpy as np
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.datasets.class_folders import ClassFolders, CorruptPicture, decoded
from resnet_trt_node.datasets.labelled import spread
from resnet_trt_node.datasets.table import LabelledPicture
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
class StoredPictures:
    """
    N pictures in one tensor: a data set, or a batch of one.

    :param pictures: uint8 (N, H, W, 3), RGB; those to train with are stretched to a square.
    :param aspects: float32 (N,), width by height of the originals.
    :param targets: int64 (N,).
    """

    pictures: torch.Tensor
    aspects: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        """Return N."""
        return len(self.targets)

    def to(self, device: torch.device) -> StoredPictures:
        """Return them on a device; a copy from page-locked memory is not waited for."""
        return StoredPictures(
            self.pictures.to(device, non_blocking=True), self.aspects.to(device),
            self.targets.to(device))

    def batches(self, order: torch.Tensor, size: int) -> Iterator[StoredPictures]:
        """
        Yield batches of `size` pictures; those that fill no batch are left out.

        :param order: int64 (N,), on the CPU.
        :param size: at most N.
        """
        # One copy an epoch: each copy of a small tensor would wait for the device.
        order = order.to(self.targets.device)
        for start in range(0, len(order) - size + 1, size):
            part = order[start:start + size]
            yield StoredPictures(
                self.pictures.index_select(0, part), self.aspects.index_select(0, part),
                self.targets.index_select(0, part))


@dataclass(frozen=True)
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

    data: ClassFolders
    items: Sequence[LabelledPicture]
    side: int
    device: torch.device
    workers: int

    def __len__(self) -> int:
        """Return N."""
        return len(self.items)

    def batches(self, order: torch.Tensor, size: int) -> Iterator[StoredPictures]:
        """
        Yield batches, see `StoredPictures`; the next ones are decoded meanwhile.

        :raises DataError: if a picture became unreadable after it was looked at.
        """
        numbers = order[:len(order) // size * size].tolist()
        resizer = Resizer(square(self.side), 'exact')
        shrunk = decoded(
            [self.items[number] for number in numbers],
            lambda item: _resized(
                resizer, self.data.store.frame(item.name, reduced_to=self.side)),
            self.workers)
        while found := list(itertools.islice(shrunk, size)):
            # Page-locked, so that the copy to a GPU does not wait for what is computed there.
            batch, corrupt = _gather(
                found, size, resizer.rule, pinned=self.device.type == 'cuda')
            if corrupt:
                raise DataError(
                    f'{corrupt[0].name} cannot be read any more ({corrupt[0].reason}): do not '
                    'change pictures while they are trained with; fix it and --resume')
            yield batch.to(self.device)


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
        threads: int) -> tuple[StoredPictures, list[CorruptPicture]]:
    """
    Decode and resize pictures once.

    :param data: the data set.
    :param items: which of its pictures.
    :param rule: how they are resized.
    :param method: 'fast' or 'exact', see `Resizer`.
    :param step: called after each picture.
    :param threads: see `decoded`.
    :returns: the pictures, and those that could not be decoded.
    """
    resizer = Resizer(rule, method)
    found = decoded(items, lambda item: _resized(resizer, data.frame(item)), threads)
    return _gather(found, len(items), rule, step)


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


def _gather(
        found: Iterable[tuple[LabelledPicture, Union[_Resized, CorruptPicture]]], count: int,
        rule: ResizeRule, step: Callable[[], None] = lambda: None,
        pinned: bool = False) -> tuple[StoredPictures, list[CorruptPicture]]:
    """Collect so many pictures in one tensor, and those that could not be decoded."""
    pixels = torch.empty(
        (count, rule.crop_height, rule.crop_width, 3), dtype=torch.uint8, pin_memory=pinned)
    aspects: list[float] = []
    targets: list[int] = []
    corrupt: list[CorruptPicture] = []
    for item, result in found:
        if isinstance(result, CorruptPicture):
            corrupt.append(result)
        else:
            pixels[len(targets)] = torch.from_numpy(result[0])
            aspects.append(result[1])
            targets.append(item.target)
        step()
    return StoredPictures(
        pixels[:len(targets)], torch.tensor(aspects, dtype=torch.float32),
        torch.tensor(targets, dtype=torch.int64)), corrupt
