"""The time of a node's clock, simulated or not."""

from __future__ import annotations

from time import time_ns

import pytest

from resnet_trt_node.node.ros.stamps import now_ns

pytestmark = pytest.mark.slow

clocks = pytest.importorskip('rclpy.clock', reason='rclpy is not installed')
times = pytest.importorskip('rclpy.time', reason='rclpy is not installed')


def test_the_system_s_time_until_ros_time_is_active():
    clock = clocks.ROSClock()
    before_ns = time_ns()
    assert before_ns <= now_ns(clock) <= clock.now().nanoseconds
    clock._set_ros_time_is_active(True)
    clock.set_ros_time_override(times.Time(nanoseconds=7, clock_type=clock.clock_type))
    assert now_ns(clock) == 7
    clock._set_ros_time_is_active(False)
    assert now_ns(clock) >= before_ns
