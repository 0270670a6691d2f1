"""
The synthetic cameras, in a process of their own.

Usage: python -m bench.cameras_process CAMERAS_JSON RECORDS

Commands come as JSON lines on standard input, events go out as JSON lines; the end of the input
ends it. Messages are serialised once: a frame costs one copy and the middleware's own work, so
that two cores carry loads that Python publishers otherwise cannot.
"""

from __future__ import annotations

from array import array
import json
from pathlib import Path
from queue import Empty, SimpleQueue
import signal
import sys
from threading import Thread
import time
from typing import Any, Optional

from bench.camera import Camera, DETECTED_CLASS, from_json
from bench.records import RecordWriter, SENT, STAMP, STAMP_AT
import cv2
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import (
    BoundingBox2D, Detection2D, Detection2DArray, ObjectHypothesis, ObjectHypothesisWithPose)

#: What can be wrong with a frame.
BROKEN = ('short', 'encoding', 'empty', 'step', 'noise')


def main() -> int:
    """Obey until the input ends."""
    # Ctrl-C reaches the whole group; who started us ends us by closing the input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cameras = from_json(sys.argv[1])
    records = RecordWriter(Path(sys.argv[2]), SENT)
    rclpy.init(args=[])
    node = rclpy.create_node('cameras')
    try:
        sources = {
            camera.key: _Source(node, camera, index, records)
            for index, camera in enumerate(cameras)}
        _Loop(sources).run()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        records.close()
    return 0


class _Source:
    """One camera: its publishers, its serialised messages and when its next frame is due."""

    def __init__(
            self, node: Node, camera: Camera, index: int, records: RecordWriter) -> None:
        self._camera = camera
        self._index = index
        self._records = records
        self._kind: Any = CompressedImage if camera.jpeg else Image
        qos = QoSProfile(depth=10, reliability=(
            ReliabilityPolicy.BEST_EFFORT if camera.best_effort else ReliabilityPolicy.RELIABLE))
        self._publishers = [node.create_publisher(self._kind, camera.image_topic, qos)]
        self._data = [bytearray(serialize_message(message(camera)))]
        if camera.regions:
            self._publishers.append(
                node.create_publisher(Detection2DArray, camera.detections_topic, qos))
            self._data.append(bytearray(serialize_message(detections(camera))))
        self.period_s = 1.0 / camera.rate_hz
        self.due_s: Optional[float] = None
        self.late_ms: list[float] = []
        self.skipped = 0

    def choose_regions(self, number: int) -> None:
        """Send only the first ones of the camera's regions from now on."""
        self._data[1] = bytearray(serialize_message(detections(self._camera, number)))

    @property
    def matched(self) -> bool:
        """Tell whether anybody listens."""
        return all(one.get_subscription_count() > 0 for one in self._publishers)

    def publish_due(self, now_s: float) -> None:
        """Publish a frame; what is due as well by now is skipped, never sent in a burst."""
        assert self.due_s is not None
        self.late_ms.append((now_s - self.due_s) * 1e3)
        behind = int((now_s - self.due_s) / self.period_s)
        self.skipped += behind
        self.due_s += (behind + 1) * self.period_s
        self._send(self._data, broken=False)

    def publish_broken(self, kind: str) -> None:
        """Publish one frame with something wrong."""
        broken = bytearray(serialize_message(broken_message(self._camera, kind)))
        self._send([broken, *self._data[1:]], broken=True)

    def _send(self, data: list[bytearray], broken: bool) -> None:
        stamp_ns = time.time_ns()
        self._records.write(self._index, int(broken), stamp_ns)
        for publisher, one in zip(self._publishers, data):
            STAMP.pack_into(one, STAMP_AT, *divmod(stamp_ns, 10**9))
            publisher.publish(bytes(one))


class _Loop:
    """Publishes what is due and obeys commands in between."""

    def __init__(self, sources: dict[str, _Source]) -> None:
        self._sources = sources
        self._commands: SimpleQueue[Optional[dict[str, Any]]] = SimpleQueue()
        self._until_s: Optional[float] = None
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self._commands.put(json.loads(line))
        self._commands.put(None)

    def run(self) -> None:
        """Publish until the input ends."""
        _tell(event='ready')
        while True:
            active = [source for source in self._sources.values() if source.due_s is not None]
            wake_s = min((source.due_s or 0.0 for source in active), default=None)
            if self._until_s is not None and (wake_s is None or wake_s >= self._until_s):
                self._stop()
                continue
            try:
                command = self._commands.get(
                    timeout=None if wake_s is None else max(0.0, wake_s - time.monotonic()))
            except Empty:
                self._publish()
                continue
            if command is None:
                return
            getattr(self, f'_do_{command.pop("do")}')(**command)

    def _publish(self) -> None:
        for source in self._sources.values():
            now_s = time.monotonic()
            if source.due_s is not None and source.due_s <= now_s:
                source.publish_due(now_s)

    def _stop(self) -> None:
        late_ms = sorted(ms for source in self._sources.values() for ms in source.late_ms)
        skipped = sum(source.skipped for source in self._sources.values())
        for source in self._sources.values():
            source.due_s, source.late_ms, source.skipped = None, [], 0
        self._until_s = None
        _tell(event='stopped', skipped=skipped,
              late_ms_p99=late_ms[int(0.99 * (len(late_ms) - 1))] if late_ms else 0.0)

    # Commands.

    def _do_match(self, cameras: list[str]) -> None:
        _tell(event='match', matched=all(self._sources[name].matched for name in cameras))

    def _do_run(
            self, cameras: list[str], seconds: Optional[float],
            rate_hz: Optional[float] = None, regions: Optional[int] = None) -> None:
        if regions is not None:
            for name in cameras:
                self._sources[name].choose_regions(regions)
        start_s = time.monotonic() + 0.01
        self._until_s = None if seconds is None else start_s + seconds
        for place, name in enumerate(cameras):
            # Cameras of a car are not in step.
            source = self._sources[name]
            if rate_hz is not None:
                source.period_s = 1.0 / rate_hz
            source.due_s = start_s + source.period_s * place / len(cameras)
        _tell(event='running')

    def _do_stop(self) -> None:
        self._stop()

    def _do_broken(self, camera: str, kind: str) -> None:
        self._sources[camera].publish_broken(kind)
        _tell(event='broken')


def _tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def message(camera: Camera) -> Any:
    """Return a camera's message, its stamp still zero."""
    pixels = camera.picture()
    if camera.jpeg:
        # OpenCV takes BGR.
        bgr = pixels[..., ::-1] if camera.encoding == 'rgb8' else pixels
        filled: Any = CompressedImage(format='jpeg')
        filled.data = array('B', cv2.imencode('.jpg', bgr)[1].tobytes())
    else:
        filled = Image(
            height=camera.height, width=camera.width, encoding=camera.encoding,
            step=pixels.strides[0])
        # rclpy checks each element of anything but an array of the very type.
        filled.data = array('B', pixels.tobytes())
    filled.header.frame_id = camera.name
    return filled


def detections(camera: Camera, number: Optional[int] = None) -> Detection2DArray:
    """
    Return a camera's regions as a detector tells them, the stamp still zero.

    :param number: how many of them; None for all.
    """
    filled = Detection2DArray()
    filled.header.frame_id = camera.name
    for place, box in enumerate(camera.boxes()[:number]):
        found = Detection2D(id=str(place), bbox=BoundingBox2D(
            size_x=float(box.width), size_y=float(box.height)), results=[
                ObjectHypothesisWithPose(hypothesis=ObjectHypothesis(
                    class_id=DETECTED_CLASS, score=0.9))])
        found.bbox.center.position.x = box.left + box.width / 2
        found.bbox.center.position.y = box.top + box.height / 2
        filled.detections.append(found)
    return filled


def broken_message(camera: Camera, kind: str) -> Any:
    """
    Return a message that no decoder can make a frame of.

    :param kind: one of `BROKEN`: half of the bytes, an unknown encoding, no pixels, rows shorter
        than the pixels, or bytes at random.
    """
    filled = message(camera)
    if kind == 'short':
        filled.data = filled.data[:len(filled.data) // 2 if not camera.jpeg else 40]
    elif kind == 'empty':
        filled.data = array('B')
    elif camera.jpeg or kind == 'noise':
        filled.data = array('B', bytes(range(256)) * 8)
    elif kind == 'encoding':
        filled.encoding = 'of_another_world'
    elif kind == 'step':
        filled.step = camera.width // 2
    else:
        raise ValueError(f'{kind!r} is none of {", ".join(BROKEN)}')
    return filled


if __name__ == '__main__':
    sys.exit(main())
