"""An engine's key and plan to cache, and a builder that counts."""

from __future__ import annotations

from resnet_trt_node.backends.engines.cache import BuiltEngine
from resnet_trt_node.backends.engines.key import EngineKey
from resnet_trt_node.contract.spec import ModelSpec, ResizeRule

SPEC = ModelSpec(
    height=8, width=8, labels=('cat', 'Hündchen'), resize=ResizeRule(10, 8, 8), precision='fp16')
KEY = EngineKey(
    'model', 'a' * 64, 'tensorrt', '8.6.0', 'Card A', '9.0', ((1, 4, 4),), (('tf32', 'false'),))
PLAN = bytes(range(256)) * 100


class Builder:
    """Counts builds and notes the timing caches that it was given."""

    def __init__(self, plan=PLAN):
        self.plan = plan
        self.timings = []

    def __call__(self, timing):
        self.timings.append(timing)
        return BuiltEngine(self.plan, SPEC, timing + b'+')
