"""Labelled crops: a table of boxes in pictures, and of what each shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
import re
from typing import Any, Mapping, Optional, Sequence, TYPE_CHECKING, Union

from resnet_trt_node.cli.arguments.shared import CROP_COLUMNS
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.datasets.labelled import PictureSet, read_table, RowWriter
from resnet_trt_node.datasets.picture_file import PictureFile
from resnet_trt_node.datasets.table import LabelledPicture
from resnet_trt_node.errors import DataError, FrameError
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.grid import Grid
from resnet_trt_node.imaging.resize import ResizeMethod
from resnet_trt_node.regions.crop import RegionCropper
from resnet_trt_node.regions.region import Box, Region
from resnet_trt_node.regions.selection import RegionRules, select

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: These may be there as well; ids are not used.
_OTHERS = ('theta', 'id')
_NUMBERS = ('center_x', 'center_y', 'width', 'height', 'theta')
_FORM = f'name the columns in its first line: {", ".join(CROP_COLUMNS)}, and theta if there is one'


class UnusableCrop(FrameError):
    """
    A box of which nothing can be cropped.

    :param outcome: why, one of `region.UNUSABLE`.
    :param crop: which.
    """

    def __init__(self, outcome: str, crop: LabelledPicture) -> None:
        super().__init__(
            f'{crop.describe()}: the box is {outcome.replace("_", " ")}: fix the table')
        self.outcome = outcome


@dataclass(frozen=True)
class LabelledCrop(LabelledPicture):
    """
    One line of the table.

    :param box: of the picture.
    :param line: which line it is.
    """

    box: Box
    line: int

    @property
    def place(self) -> dict[str, Any]:
        """Return which one it is, for JSON."""
        return {'file': self.name, 'line': self.line}

    def describe(self) -> str:
        """Return which one it is, for messages."""
        return f'{self.name} (line {self.line})'


class LabelledCrops(PictureSet):
    """
    Crops of pictures in a folder or zip file, by a table of boxes and classes.

    The table's first line names its columns, which tabs separate: `CROP_COLUMNS`, and `theta`
    where
    boxes are rotated; an `id` is ignored. A class is a name or an index. Blank lines and a
    byte-order mark are ignored.

    :param images: see `PictureStore`.
    :param table: the table.
    :param labels: class names of the model.
    :param rules: what is cropped, and what is too small.
    :param max_bytes: see `PictureStore`.
    :raises DataError: if pictures or table cannot be read, a line is malformed, a class is not the
        model's, a file is missing, or the table is empty.
    """

    noun = 'crop'

    def __init__(
            self, images: Union[str, Path], table: Union[str, Path], labels: Sequence[str],
            rules: RegionRules, max_bytes: int) -> None:
        super().__init__(images, max_bytes)
        self._rules = rules
        # Crops of one picture follow each other.
        self._file = lru_cache(maxsize=1)(partial(self.store.file, keep=True))
        try:
            self.items = parse_crops(
                read_table(table, f'give --crops a table; {_FORM}'), labels, str(table))
            self._take_named(self._name_here(table), str(table))
        except BaseException:
            self.close()
            raise

    def frame(self, item: LabelledPicture) -> Frame:
        """Decode the whole picture of a crop; the one before is kept."""
        return self._file(item.name).frame()

    def file(self, item: LabelledPicture, keep: bool) -> PictureFile:
        """Return the file of a crop's picture; it is one for the crops that follow each other."""
        return self._file(item.name)

    def writer(self, spec: ModelSpec, method: ResizeMethod) -> RowWriter:
        """Return what brings crops to the input of a model; it raises `UnusableCrop`."""
        return _CropWriter(self._rules, RegionCropper(
            spec.resize, method, self._rules.aspect, self._rules.margin))


class _CropWriter(RowWriter):
    """Brings crops to the input of a model."""

    def __init__(self, rules: RegionRules, cropper: RegionCropper) -> None:
        self._rules = rules
        self._cropper = cropper

    def write(self, item: LabelledPicture, frame: Frame, row: NDArray[np.uint8]) -> None:
        self._cropper.crop(frame, self._box(item, *frame.size), row)

    def grid(self, item: LabelledPicture, height: int, width: int) -> Optional[Grid]:
        return self._cropper.grid(self._box(item, height, width), height, width)

    def _box(self, item: LabelledPicture, height: int, width: int) -> Box:
        assert isinstance(item, LabelledCrop)
        outcome, = select([Region(item.box)], self._rules, height, width)
        if outcome is not None:
            raise UnusableCrop(outcome, item)
        return item.box


def parse_crops(text: str, labels: Sequence[str], where: str) -> tuple[LabelledCrop, ...]:
    """
    Read a table of boxes and classes.

    :param text: its text.
    :param labels: class names of the model; what is one of them is no index.
    :param where: what the table is called in messages.
    :raises DataError: see `LabelledCrops`.
    """
    index = {label: number for number, label in enumerate(labels)}
    lines = [[cell.strip() for cell in line.split('\t')] for line in text.splitlines()]
    columns = [name.lower() for name in lines[0]] if lines else []
    unknown = [name for name in columns if name not in (*CROP_COLUMNS, *_OTHERS)]
    lacking = [name for name in CROP_COLUMNS if name not in columns]
    if unknown or lacking or len(set(columns)) < len(columns):
        found = f'lacks {", ".join(lacking)}' if lacking else (
            f'has {", ".join(map(repr, unknown))}' if unknown else 'names a column twice')
        raise DataError(f'{where}, line 1: the header {found}: {_FORM}')
    crops = []
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cells):
            continue
        place = f'{where}, line {number}'
        if len(cells) != len(columns):
            raise DataError(
                f'{place}: {len(cells)} cells, the header has {len(columns)}: separate them by '
                'tabs')
        row = dict(zip(columns, cells))
        if not row['file']:
            raise DataError(f'{place}: the file is empty: name a picture')
        crops.append(LabelledCrop(
            row['file'], _target(row['class'], index, place), _box(row, place), number))
    if not crops:
        raise DataError(f'{where} has no crops: write one on each line after the header')
    return tuple(crops)


def _target(text: str, index: Mapping[str, int], place: str) -> int:
    if text in index:
        return index[text]
    if re.fullmatch('[0-9]{1,9}', text) and int(text) < len(index):
        return int(text)
    raise DataError(
        f'{place}: class {text!r} is not one of the model: write a name as `resnet_trt inspect` '
        f'shows it, or an index from 0 to {len(index) - 1}')


def _box(row: Mapping[str, str], place: str) -> Box:
    numbers = []
    for name in _NUMBERS:
        # Boxes are upright where the column is missing or empty.
        text = row.get(name, '') or ('0' if name == 'theta' else '')
        try:
            numbers.append(float(text))
        except ValueError as error:
            raise DataError(f'{place}: {name} {text!r} is not a number: write pixels'
                            + (', theta in radians' if name == 'theta' else '')) from error
    return Box(*numbers)
