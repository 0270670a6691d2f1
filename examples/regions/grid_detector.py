"""
Boxes without a detector: publishes a vision_msgs/Detection2DArray for each image of a camera.

The boxes come from a table or are a grid. It listens to a camera's topic, or plays pictures:

    python3 examples/regions/grid_detector.py --grid 4x3 --ros-args -r image:=/camera/image_raw
    python3 examples/regions/grid_detector.py --boxes scenes/boxes.tsv --play scenes/
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from itertools import count
import os
from pathlib import Path
import re
import signal
import sys
import time
from typing import Any, Optional

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data, QoSProfile
from rclpy.utilities import remove_ros_args
from resnet_trt_node.datasets.store import PictureStore
from resnet_trt_node.errors import DataError, ResnetTrtError, UsageError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import to_rgb
from resnet_trt_node.node.distribution import DDS_PROFILES_VARIABLE
from resnet_trt_node.node.ros.messages import rgb_image
from resnet_trt_node.regions.region import Box, Region
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

#: In the table's first column: boxes of every picture.
EVERY = '*'
#: Fast DDS's own shared memory is smaller than one scene; camera drivers need this as well.
_DDS_PROFILE = Path(__file__).resolve().parents[2] / 'config' / 'fastdds_large_images.xml'
#: How long to wait for subscriptions, and then for their side to know of this one.
_WAIT_SEC, _DISCOVERY_SEC = 60.0, 0.5


def read_boxes(path: Path) -> dict[str, list[Region]]:
    """
    Read a table of boxes: a file or stamp to its regions.

    :param path: the table, with tabs: file or stamp in nanoseconds or `EVERY`, center_x,
        center_y, width, height in pixels, id, class, and perhaps the rotation in radians. A first
        line that begins with 'file' or 'stamp' is its header.
    :raises DataError: if it cannot be read.
    """
    boxes: dict[str, list[Region]] = {}
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: {error}') from error
    for number, line in enumerate(lines, start=1):
        cells = line.split('\t')
        if not line.strip() or (number == 1 and cells[0] in ('file', 'stamp')):
            continue
        try:
            picture, *numbers, track_id, class_id = cells[:7]
            center_x, center_y, width, height = map(float, numbers)
            theta = float(cells[7]) if len(cells) > 7 else 0.0
        except ValueError as error:
            raise DataError(
                f'{path}, line {number}: write file<TAB>center_x<TAB>center_y<TAB>width<TAB>'
                'height<TAB>id<TAB>class, and perhaps <TAB>theta') from error
        boxes.setdefault(picture, []).append(
            Region(Box(center_x, center_y, width, height, theta), track_id, class_id))
    return boxes


def grid(columns: int, rows: int, overlap: float, height: int, width: int) -> list[Region]:
    """
    Divide a picture into windows of one size, row by row.

    :param columns: how many stand side by side.
    :param rows: how many rows there are.
    :param overlap: share of a window that its neighbour covers too, 0 to below 1.
    :param height: the picture's.
    :param width: likewise.
    :returns: windows whose ids are their numbers, so that answers can be kept by place.
    """
    across = width / (columns - (columns - 1) * overlap)
    down = height / (rows - (rows - 1) * overlap)
    return [
        Region(Box(across * (0.5 + column * (1 - overlap)), down * (0.5 + row * (1 - overlap)),
                   across, down), str(row * columns + column), 'window')
        for row in range(rows) for column in range(columns)]


def detections(
        header: Header, regions: Sequence[Region],
        scores: Optional[Sequence[float]] = None) -> Detection2DArray:
    """
    Return the message of an image's regions.

    :param header: the image's, so that the two are matched by stamp.
    :param regions: what was found in it.
    :param scores: how sure the detector is of each, 0 to 1; None for 1.
    """
    message = Detection2DArray(header=header)
    for region, score in zip(regions, scores or [1.0] * len(regions)):
        detection = Detection2D(header=header, id=region.track_id)
        detection.bbox.center.position.x = region.box.center_x
        detection.bbox.center.position.y = region.box.center_y
        detection.bbox.center.theta = region.box.theta
        detection.bbox.size_x, detection.bbox.size_y = region.box.width, region.box.height
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id, hypothesis.hypothesis.score = region.class_id, score
        detection.results = [hypothesis]
        message.detections.append(detection)
    return message


class GridDetector(Node):
    """
    Publishes the boxes of images on `detections`.

    :param arguments: the command line's.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__('grid_detector')
        self._grid = arguments.grid
        self._overlap = arguments.overlap
        self._boxes = read_boxes(arguments.boxes) if arguments.boxes else {}
        self._detections = self.create_publisher(
            Detection2DArray, 'detections', QoSProfile(depth=100))

    def listen(self, compressed: bool) -> None:
        """Publish for each image that arrives on `image`, or `image/compressed`."""
        topic, kind = ('image/compressed', CompressedImage) if compressed else ('image', Image)
        self.create_subscription(kind, topic, self._publish, qos_profile_sensor_data)
        self.get_logger().info(
            f'{self.resolve_topic_name(topic)} -> {self._detections.topic_name}')

    def play(self, pictures: PictureStore, rate_hz: float, loop: bool) -> int:
        """Publish pictures on `image` and their boxes at a rate; return how many pictures."""
        names = pictures.listing.pictures
        if not names:
            raise DataError(f'no picture in {pictures.root}')
        images = self.create_publisher(Image, 'image', QoSProfile(depth=100))
        self._wait_for_subscriptions([images, self._detections])
        start_sec = time.monotonic()
        published = 0
        for number in count():
            if number >= len(names) and not loop:
                break
            name = names[number % len(names)]
            time.sleep(max(0.0, start_sec + number / rate_hz - time.monotonic()))
            frame = pictures.frame(name)
            header = Header(stamp=self.get_clock().now().to_msg(), frame_id='camera')
            image = rgb_image(header, to_rgb(frame.pixels, frame.order))
            images.publish(image)
            self._publish(image, name)
            published += 1
        # A publisher that ends takes with it what is not yet delivered.
        for publisher in (images, self._detections):
            publisher.wait_for_all_acked(Duration(seconds=10))
        return published

    def _publish(self, image: Any, name: Optional[str] = None) -> None:
        """Publish the boxes of an image, which has a name if it comes from a file."""
        stamp = image.header.stamp
        regions = self._boxes.get(EVERY, []) + self._boxes.get(
            name or str(stamp.sec * 10**9 + stamp.nanosec), [])
        if self._grid:
            size = (image.height, image.width) if isinstance(image, Image) \
                else decode_message(image).size
            regions = regions + grid(*self._grid, self._overlap, *size)
        self._detections.publish(detections(image.header, regions))

    def _wait_for_subscriptions(self, publishers: Sequence[Any]) -> None:
        end_sec = time.monotonic() + _WAIT_SEC
        for publisher in publishers:
            while not publisher.get_subscription_count():
                if time.monotonic() > end_sec:
                    raise UsageError(
                        f'nobody subscribes to {publisher.topic_name}: start the classifier '
                        'with the parameter input set to regions, or remap the topic')
                time.sleep(0.05)
        # The other side discovers this one by itself.
        time.sleep(_DISCOVERY_SEC)


def _grid_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r'([1-9]\d{0,2})x([1-9]\d{0,2})', text)
    if not found:
        raise argparse.ArgumentTypeError(f'{text!r}: write COLUMNSxROWS, such as 4x3')
    return int(found[1]), int(found[2])


def _number(text: str, low: float, high: float) -> float:
    value = float(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f'{text} is not in {low} to {high}')
    return value


def main() -> int:
    """Publish until the last picture, or until Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--boxes', type=Path, help='table of boxes, see the page')
    parser.add_argument('--grid', type=_grid_size, help='COLUMNSxROWS windows of the picture')
    parser.add_argument('--overlap', type=partial(_number, low=0.0, high=0.95), default=0.0,
                        help='share of a window that its neighbour covers too; default 0')
    parser.add_argument('--compressed', action='store_true', help='listen to image/compressed')
    parser.add_argument('--play', type=Path, help='folder or zip file of pictures to publish')
    parser.add_argument('--rate', type=partial(_number, low=0.01, high=1000.0), default=2.0,
                        help='pictures a second; default 2')
    parser.add_argument('--loop', action='store_true', help='start again after the last picture')
    arguments = parser.parse_args(remove_ros_args(sys.argv)[1:])
    if not arguments.boxes and not arguments.grid:
        parser.error('give --boxes, --grid or both')
    if arguments.play:
        os.environ.setdefault(DDS_PROFILES_VARIABLE, str(_DDS_PROFILE))
    else:
        # rclpy ends the spinning. KeyboardInterrupt would come anywhere in it, and then it prints
        # a traceback of an object that is half made.
        signal.signal(signal.SIGINT, lambda *_: None)
    rclpy.init()
    try:
        node = GridDetector(arguments)
        if arguments.play:
            with PictureStore(arguments.play) as pictures:
                published = node.play(pictures, arguments.rate, arguments.loop)
            print(f'{published} pictures published')
        else:
            node.listen(arguments.compressed)
            rclpy.spin(node)
    except ResnetTrtError as error:
        print(f'grid_detector: {error}', file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except rclpy_implementation.RCLError:
        # A signal that ends the process makes whatever is being published fail.
        if rclpy.ok():
            raise
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
