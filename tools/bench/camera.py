"""What a synthetic camera sends; shared by the processes, free of ROS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
import json

import numpy as np
from numpy.typing import NDArray


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
        return f'/{self.key}/classification'

    def picture(self) -> NDArray[np.uint8]:
        """
        Return its picture in the order of its encoding: constant red, shaded and noisy otherwise.

        :returns: uint8 (height, width, 3), or (height, width) for mono8.
        """
        random = np.random.default_rng(self.red)
        rows = np.linspace(40, 215, self.height)[:, None] + np.zeros(self.width)
        noise = random.integers(-8, 9, (self.height, self.width))
        shaded = np.clip(rows + noise, 0, 255).astype(np.uint8)
        if self.encoding == 'mono8':
            return np.full_like(shaded, self.red)
        planes = [np.full_like(shaded, self.red), shaded, shaded[::-1]]
        return np.ascontiguousarray(
            np.stack(planes if self.encoding == 'rgb8' else planes[::-1], axis=-1))


def several(
        number: int, receiver: str = 'ours', rate_hz: float = 30.0, width: int = 640,
        height: int = 480, best_effort: bool = False) -> list[Camera]:
    """Return cameras c0, c1, ... of one kind with red values far apart."""
    return [
        Camera(f'c{index}', receiver, width, height, rate_hz, red=20 + 35 * index,
               best_effort=best_effort)
        for index in range(number)]


def to_json(cameras: Iterable[Camera]) -> str:
    """Return cameras as text for another process."""
    return json.dumps([asdict(camera) for camera in cameras])


def from_json(text: str) -> list[Camera]:
    """Return the cameras that `to_json` wrote."""
    return [Camera(**fields) for fields in json.loads(text)]
