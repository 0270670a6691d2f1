"""A classifier node in its own process, and a peer that feeds and hears it over real DDS."""

from __future__ import annotations

from array import array
from collections import defaultdict
import signal
import subprocess
import sys
from threading import Thread
from time import monotonic
from typing import Any, Callable, Optional, Sequence

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from repository import REPOSITORY
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification, LabelInfo



class NodeProcess:
    """
    `classifier_node` as a user starts it.

    :param arguments: what follows --ros-args, such as '-p', 'top_k:=3'.
    :param prepare: Python that runs in the process before the node does.
    """

    def __init__(self, *arguments: str, prepare: str = '') -> None:
        self._lines: list[str] = []
        program = ['-m', 'resnet_trt_node.node.entry']
        if prepare:
            program = ['-c', f'{prepare}\nimport sys\n'
                             'from resnet_trt_node.node.entry import main\nsys.exit(main())']
        self._process = subprocess.Popen(
            [sys.executable, *program, '--ros-args', *arguments],
            cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.rstrip())

    @property
    def log(self) -> str:
        """Return what the node has printed so far."""
        return '\n'.join(self._lines)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def wait(self, timeout_sec: float = 60.0) -> int:
        """Wait for the end; return the exit code."""
        code = self._process.wait(timeout_sec)
        self._reader.join(30)
        return code

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self, number: int = signal.SIGINT) -> tuple[int, float]:
        """Send a signal; return the exit code and the seconds until the end."""
        start = monotonic()
        self.send(number)
        code = self.wait()
        return code, monotonic() - start

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self.wait()


class Peer:
    """A node in this process that publishes images and keeps what the classifier publishes."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node('peer', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._publishers: dict[str, Any] = {}
        #: Received messages by topic.
        self.heard: dict[str, list[Any]] = defaultdict(list)

    def listen(self, topic: str, kind: Any, latched: bool = False) -> None:
        """Keep every message of a topic in `heard`."""
        qos = QoSProfile(depth=1000)
        if latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self.node.create_subscription(kind, topic, self.heard[topic].append, qos)

    def listen_to_results(self, prefix: str = '') -> None:
        """Keep classifications, label info and diagnostics."""
        self.listen(f'{prefix}classification', Classification)
        self.listen('label_info', LabelInfo, latched=True)
        self.listen_to_diagnostics()

    def listen_to_diagnostics(self) -> None:
        """Keep the diagnostics, for `status`."""
        self.listen('/diagnostics', DiagnosticArray)

    def spin_until(
            self, condition: Callable[[], Any], what: str, timeout_sec: float = 60.0) -> Any:
        """Spin until the condition is true and return it; fail after the time-out."""
        deadline = monotonic() + timeout_sec
        while not (value := condition()):
            assert monotonic() < deadline, f'waited {timeout_sec} s for {what}'
            self._executor.spin_once(timeout_sec=0.02)
        return value

    def connect(self, topic: str, kind: Any = Image, camera: str = '') -> None:
        """Create a publisher; wait until the classifier hears it and would be heard by us."""
        publisher = self.node.create_publisher(kind, topic, QoSProfile(depth=1000))
        self._publishers[topic] = publisher
        self.spin_until(publisher.get_subscription_count, f'a subscription to {topic}')
        # Each side matches the other by itself: without this the first answers could be lost.
        self.spin_until(
            lambda: (self.status() or {}).get(f'{camera}listeners', '0') != '0',
            'the classifier to know of this listener')

    def disconnect(self, topic: str) -> None:
        """Destroy the publisher of a topic, as a camera that is unplugged."""
        self.node.destroy_publisher(self._publishers.pop(topic))

    def publish(self, topic: str, message: Any) -> None:
        """Publish on a connected topic."""
        self._publishers[topic].publish(message)

    def status(self) -> Optional[dict[str, str]]:
        """
        Return the last diagnostic values; None before the first.

        Those of a named camera begin with its name and a slash. `level` is the worst of all
        statuses', `message` holds all that are not OK, or the node's.
        """
        if not self.heard['/diagnostics']:
            return None
        statuses = self.heard['/diagnostics'][-1].status
        values = {}
        for status in statuses:
            camera = status.name.partition(': camera')[2].strip()
            prefix = f'{camera}/' if camera else ''
            values.update({prefix + item.key: item.value for item in status.values})
        faults = [status.message for status in statuses if status.level != b'\0']
        return {**values, 'level': str(max(status.level[0] for status in statuses)),
                'message': '; '.join(faults) or statuses[0].message}

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """Call a service and return its answer."""
        client = self.node.create_client(kind, service)
        self.spin_until(client.service_is_ready, f'the service {service}')
        future = client.call_async(request)
        self.spin_until(future.done, f'an answer of {service}')
        self.node.destroy_client(client)
        return future.result()

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


def image(
        pixels: Sequence[Any], number: int = 0, frame_id: str = 'camera',
        encoding: str = 'rgb8') -> Image:
    """Return an Image of uint8 (H, W, C) pixels with `number` as its stamp's nanoseconds."""
    array_ = np.ascontiguousarray(pixels, np.uint8)
    message = Image(height=array_.shape[0], width=array_.shape[1], encoding=encoding,
                    step=array_.strides[0])
    message.data = array('B', array_.tobytes())
    return _stamped(message, number, frame_id)


def compressed(
        data: bytes, number: int = 0, frame_id: str = 'camera',
        kind: str = 'jpeg') -> CompressedImage:
    """Return a CompressedImage with `number` as its stamp's nanoseconds."""
    message = CompressedImage(format=kind)
    message.data = array('B', data)
    return _stamped(message, number, frame_id)


def _stamped(message: Any, number: int, frame_id: str) -> Any:
    message.header.stamp.sec = 1700000000
    message.header.stamp.nanosec = number
    message.header.frame_id = frame_id
    return message
