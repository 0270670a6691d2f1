"""What the topics of a camera need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def stage() -> Iterator[Any]:
    """Give a `Stage` under the executor of the node."""
    # The tests of the matcher need no ROS.
    from pipelines.region_stage import Stage
    from rclpy.executors import SingleThreadedExecutor
    from resnet_trt_node.node.distribution import events_executor
    stage = Stage(events_executor() or SingleThreadedExecutor)
    yield stage
    stage.close()
