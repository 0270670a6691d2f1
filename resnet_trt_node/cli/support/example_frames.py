"""Example frames for commands that need some: generated, pictures, or those of a bag."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Generator, Optional, Sequence, TYPE_CHECKING

import numpy as np

from resnet_trt_node.bag.storage.names import is_bag
from resnet_trt_node.cli.support.options import print_unread
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.listing import count_unread, describe_unread
from resnet_trt_node.datasets.pictures import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.errors import DataError, FrameError, UsageError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.resize import FitMethod, Resizer
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

GENERATED = 'generated'
Pictures = Generator[Frame, None, None]
#: Its multiples fall evenly between whole numbers.
_STEP = 2 ** 0.5


def read_frames(
        source: str, topics: Optional[Sequence[str]], spec: ModelSpec, limit: int, seed: int,
        method: FitMethod = 'fast',
        max_bytes: int = MAX_FILE_IMAGE_BYTES) -> tuple[NDArray[np.uint8], str]:
    """
    Read frames, fitted to a model's input.

    :param source: 'generated', a folder or zip file of pictures, a picture or a bag.
    :param topics: image topics of the bag, None for all.
    :param spec: the contract of the model.
    :param limit: how many at most, evenly spread over what is there.
    :param seed: of generated pictures.
    :param method: how pictures are fitted.
    :param max_bytes: memory that a picture may take, decoding included.
    :returns: uint8 (N, H, W, 3) RGB, owned by the caller, and where they are from in words, with
        what is missing there.
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
    if not source:
        raise DataError('no pictures are named: name a folder, a zip file or a bag')
    warnings: list[str] = []
    pictures = _stored(source, limit, max_bytes) if _is_store(source, topics) else _recorded(
        source, topics, limit, max_bytes, warnings)
    resizer = Resizer(spec.resize, method)
    fitted = []
    # One by one: the frames of a bag are many times as large as what is made of them.
    with closing(pictures):
        for picture in pictures:
            fitted.append(np.empty((spec.height, spec.width, 3), np.uint8))
            resizer.fit(picture, fitted[-1])
    if not fitted:
        raise DataError('; '.join([f'no picture was read from {source}', *warnings]))
    return np.stack(fitted), '; '.join([f'{len(fitted)} of {Path(source).name}', *warnings])


def _is_store(source: str, topics: Optional[Sequence[str]]) -> bool:
    """Tell whether a source is a folder of pictures or a zip file, rather than a bag."""
    path = Path(source)
    if topics:
        return False
    if path.is_dir():
        return not is_bag(path)
    return any(place.is_file() and place.suffix.lower() == '.zip'
               for place in (path, *path.parents))


def _stored(source: str, limit: int, max_bytes: int) -> Pictures:
    with PictureStore(source, max_bytes) as store:
        names = store.listing.pictures
        unread = count_unread(store.listing)
        if not names:
            raise DataError('; '.join(filter(None, [
                f'there are no pictures in {source}', describe_unread(unread)])))
        print_unread(unread)
        for place in _spread(len(names), limit):
            try:
                yield store.frame(names[place])
            except FrameError as error:
                raise FrameError(f'{error}; leave it out') from error


def _recorded(
        source: str, topics: Optional[Sequence[str]], limit: int, max_bytes: int,
        warnings: list[str]) -> Pictures:
    """Yield pictures; what is missing of a bag is added to the warnings at the end."""
    # A machine that trains needs no library of bags.
    from resnet_trt_node.cli.support.sources import Inputs
    with Inputs([source], topics, check_pictures=False, max_bytes=max_bytes) as inputs:
        print_unread(inputs.unread)
        wanted = set(_spread(inputs.count, limit))
        if not wanted:
            raise DataError(f'there are no pictures in {source}')
        for place, item in enumerate(inputs):
            if place not in wanted:
                continue
            try:
                yield item.load()
            except FrameError as error:
                if item.image is None:
                    raise FrameError(f'{error}; leave it out') from error
                raise FrameError(
                    f'{item.path}, {item.describe()}: {error}; leave it out: choose other topics '
                    'with --topic') from error
        warnings += inputs.warnings


def _spread(count: int, limit: int) -> list[int]:
    """
    Return places of at most `limit` of `count` things, one in each of as many equal parts.

    Where in a part varies from part to part: every second frame of two cameras in turn would be
    those of one.
    """
    kept = min(count, limit)
    bounds = [part * count // kept for part in range(kept)] + [count]
    return [start + int((end - start) * (part * _STEP % 1))
            for part, (start, end) in enumerate(zip(bounds, bounds[1:]))]
