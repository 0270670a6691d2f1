"""Writes annotated pictures: with their classes drawn on them, under unique names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.cli.support.sources import Source
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import DataError
from resnet_trt_node.imaging.annotate import annotate
from resnet_trt_node.regions.draw import annotate_regions
from resnet_trt_node.regions.region import Region, RegionAnswer

_JPEG_QUALITY = 92


class AnnotatedPictures:
    """
    A folder of annotated pictures.

    :param folder: created if it does not exist.
    :param keep: files that must not be overwritten, such as the inputs.
    :raises DataError: if the folder cannot be created.
    """

    def __init__(self, folder: Union[str, Path], keep: Iterable[Path]) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f'cannot create the folder {folder} ({error.strerror}): choose another') from error
        # Lower case, since on some file systems A.jpg and a.jpg are the same file.
        self._taken = {str(path.resolve()).lower() for path in keep}

    def write(self, source: Source, predictions: Sequence[Prediction]) -> Path:
        """
        Draw the predictions on a loaded picture and write it as a JPEG file.

        :returns: the path of the file.
        :raises UsageError: if it cannot be written.
        """
        assert source.frame is not None
        return self._save(source, annotate(source.frame, predictions))

    def write_regions(
            self, source: Source, regions: Sequence[Region],
            answers: Sequence[RegionAnswer]) -> Path:
        """
        Draw regions with their classes on a loaded picture of a bag, and write it.

        :param regions: of the picture.
        :param answers: one for each.
        :returns: the path of the file.
        :raises UsageError: if it cannot be written.
        """
        assert source.frame is not None
        assert source.image is not None
        return self._save(source, annotate_regions(
            source.frame, regions, answers, source.image.stamp_ns))

    def _save(self, source: Source, pixels: NDArray[np.uint8]) -> Path:
        path = self._free(_stem(source))
        with whole_file(path) as temporary:
            Image.fromarray(pixels).save(temporary, 'JPEG', quality=_JPEG_QUALITY)
        return path

    def _free(self, stem: str) -> Path:
        number, name = 1, f'{stem}.jpg'
        while str((self._folder / name).resolve()).lower() in self._taken:
            number += 1
            name = f'{stem}-{number}.jpg'
        self._taken.add(str((self._folder / name).resolve()).lower())
        return self._folder / name


def _stem(source: Source) -> str:
    if source.video is not None:
        return f'{source.path.stem}_{source.time_ns}'
    if source.image is None:
        return f'{source.path.stem}_classified'
    topic = source.image.topic.strip('/').replace('/', '_')
    return f'{source.path.stem}_{topic}_{source.image.stamp_ns}'
