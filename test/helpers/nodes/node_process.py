"""A classifier node in its own process, and a peer that feeds and hears it over real DDS."""

from __future__ import annotations

from array import array
from collections import defaultdict
import os
import signal
import subprocess
import sys
from threading import Thread
from time import monotonic, sleep
from typing import Any, Callable, Optional, Sequence

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from repository import REPOSITORY
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification, LabelInfo

#: Names the parameter `receive` of the nodes of a test.
RECEIVE = 'RESNET_TRT_TEST_RECEIVE'
#: What has not happened after so long never will, however busy the machine is.
_HANGS_SEC = 180.0
#: See `Peer.call`.
_ASK_AGAIN_SEC = 20.0


class NodeProcess:
    """
    `classifier_node`, which may take its time to end on a busy machine.

    :param arguments: what follows --ros-args, such as '-p', 'top_k:=3'.
    :param prepare: Python that runs in the process before the node does.
    :param patient: whether it is ended only a minute after a signal if it does not end by
        itself, which its log would tell; otherwise as soon as a user's is.
    """

    def __init__(self, *arguments: str, prepare: str = '', patient: bool = True) -> None:
        self._lines: list[str] = []
        program = '\n'.join((
            # PR_SET_PDEATHSIG: no node outlives a run that is killed, to be met by later tests.
            'import ctypes', 'ctypes.CDLL(None).prctl(1, 9)',
            'import sys', 'from resnet_trt_node.node import stop_signal',
            'stop_signal._LIMIT_SEC = 60.0' if patient else '', prepare,
            'from resnet_trt_node.node.entry import main', 'sys.exit(main())'))
        way = os.environ.get(RECEIVE)
        if way and not any(argument.startswith('receive:=') for argument in arguments):
            arguments = (*arguments, '-p', f'receive:={way}')
        self._process = subprocess.Popen(
            [sys.executable, '-c', program, '--ros-args', *arguments],
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

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        code = self._process.wait(_HANGS_SEC)
        self._reader.join(_HANGS_SEC)
        return code

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait_for(self, words: str) -> None:
        """Wait until it prints something."""
        deadline = monotonic() + _HANGS_SEC
        while words not in self.log:
            assert monotonic() < deadline, self.log
            sleep(0.02)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal; return the exit code."""
        self.send(number)
        return self.wait()

    @property
    def ended_by_itself(self) -> bool:
        """Tell whether it was not ended since it took too long."""
        return 'forced to end' not in self.log

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

    def spin_until(self, condition: Callable[[], Any], what: str) -> Any:
        """Spin until the condition is true and return it."""
        deadline = monotonic() + _HANGS_SEC
        while not (value := condition()):
            assert monotonic() < deadline, f'waited {_HANGS_SEC} s for {what}'
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

    def flush(self, topic: str) -> None:
        """Wait until a reliable subscription's middleware has all that was published."""
        assert self._publishers[topic].wait_for_all_acked(Duration(seconds=_HANGS_SEC))

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
        """
        Call a service and return its answer.

        A client is ready before the server has discovered it, and Fast DDS gives an answer to
        an unknown client up after 100 ms. So what may be asked twice is asked again. A transition
        may not: one that does not exist is asked first, until it is refused.
        """
        client = self._client(kind, service)
        answer = self._ask(client, request, kind is not ChangeState)
        self.node.destroy_client(client)
        return answer

    def begin(self, kind: Any, service: str, request: Any) -> Any:
        """Call a service, and return the future of its answer; see `call`."""
        return self._client(kind, service).call_async(request)

    def _client(self, kind: Any, service: str) -> Any:
        client = self.node.create_client(kind, service)
        self.spin_until(client.service_is_ready, f'the service {service}')
        if kind is ChangeState:
            self._ask(client, ChangeState.Request(transition=Transition(label='none')), True)
        return client

    def _ask(self, client: Any, request: Any, again: bool) -> Any:
        futures = [client.call_async(request)]
        deadline = monotonic() + _ASK_AGAIN_SEC

        def answered() -> list[Any]:
            nonlocal deadline
            if again and monotonic() > deadline:
                futures.append(client.call_async(request))
                deadline = monotonic() + _ASK_AGAIN_SEC
            return [future for future in futures if future.done()]
        return self.spin_until(answered, f'an answer of {client.srv_name}')[0].result()

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
