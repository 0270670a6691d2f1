"""A picture that the device may bring to the model's input, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Optional, TYPE_CHECKING, Union

from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.on_device.device_rows import DeviceRows
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.grid import Grid, plan_grid
from resnet_trt_node.imaging.on_device.source import plan_source, Source
from resnet_trt_node.imaging.raw.encodings import RawImage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PlannedPicture:
    """
    A picture for one row of a batch.

    :param picture: pixels of a message, or a picture that is to be decoded.
    :param grid: how it becomes the row.
    """

    picture: Union[Source, EncodedPicture]
    grid: Grid

    def put(
            self, rows: DeviceRows, place: int,
            write: Callable[[NDArray[np.uint8]], None]) -> str:
        """
        Have the device write a row.

        :param rows: of a batch buffer.
        :param place: which of these.
        :param write: see `fall_back` of `DeviceRows.put_encoded`.
        :returns: 'raw' or 'jpeg', what it makes the row of; '' where it does not.
        """
        picture, grid = self.picture, self.grid
        if isinstance(picture, EncodedPicture):
            # It may have been planned for a backend that decoded, before one that does not.
            if not rows.decodes:
                return ''
            rows.put_encoded(place, picture, grid, write)
            return 'jpeg'
        return 'raw' if rows.put(place, picture, grid, grid.rows, grid.columns) else ''


def plan_picture(
        picture: Union[RawImage, EncodedPicture, None],
        rule: ResizeRule) -> Optional[PlannedPicture]:
    """
    Plan how a whole picture becomes a row.

    :param picture: what the device may convert, see `pictures`.
    :param rule: by which it does.
    :returns: None where only the CPU can.
    """
    if picture is None:
        return None
    source = plan_source(picture) if isinstance(picture, RawImage) else picture
    grid = plan_grid(rule, picture.height, picture.width)
    return None if source is None or grid is None else PlannedPicture(source, grid)
