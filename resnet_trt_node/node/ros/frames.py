"""What of the messages the pipeline infers, by the node's parameters."""

from __future__ import annotations

from resnet_trt_node.node.pipeline.work import FrameInput, RegionFrames, WholeFrames
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters
from resnet_trt_node.node.ros.stamps import stamp_ns
from resnet_trt_node.regions.detections_cdr import DetectionsCdr


def frames_of(parameters: NodeParameters) -> FrameInput:
    """Return whole images, or regions of images with the detections in them."""
    if parameters.has_regions:
        return RegionFrames(
            parameters.region_settings(), DetectionsCdr.regions,
            lambda image: stamp_ns(image.header.stamp))
    return WholeFrames(parameters.resize_method)  # type: ignore[arg-type]
