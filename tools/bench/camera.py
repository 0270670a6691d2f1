"""What a synthetic camera sends; shared by the processes, free of ROS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
import json

import numpy as np
from numpy.typing import NDArray

#: How much redder the right edge is than the left, for a camera with regions.
RED_RAMP = 30
#: Class of every region as the detector tells it.
DETECTED_CLASS = 'object'
#: Shortest and longest side of a region.
_BOX_SIDES = (40, 200)


@dataclass(frozen=True)
class Box:
    """
    A region that a detector would find, in whole pixels, within the picture.

    :param left: first column.
    :param top: first row.
    :param width: columns.
    :param height: rows.
    """

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Camera:
    """
    One synthetic camera.

    :param name: its name under the receiving node's namespace.
    :param receiver: namespace of the node that shall receive it.
    :param width: pixels.
    :param height: pixels.
    :param rate_hz: frames a second.
    :param encoding: of sensor_msgs/Image: bgr8, rgb8 or mono8.
    :param jpeg: whether it sends sensor_msgs/CompressedImage instead.
    :param red: the mean red value of every frame, by which the answer to it is recognised.
    :param best_effort: whether its publisher offers no more.
    :param regions: how many regions are sent with every frame, as vision_msgs/Detection2DArray; 0
        for no such message. `red` is that of the left edge then, so that regions differ.
    """

    name: str
    receiver: str = 'ours'
    width: int = 640
    height: int = 480
    rate_hz: float = 30.0
    encoding: str = 'bgr8'
    jpeg: bool = False
    red: int = 100
    best_effort: bool = False
    regions: int = 0

    @property
    def key(self) -> str:
        """Return what names this camera among those of all receivers."""
        return f'{self.receiver}/{self.name}'

    @property
    def image_topic(self) -> str:
        """Return the full topic of its images."""
        return f'/{self.key}/image/compressed' if self.jpeg else f'/{self.key}/image'

    @property
    def result_topic(self) -> str:
        """Return the full topic of the answers to it."""
        return f'/{self.key}/{"classified_detections" if self.regions else "classification"}'

    @property
    def detections_topic(self) -> str:
        """Return the full topic of its regions."""
        return f'/{self.key}/detections'

    def boxes(self) -> list[Box]:
        """Return its regions, at random but always the same ones."""
        random = np.random.default_rng(self.red)
        low, high = _BOX_SIDES
        boxes = []
        for _ in range(self.regions):
            width, height = map(int, random.integers(low, high + 1, 2))
            boxes.append(Box(
                int(random.integers(0, self.width - width + 1)),
                int(random.integers(0, self.height - height + 1)), width, height))
        return boxes

    def expected(self, box: Box) -> int:
        """Return the mean red value of a region, by which the answer to it is recognised."""
        return round(float(self._reds()[box.left:box.left + box.width].mean()))

    def _reds(self) -> NDArray[np.uint8]:
        """Return the red value of each column."""
        ramp = np.linspace(0, RED_RAMP if self.regions else 0, self.width)
        return (self.red + ramp).round().astype(np.uint8)

    def picture(self) -> NDArray[np.uint8]:
        """
        Return its picture in the order of its encoding: even red, shaded and noisy otherwise.

        :returns: uint8 (height, width, 3), or (height, width) for mono8.
        """
        random = np.random.default_rng(self.red)
        rows = np.linspace(40, 215, self.height)[:, None] + np.zeros(self.width)
        noise = random.integers(-8, 9, (self.height, self.width))
        shaded = np.clip(rows + noise, 0, 255).astype(np.uint8)
        if self.encoding == 'mono8':
            return np.full_like(shaded, self.red)
        red = np.broadcast_to(self._reds(), shaded.shape)
        planes = [red, shaded, shaded[::-1]]
        return np.ascontiguousarray(
            np.stack(planes if self.encoding == 'rgb8' else planes[::-1], axis=-1))


def several(
        number: int, receiver: str = 'ours', rate_hz: float = 30.0, width: int = 640,
        height: int = 480, best_effort: bool = False, regions: int = 0) -> list[Camera]:
    """Return cameras c0, c1, ... of one kind with red values far apart."""
    one = Camera('', receiver, width, height, rate_hz, best_effort=best_effort, regions=regions)
    return [replace(one, name=f'c{index}', red=20 + 35 * index) for index in range(number)]


def to_json(cameras: Iterable[Camera]) -> str:
    """Return cameras as text for another process."""
    return json.dumps([asdict(camera) for camera in cameras])


def from_json(text: str) -> list[Camera]:
    """Return the cameras that `to_json` wrote."""
    return [Camera(**fields) for fields in json.loads(text)]
