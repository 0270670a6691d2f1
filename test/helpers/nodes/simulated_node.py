"""A node on the simulated backend in its own process, what it is sent, and what it reports."""

from __future__ import annotations

from nodes.node_process import image, NodeProcess, Peer
import numpy as np
from rcl_interfaces.msg import ParameterType, ParameterValue
from resnet_trt_node.node.pipeline.counters import DROP_REASONS
from sensor_msgs.msg import Image

CONFIGURE, CLEANUP, ACTIVATE, DEACTIVATE = 1, 2, 3, 4


#: Arguments of a node with the simulated backend, which answers the mean red value. A busy machine
#: may take seconds between two images; silence has a test of its own.
SIMULATED = (
    '-p', 'camera_timeout_sec:=0.0', '-p', 'backend:=simulated:1.0',
    '-p', 'queue_depth:=100', '-p', 'image_reliability:=reliable',
    '-p', 'diagnostics_period_sec:=0.1')


def run(*arguments: str, prepare: str = '') -> NodeProcess:
    """Start a node with the simulated backend; `prepare` is Python that runs before it."""
    return NodeProcess(*SIMULATED, *arguments, prepare=prepare)


def red(value: int, height: int = 48, width: int = 64, encoding: str = 'rgb8') -> Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :, 0 if encoding == 'rgb8' else 2] = value
    return image(pixels, value, encoding=encoding)


def number(value: float) -> ParameterValue:
    kind = ParameterType.PARAMETER_INTEGER if isinstance(value, int) \
        else ParameterType.PARAMETER_DOUBLE
    return ParameterValue(type=kind, integer_value=int(value), double_value=float(value))


def text(value: str) -> ParameterValue:
    return ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)


def wait_for_status(peer: Peer, key: str, value: str) -> None:
    peer.spin_until(lambda: (peer.status() or {}).get(key) == value, f'{key} {value}')


def went_through(peer: Peer, *states: str) -> None:
    """Wait until the last states were these: diagnostics may arrive before the events arrive."""
    def steps() -> list[str]:
        return [event.goal_state.label for event in peer.heard['/classifier/transition_event']]
    peer.spin_until(lambda: tuple(steps()[-len(states):]) == states, ' -> '.join(states))


def check_sums(numbers: dict) -> None:
    assert int(numbers['received']) == int(numbers['answered']) + int(
        numbers['in_progress']) + sum(int(numbers[f'dropped_{reason}']) for reason in DROP_REASONS)
