"""A compressed picture that the device may decode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_trt_node.imaging.compressed.picture_header import PictureHeader


@dataclass(frozen=True, eq=False)
class EncodedPicture:
    """
    The bytes of a picture, and what its header says; equal to itself only.

    :param data: of the message, with the buffer protocol; must not change.
    :param header: a jpeg's that was selected for the device.
    """

    data: Any
    header: PictureHeader

    @property
    def height(self) -> int:
        """Return how many rows of pixels it has."""
        return self.header.height

    @property
    def width(self) -> int:
        """Return how many pixels a row has."""
        return self.header.width

    @property
    def decoded_bytes(self) -> int:
        """Return how much memory its pixels take, RGB of 8 bits."""
        return 3 * self.height * self.width


def exceeds(pictures: Iterable[EncodedPicture], limit_bytes: int) -> bool:
    """
    Tell whether decoded pictures and one more as large as the largest would take too much.

    :param pictures: each counts once.
    :param limit_bytes: what they may take.
    """
    sizes = [picture.decoded_bytes for picture in set(pictures)]
    return bool(sizes) and sum(sizes) + max(sizes) > limit_bytes
