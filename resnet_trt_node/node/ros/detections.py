"""Detection2DArray messages to regions, and back with the answers."""

from __future__ import annotations

from typing import Sequence

from resnet_trt_node.regions.detections import classified_message, regions_of
from resnet_trt_node.regions.region import Region, RegionAnswer
from vision_msgs.msg import Detection2DArray, ObjectHypothesisWithPose


def regions(message: Detection2DArray) -> list[Region]:
    """
    Return the region of each detection, in their order.

    :param message: a detector's; its boxes may be anything, NaN included.
    """
    return regions_of(message)


def classified(
        message: Detection2DArray, answers: Sequence[RegionAnswer], class_id_format: str,
        keep_source_results: bool) -> Detection2DArray:
    """
    Return the result message of a frame's regions.

    Each detection keeps its place, id and bbox; its header tells when its image was taken that was
    inferred, so that `header.stamp` minus the detection's is the age of its answer.

    :param message: the detector's; not changed. The result shares parts with it: change neither.
    :param answers: one for each detection.
    :param class_id_format: content of `class_id`: 'label' for the class name, 'index' for its
        index.
    :param keep_source_results: put the detector's results in front of ours.
    :raises ValueError: if there are more answers than detections, or fewer.
    """
    return classified_message(
        message, answers, class_id_format, keep_source_results, ObjectHypothesisWithPose())
