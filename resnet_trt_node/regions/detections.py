"""
Detection2DArray messages to regions, and back with answers.

Any objects with the fields of vision_msgs 4 will do, those of rclpy and those of rosbags alike, so
that the node and a bag get the same.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Iterable, Optional, Sequence

from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.regions.region import Box, Region, RegionAnswer, UNUSABLE

# builtin_interfaces/Time: int32 seconds, uint32 nanoseconds.
_FIRST_SECOND, _LAST_SECOND, _MOST_NANOSECONDS = -2**31, 2**31 - 1, 2**32 - 1


def regions_of(message: Any) -> list[Region]:
    """
    Return the region of each detection, in their order.

    :param message: a vision_msgs/Detection2DArray; its boxes may be anything, NaN included.
    """
    found = []
    for detection in message.detections:
        bbox = detection.bbox
        center = bbox.center
        position = center.position
        found.append(Region(
            Box(position.x, position.y, bbox.size_x, bbox.size_y, center.theta),
            detection.id, best_class(
                [(one.hypothesis.class_id, one.hypothesis.score) for one in detection.results])))
    return found


def classified_message(
        message: Any, answers: Sequence[RegionAnswer], class_id_format: str,
        keep_source_results: bool, empty: Any) -> Any:
    """
    Return a Detection2DArray with the answers to the regions of another.

    Every detection stays, in its order, with its id and bbox. Its header has the array's frame,
    and the stamp of the image that was inferred; the array's stamp where nothing was.

    - answered and cached: our hypotheses;
    - unusable: one empty hypothesis, `class_id` '' and `score` 0;
    - not_selected: the source's results, whether they are to be kept or not.

    :param message: the source; not changed. The result shares parts with it, so change neither.
    :param answers: one for each detection.
    :param class_id_format: content of `class_id`: 'label' for the class name, 'index' for its
        index.
    :param keep_source_results: put the source's results in front of ours; otherwise they are
        left out.
    :param empty: a vision_msgs/ObjectHypothesisWithPose with nothing set; not changed.
    :raises ValueError: if there are more answers than detections, or fewer.
    """
    if len(answers) != len(message.detections):
        raise ValueError(
            f'{len(answers)} answers to {len(message.detections)} detections: give one for each')
    headers: dict[Optional[int], Any] = {None: message.header}
    detections = []
    for source, answer in zip(message.detections, answers):
        stamp_ns = answer.inferred_stamp_ns
        if stamp_ns is not None and stamp_ns not in headers:
            headers[stamp_ns] = _restamped(message.header, stamp_ns)
        detection = copy(source)
        detection.header = headers[stamp_ns]
        if answer.outcome != 'not_selected':
            ours = [empty] if answer.outcome in UNUSABLE else [
                _hypothesis(one, class_id_format, empty) for one in answer.predictions]
            detection.results = [*source.results, *ours] if keep_source_results else ours
        detections.append(detection)
    result = copy(message)
    result.detections = detections
    return result


def best_class(scored: Iterable[tuple[str, float]]) -> str:
    """
    Return the class with the highest score, '' without any.

    :param scored: classes and their scores; of equal scores the first counts, and a NaN is below
        all.
    """
    best, best_score = '', float('nan')
    for place, (class_id, score) in enumerate(scored):
        # A comparison with NaN is false.
        if place == 0 or score > best_score or (best_score != best_score and score == score):
            best, best_score = class_id, score
    return best


def split_stamp(stamp_ns: int) -> tuple[int, int]:
    """
    Return seconds and nanoseconds of a stamp, as far as builtin_interfaces/Time can hold them.

    A foreign stamp may have a second and more in its nanoseconds, also in the last second.
    """
    seconds = min(max(stamp_ns // 10**9, _FIRST_SECOND), _LAST_SECOND)
    return seconds, min(max(stamp_ns - seconds * 10**9, 0), _MOST_NANOSECONDS)


def _hypothesis(prediction: Prediction, class_id_format: str, empty: Any) -> Any:
    named = copy(empty.hypothesis)
    named.class_id = prediction.label if class_id_format == 'label' else str(prediction.index)
    named.score = float(prediction.score)
    result = copy(empty)
    result.hypothesis = named
    return result


def _restamped(header: Any, stamp_ns: int) -> Any:
    stamp = copy(header.stamp)
    stamp.sec, stamp.nanosec = split_stamp(stamp_ns)
    result = copy(header)
    result.stamp = stamp
    return result
