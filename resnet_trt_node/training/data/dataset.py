"""The data set of a training: which pictures it learns from, which it is measured on."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
import hashlib
from pathlib import Path
from typing import Callable, Collection, Optional, Sequence, Union

import numpy as np
from resnet_trt_node.closing import Closing
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.datasets.class_folders import (
    ClassFolders, CorruptPicture, find_corrupt, find_parts, refuse_corrupt)
from resnet_trt_node.datasets.listing import ending_of
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.datasets.table import LabelledPicture
from resnet_trt_node.errors import DataError, UsageError
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.text.printable import some
from resnet_trt_node.training.data.pictures import (
    kept_side, memory_budget, square, store, StoredPictures, StreamedPictures)
import torch

#: Short side before a centre crop, by the crop's side: torchvision's usual rule.
_SHORT_SIDE = 256 / 224


@dataclass(frozen=True)
class TrainingData:
    """
    What a training needs to know about its data.

    :param train: N pictures to learn from.
    :param validation: pictures that accuracy is measured on, as the deployed model will be given
        them: resized by its rule.
    :param labels: class names, C of them.
    :param rule: how the deployed model resizes pictures.
    :param fingerprint: hex digest over names, sizes and classes of all pictures.
    :param corrupt: pictures that were left out.
    :param name: of the data set, for titles.
    """

    train: Union[StoredPictures, StreamedPictures]
    validation: StoredPictures
    labels: tuple[str, ...]
    rule: ResizeRule
    fingerprint: str
    corrupt: tuple[CorruptPicture, ...] = ()
    name: str = ''

    @property
    def image_size(self) -> int:
        """Return T, the sides of the network's input."""
        return self.rule.crop_height


class DataSplit(Closing):
    """
    The pictures of a data set, divided but not decoded yet; a context manager.

    :param root: class folders in a folder or zip file, or such a data set divided into train/ and
        val/, validation/ or test/.
    :param validation: class folders to measure with; None takes those of `root`, and if it has
        none, a share of each class.
    :param share: that share.
    :param seed: of the choice.
    :param max_bytes: memory that a picture may take, decoding included.
    :raises DataError: if the data set cannot be used.
    :raises UsageError: for a share that cannot be used, or the same pictures for both.
    """

    def __init__(
            self, root: Union[str, Path], validation: Optional[Union[str, Path]] = None,
            share: float = 0.1, seed: int = 0,
            max_bytes: int = MAX_FILE_IMAGE_BYTES) -> None:
        if not 0 < share < 1:
            raise UsageError(f'--validation-split {share}: choose above 0 and below 1')
        parts = find_parts(root)
        train_root = parts.get('train', str(root))
        validation_root = parts.get('validation') if validation is None else str(validation)
        if validation_root is not None and Path(validation_root).resolve() == Path(
                train_root).resolve():
            raise UsageError(
                f'--validation is {train_root}, which is trained with: name other pictures, or '
                'leave it out to keep a share of each class')
        #: Of the data set, for titles.
        self.name = Path(root).absolute().name
        with ExitStack() as stack:
            #: What is learnt from.
            self.train = stack.enter_context(ClassFolders(train_root, None, max_bytes))
            self.train_items: Sequence[LabelledPicture] = self.train.items
            self.validation_items: Sequence[LabelledPicture]
            if validation_root is None:
                #: What is measured with.
                self.validation = self.train
                self.train_items, self.validation_items = _split(self.train, share, seed)
            else:
                self.validation = stack.enter_context(
                    ClassFolders(validation_root, self.train.classes, max_bytes))
                self.validation_items = self.validation.items
                if self.validation.absent:
                    raise DataError(
                        f'{validation_root} has no pictures of '
                        f'{some(self.validation.absent)}: add some')
            #: How many files of each kind are not read, see `describe_unread`.
            self.unread = _unread(root, {self.train, self.validation})
            self._stack = stack.pop_all()

    @property
    def count(self) -> int:
        """Return how many pictures there are in all."""
        return len(self.train_items) + len(self.validation_items)

    def close(self) -> None:
        """Close zip files."""
        self._stack.close()

    def fingerprint(self) -> str:
        """Return a hex digest over names, sizes and classes of all pictures."""
        digest = hashlib.sha256()
        for data, items in (
                (self.train, self.train_items), (self.validation, self.validation_items)):
            digest.update(f'{len(items)} {data.classes}\n'.encode())
            for item in items:
                size = data.store.size_bytes(item.name)
                # As os.fsencode does, but the same in every locale.
                digest.update(f'{item.name}\t{size}\t{item.target}\n'.encode(
                    'utf-8', 'surrogateescape'))
        return digest.hexdigest()


def load_data(
        split: DataSplit, image_size: int, resize: Optional[int], device: torch.device, *,
        skip_corrupt: bool = False, workers: int = 0,
        step: Callable[[], None] = lambda: None, budget: Optional[int] = None) -> TrainingData:
    """
    Decode a data set, or find out that it must be streamed.

    :param split: the pictures; must stay open while they are streamed.
    :param image_size: T, sides of the network's input.
    :param resize: short side before the centre crop of T; None takes 256/224 of T, but T for
        pictures that are smaller than that, since they show nothing that could be cut off.
    :param device: what trains.
    :param skip_corrupt: leave corrupt pictures out instead of refusing them.
    :param workers: threads that decode, 0 for one a processor.
    :param step: called after each of `split.count` pictures.
    :param budget: bytes that the pictures may take, None for a share of the free memory.
    :raises DataError: if pictures are corrupt, or nothing is left of a class.
    """
    side = kept_side(split.train, image_size)
    if resize is None:
        resize = image_size if side <= image_size else round(image_size * _SHORT_SIDE)
    rule = ResizeRule(resize, image_size, image_size)
    stored = len(split.train_items) * side * side * 3 <= (
        memory_budget(device) if budget is None else budget)
    train: Union[StoredPictures, StreamedPictures]
    if stored:
        pictures, corrupt = store(
            split.train, split.train_items, square(side), 'exact', step, workers)
        targets = set(pictures.targets.tolist())
        train = pictures.to(device)
    else:
        corrupt = find_corrupt(split.train, split.train_items, step, workers)
        bad = {one.name for one in corrupt}
        items = [item for item in split.train_items if item.name not in bad]
        targets = {item.target for item in items}
        train = StreamedPictures(split.train, items, side, device, workers)
    # 'fast' is how `resnet_trt evaluate` and the node resize pictures by default.
    validation, undecoded = store(
        split.validation, split.validation_items, rule, 'fast', step, workers)
    if not skip_corrupt:
        _refuse_corrupt(split, corrupt, undecoded)
    _check_classes(targets, set(validation.targets.tolist()), split.train.classes)
    if validation.pictures.numel() <= memory_budget(device):
        validation = validation.to(device)
    return TrainingData(
        train, validation, split.train.classes, rule, split.fingerprint(),
        (*corrupt, *undecoded), split.name)


def _refuse_corrupt(
        split: DataSplit, train: Sequence[CorruptPicture],
        validation: Sequence[CorruptPicture]) -> None:
    if split.validation is split.train:
        refuse_corrupt(([*train, *validation], split.count, split.train.store.root))
    else:
        refuse_corrupt(
            (train, len(split.train_items), split.train.store.root),
            (validation, len(split.validation_items), split.validation.store.root))


def _unread(root: Union[str, Path], parts: Collection[ClassFolders]) -> Counter[str]:
    """Count what is not read within the parts, and of the root what lies outside of them."""
    unread = sum((part.unread for part in parts), Counter[str]())
    folders = tuple(
        f'{part.store.root.relative_to(root).as_posix()}/' for part in parts
        if Path(root) in part.store.root.parents)
    if folders:
        with PictureStore(root) as store:
            listing = store.listing
        outside = {**{name: ending_of(name) for name in listing.pictures}, **listing.unread}
        unread.update(
            kind for name, kind in outside.items() if not name.startswith(folders))
    return unread


def _split(
        data: ClassFolders, share: float,
        seed: int) -> tuple[Sequence[LabelledPicture], Sequence[LabelledPicture]]:
    """Take a share of each class, at least one picture, and leave at least one."""
    random = np.random.default_rng(seed)
    chosen: set[str] = set()
    by_class: dict[int, list[LabelledPicture]] = {}
    for item in data.items:
        by_class.setdefault(item.target, []).append(item)
    for target, items in sorted(by_class.items()):
        if len(items) < 2:
            raise DataError(
                f'class {data.classes[target]} has one picture only: one to learn from and one to '
                'measure with are needed; add pictures, or name others with --validation')
        count = min(max(1, round(share * len(items))), len(items) - 1)
        chosen.update(items[place].name for place in random.permutation(len(items))[:count])
    return (
        [item for item in data.items if item.name not in chosen],
        [item for item in data.items if item.name in chosen])


def _check_classes(
        train: set[int], validation: set[int], labels: tuple[str, ...]) -> None:
    for targets, what in ((train, 'to train with'), (validation, 'to validate with')):
        empty = [name for index, name in enumerate(labels) if index not in targets]
        if empty:
            raise DataError(
                f'without its corrupt pictures, nothing is left {what} of {some(empty)}: fix '
                'them')
