"""The benchmark's own eyes and hands in ROS: diagnostics, lifecycle, parameters."""

from __future__ import annotations

from collections.abc import Mapping
import re
from threading import Lock, Thread
import time
from types import TracebackType
from typing import Any, Optional

from bench import BenchError
from bench.children import wait_until
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

TRANSITIONS = {
    'configure': Transition.TRANSITION_CONFIGURE, 'activate': Transition.TRANSITION_ACTIVATE,
    'deactivate': Transition.TRANSITION_DEACTIVATE, 'cleanup': Transition.TRANSITION_CLEANUP}


class Observer:
    """
    A ROS node in a thread of this process; a context manager.

    :param target: full name of the classifier node.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._lock = Lock()
        self._status: Optional[dict[str, str]] = None
        self._heard_s = 0.0
        self._context = Context()
        rclpy.init(
            args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('bench_observer', context=self._context)
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)
        self._clients: dict[Any, Any] = {
            kind: self._node.create_client(kind, f'{target}/{name}')
            for kind, name in ((ChangeState, 'change_state'), (GetState, 'get_state'),
                               (SetParameters, 'set_parameters'))}
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = Thread(target=self._spin, name='observer', daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass  # `close` was called

    def _take(self, message: DiagnosticArray) -> None:
        found: dict[str, str] = {}
        for status in message.status:
            owner, _, part = status.name.partition(': ')
            if owner == self._target:
                # The node's own values as they are, those of a camera behind its name.
                prefix = f'{part[7:]}/' if part.startswith('camera ') else ''
                found.update({f'{prefix}{item.key}': item.value for item in status.values})
                found[f'{prefix}message'] = status.message
        if found:
            with self._lock:
                self._status, self._heard_s = found, time.monotonic()

    @property
    def status(self) -> dict[str, str]:
        """Return the last diagnostics, values by key, a camera's as NAME/key; empty before any."""
        with self._lock:
            return dict(self._status or {})

    def next_status(self, timeout_s: float = 10.0) -> dict[str, str]:
        """Wait for diagnostics that are told from now on."""
        now_s = time.monotonic()
        wait_until(lambda: self._heard_s > now_s, 'diagnostics of the node', timeout_s)
        return self.status

    def call(self, kind: Any, request: Any, timeout_s: float = 20.0) -> Any:
        """
        Call a service of the node.

        :raises BenchError: if there is no answer.
        """
        client = self._clients[kind]
        wait_until(client.service_is_ready, f'the service {client.srv_name}', timeout_s)
        future = client.call_async(request)
        wait_until(future.done, f'an answer of {client.srv_name}', timeout_s)
        return future.result()

    def change_state(self, transition: str) -> bool:
        """Call a lifecycle transition, one of `TRANSITIONS`; tell whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        return bool(self.call(ChangeState, request).success)

    def state(self) -> str:
        """Return the lifecycle state's name."""
        return str(self.call(GetState, GetState.Request()).current_state.label)

    def set_parameter(self, name: str, value: Any) -> tuple[bool, str]:
        """Set a parameter; return whether it was accepted, and if not, why."""
        result = self.call(SetParameters, SetParameters.Request(parameters=[
            Parameter(name, value=value).to_parameter_msg()])).results[0]
        return bool(result.successful), str(result.reason)

    def close(self) -> None:
        """Leave ROS."""
        rclpy.try_shutdown(context=self._context)
        self._thread.join()
        self._node.destroy_node()

    def __enter__(self) -> Observer:
        """Return the observer itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """Leave ROS."""
        self.close()


def stage_ms(status: Mapping[str, str], stage: str, share: int) -> Optional[float]:
    """
    Return a percentile of a stage from the diagnostics.

    :param stage: such as 'total'.
    :param share: 50, 95 or 99.
    :returns: milliseconds, None where they are not told.
    """
    text = status.get(f'{stage}_p{share}_ms')
    return None if text is None else float(text)


def stages(status: Mapping[str, str]) -> list[str]:
    """Return the stages whose times the diagnostics tell, in their order."""
    return [match[1] for key in status if (match := re.fullmatch(r'(\w+)_p50_ms', key))]


def counts(status: Mapping[str, str], camera: str) -> dict[str, int]:
    """
    Return a camera's counters from the diagnostics.

    :raises BenchError: if there are none for it.
    """
    prefix = f'{camera}/' if camera else ''
    found = {
        key[len(prefix):]: int(value) for key, value in status.items()
        if key.startswith(prefix) and re.fullmatch(
            r'received|answered|in_progress|lost_in_transport|dropped_\w+', key[len(prefix):])}
    if 'received' not in found:
        raise BenchError(f'the diagnostics count nothing for camera {camera!r}')
    return found


def unaccounted(numbers: Mapping[str, int]) -> int:
    """Return the frames that were received and ended in no counter."""
    ended = sum(value for key, value in numbers.items() if key.startswith('dropped_'))
    return numbers['received'] - numbers['answered'] - ended - numbers.get('in_progress', 0)


def unaccounted_regions(status: Mapping[str, str], camera: str) -> int:
    """
    Return the regions that were received and ended in no counter.

    :raises BenchError: if none are counted for the camera.
    """
    prefix = f'{camera}/regions_'
    numbers = {key[len(prefix):]: int(value) for key, value in status.items()
               if key.startswith(prefix) and key != f'{prefix}per_frame'}
    if 'received' not in numbers:
        raise BenchError(f'the diagnostics count no regions for camera {camera!r}')
    return 2 * numbers['received'] - sum(numbers.values())
