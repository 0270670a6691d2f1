"""What the log says of a camera without images."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from resnet_trt_node.node.monitoring import reporter as module
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(('publishers', 'lost', 'cause'), [
    (0, 0, 'it has no publisher: start the camera, or remap the topic'),
    (None, 0, 'it has no publisher: start the camera, or remap the topic; '
              "instead of ['/front/image']"),
    (1, 0, 'it has 1 publisher'),
    (2, 7, 'it has 2 publishers; DDS lost 7 frames so far: its shared memory or receive buffers '
           'are too small for them, see docs/how-to/large-images.md')])
def test_a_timeout_is_logged_with_its_likely_cause(
        make_bench, monkeypatch, publishers, lost, cause):
    warnings = []
    node = SimpleNamespace(
        create_publisher=lambda *_: None, create_service=lambda *_: None,
        create_timer=lambda *_, clock: SimpleNamespace(cancel=lambda: None),
        get_logger=lambda: SimpleNamespace(warning=warnings.append))
    bench = make_bench()
    reporter = module.Reporter(node, NodeParameters, None)
    now_ns = 0
    monkeypatch.setattr(module, 'perf_counter_ns', lambda: now_ns)
    reporter.opened(bench.pipeline, {
        'front': SimpleNamespace(
            image_topic='/front/image', publishers=publishers,
            published_instead=lambda used: f'instead of {used}' if publishers is None else '')})
    reporter.listening(True)
    if lost:
        bench.pipeline.counters.count_at('front', 'lost_in_transport', lost)
    now_ns = 2_000_000_001
    reporter._check_camera_timeouts()
    assert warnings == [f'/front/image: no image for 2 s; {cause}']
