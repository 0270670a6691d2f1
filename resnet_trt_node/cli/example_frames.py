"""Example frames for commands that need some: generated, pictures, or those of a bag."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Callable, Optional, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.inference.frame import Frame
from resnet_trt_node.inference.picture_store import PictureStore
from resnet_trt_node.inference.pictures import SUFFIXES
from resnet_trt_node.inference.preprocess import FitMethod, Resizer
from resnet_trt_node.inference.spec import ModelSpec
from resnet_trt_node.model.frames import sample_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

GENERATED = 'generated'


def read_frames(
        source: str, topics: Optional[Sequence[str]], spec: ModelSpec, limit: int, seed: int,
        method: FitMethod = 'fast') -> tuple[NDArray[np.uint8], str]:
    """
    Read frames, fitted to a model's input.

    :param source: 'generated', a folder or zip file of pictures, a picture or a bag.
    :param topics: image topics of the bag, None for all.
    :param spec: the contract of the model.
    :param limit: how many at most, evenly spread over what is there.
    :param seed: of generated pictures.
    :param method: how pictures are fitted.
    :returns: uint8 (N, H, W, 3) RGB, owned by the caller, and where they are from in words.
    :raises UsageError: for a limit below 1, or topics without a bag.
    :raises DataError: if there are none.
    :raises FrameError: if one cannot be used.
    :raises BagError: if the bag cannot be used.
    """
    if limit < 1:
        raise UsageError(f'--limit {limit}: choose at least 1')
    if source == GENERATED:
        if topics:
            raise UsageError('--topic chooses among the topics of a bag: no bag is given')
        frames = sample_frames(limit, spec.height, spec.width, seed)
        return frames, f'{limit} generated, seed {seed}'
    loads = _stored(source, limit) if _is_store(source, topics) else _recorded(
        source, topics, limit)
    resizer = Resizer(spec.resize, method)
    frames = np.empty((len(loads), spec.height, spec.width, 3), np.uint8)
    for load, out in zip(loads, frames):
        try:
            resizer.fit(load(), out)
        except FrameError as error:
            raise FrameError(f'{error}; leave it out') from error
    return frames, f'{len(frames)} of {Path(source).name}'


def _is_store(source: str, topics: Optional[Sequence[str]]) -> bool:
    """Tell whether a source is a folder of pictures or a zip file, rather than a bag."""
    path = Path(source)
    if topics or (path.is_dir() and (path / 'metadata.yaml').exists()):
        return False
    return path.is_dir() or '.zip' in source


def _stored(source: str, limit: int) -> list[Callable[[], Frame]]:
    store = PictureStore(source)
    names = [
        name for name in store.file_names() if PurePosixPath(name).suffix.lower() in SUFFIXES
        and not any(part.startswith(('.', '__MACOSX')) for part in PurePosixPath(name).parts)]
    if not names:
        raise DataError(f'no pictures in {source}: looked for {", ".join(SUFFIXES)}')

    def loader(name: str) -> Callable[[], Frame]:
        return lambda: store.frame(name)
    return [loader(names[place]) for place in _spread(len(names), limit)]


def _recorded(
        source: str, topics: Optional[Sequence[str]], limit: int) -> list[Callable[[], Frame]]:
    # A machine that trains needs no library of bags.
    from resnet_trt_node.cli.sources import Inputs
    with Inputs([source], topics, check_pictures=True) as inputs:
        wanted = set(_spread(inputs.count, limit))
        if not wanted:
            raise DataError(f'there are no pictures in {source}')
        # The bag's messages are read as it is iterated; they outlive it.
        return [item.load for place, item in enumerate(inputs) if place in wanted]


def _spread(count: int, limit: int) -> list[int]:
    """Return places of at most `limit` of `count` things, evenly spread."""
    kept = min(count, limit)
    return [place * count // kept for place in range(kept)]
