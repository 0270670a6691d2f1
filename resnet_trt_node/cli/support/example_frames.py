"""Example frames of a model's input size: generated, or read from pictures or a bag."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence

import numpy as np
from numpy.typing import NDArray

from resnet_trt_node.cli.arguments.shared import GENERATED
from resnet_trt_node.cli.support.options import print_unread
from resnet_trt_node.cli.support.sources import Inputs
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.videos import is_live
from resnet_trt_node.errors import DataError, FrameError, KeyFrameMissing, UsageError
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.imaging.resize import Resizer
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames

#: An irrational number: the fractional parts of its multiples are evenly distributed.
_STEP = 2 ** 0.5


def read_frames(
        source: str, topics: Optional[Sequence[str]], spec: ModelSpec, limit: int, seed: int,
        max_bytes: int = MAX_FILE_IMAGE_BYTES) -> tuple[NDArray[np.uint8], str]:
    """
    Read frames, resized to a model's input.

    :param source: 'generated', a folder or zip file of pictures, a picture, a video or a bag.
    :param topics: image topics of the bag, None for all.
    :param spec: the contract of the model.
    :param limit: the largest number of frames, evenly spread over the source.
    :param seed: of generated pictures.
    :param max_bytes: memory that a picture may take, decoding included.
    :returns: uint8 (N, H, W, 3) RGB, owned by the caller, and their source in words, with what is
        missing there, such as packets of video without a key frame.
    :raises UsageError: for a limit below 1, topics without a bag, or a live stream.
    :raises DataError: if there are no frames.
    :raises FrameError: if one cannot be decoded.
    :raises BagError: if the bag cannot be read.
    """
    if limit < 1:
        raise UsageError(f'--limit {limit}: choose at least 1')
    if source == GENERATED:
        if topics:
            raise UsageError('--topic chooses among the topics of a bag: no bag is given')
        frames = sample_frames(limit, spec.height, spec.width, seed)
        return frames, f'{limit} generated, seed {seed}'
    if is_live(source):
        raise UsageError('a live stream has no end to spread frames over: record it into a file')
    resizer = Resizer(spec.resize)
    resized = []
    left_out = 0
    with Inputs([source], topics, check_pictures=False, max_bytes=max_bytes) as inputs:
        print_unread(inputs.unread)
        wanted = set(_spread(inputs.count, limit))
        # One by one: a decoded frame is much larger than its resized row.
        for place, item in enumerate(inputs):
            if place not in wanted:
                continue
            row = np.empty((spec.height, spec.width, 3), np.uint8)
            try:
                resizer.resize(item.decode(), row)
            except KeyFrameMissing:
                # A recording rarely starts with a key frame.
                left_out += 1
                continue
            except FrameError as error:
                if item.video is not None:
                    raise FrameError(f'{item.describe()}: {error}; or leave it out') from error
                if item.image is None:
                    raise FrameError(f'{error}; leave it out') from error
                raise FrameError(
                    f'{item.path}, {item.describe()}: {error}; leave it out: choose other topics '
                    'with --topic') from error
            resized.append(row)
        warnings = inputs.warnings
    if left_out:
        warnings = [*warnings, f'{left_out} left out that need a key frame before them']
    if not resized:
        raise DataError('; '.join([f'no picture was read from {source}', *warnings]))
    return np.stack(resized), '; '.join([f'{len(resized)} of {Path(source).name}', *warnings])


def _spread(count: int, limit: int) -> list[int]:
    """
    Return at most `limit` of `count` places, one in each of as many equal parts.

    The offset within a part varies: every second frame of two alternating cameras would be of one
    camera.
    """
    kept = min(count, limit)
    bounds = [part * count // kept for part in range(kept)] + [count]
    return [start + int((end - start) * (part * _STEP % 1))
            for part, (start, end) in enumerate(zip(bounds, bounds[1:]))]
