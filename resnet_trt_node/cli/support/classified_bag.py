"""Writes the bag of `resnet_trt classify --output`: the images and what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

from resnet_trt_node.bag.writer import BagWriter
from resnet_trt_node.cli.support.console import count_of, print_warning
from resnet_trt_node.cli.support.sources import Inputs, Source
from resnet_trt_node.closing import Closing
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import UsageError
from resnet_trt_node.regions.region import RegionAnswer

if TYPE_CHECKING:
    from resnet_trt_node.bag.messages import BagDetections, BagMessage


class AnsweredBag(Closing):
    """
    A bag being written; a context manager that removes it after an error.

    :param path: the new bag, which must not exist.
    :param inputs: exactly one bag.
    :param topics: its image topics.
    :param name: of the topics of the answers, without the camera.
    :param others: topics of the bag that are written too.
    :raises UsageError: for other inputs, or if an output topic would have two types or cameras.
    :raises BagError: if the bag cannot be written.
    """

    def __init__(
            self, path: Union[str, Path], inputs: Inputs, topics: Sequence[str], name: str,
            others: Sequence[str] = ()) -> None:
        if len(inputs.bags) != 1 or inputs.has_pictures:
            raise UsageError(
                '--output writes a bag beside one bag: give one bag as the only INPUT')
        #: Image topic to the topic of its answers.
        self._topics: dict[str, str] = {}
        bag, = inputs.bags
        for topic in topics:
            answer = answer_topic(topic, name)
            if answer in self._topics.values():
                raise UsageError(
                    f'{" and ".join(topics)} would be answered on '
                    f'the same {answer}: choose with --topic')
            if answer in topics:
                raise UsageError(
                    f'{topic} would be answered on {answer}, which has images: choose with '
                    '--topic')
            if answer in others:
                raise UsageError(
                    f'{topic} would be answered on {answer}, which --regions reads: leave '
                    '--output out')
            types = bag.image_types(topic)
            if len(types) > 1:
                raise UsageError(
                    f'{topic} has {" and ".join(types)}, and a topic of the new bag has one type: '
                    'choose others with --topic')
            self._topics[topic] = answer
        self._writer = BagWriter(path)

    def copy(self, message: BagMessage) -> None:
        """Write an unchanged message."""
        self._writer.copy(message)

    def finish(self) -> None:
        """
        Complete the bag and move it to its place.

        :raises BagError: if it cannot be written.
        """
        self._writer.finish()
        if self._writer.moved:
            print_warning(
                f'{self._writer.path}: {count_of(self._writer.moved, "message")} logged before '
                '1970, which mcap cannot hold, now logged at 0')

    def close(self) -> None:
        """Remove the bag if it was not finished."""
        self._writer.discard()


class ClassifiedBag(AnsweredBag):
    """
    The bag of whole images; see `AnsweredBag`.

    :param class_id_format: 'label' or 'index'.
    """

    def __init__(self, path: Union[str, Path], inputs: Inputs, class_id_format: str) -> None:
        topics = [topic for bag in inputs.bags for topic in inputs.image_topics(bag)]
        super().__init__(path, inputs, topics, 'classification')
        self._class_id_format = class_id_format

    def write(self, source: Source, predictions: Sequence[Prediction]) -> None:
        """Write a recorded image and its classification, both with the image's log time."""
        assert source.image is not None
        self.copy(source.image)
        self._writer.write_classification(
            self._topics[source.image.topic], source.image.stamp_ns, source.image.frame_id,
            predictions, self._class_id_format, log_time_ns=source.image.log_time_ns)


class RegionsBag(AnsweredBag):
    """
    The bag of regions; see `AnsweredBag`.

    :param pairs: image topics, each with the topic of the detections in it.
    :param class_id_format: 'label' or 'index'.
    :param keep_source_results: keep the detector's results in front of ours.
    """

    def __init__(
            self, path: Union[str, Path], inputs: Inputs, pairs: Mapping[str, str],
            class_id_format: str, keep_source_results: bool) -> None:
        super().__init__(
            path, inputs, list(pairs), 'classified_detections', list(pairs.values()))
        self._class_id_format = class_id_format
        self._keep_source_results = keep_source_results

    def write(
            self, image_topic: str, detections: BagDetections, answers: Sequence[RegionAnswer],
            log_time_ns: int) -> None:
        """
        Write detections with their answers.

        :param image_topic: of the image that they were found in.
        :param detections: of the input.
        :param answers: one for each.
        :param log_time_ns: when both were there.
        """
        self._writer.write_detections(
            self._topics[image_topic], detections.message, answers, self._class_id_format,
            self._keep_source_results, log_time_ns)


def answer_topic(image_topic: str, name: str = 'classification') -> str:
    """
    Return the topic on which the node would publish the results of an image topic.

    :param image_topic: such as '/front/image' or '/front/image/compressed'.
    :param name: of the topic without its camera.
    :returns: such as '/front/classification'.
    """
    parts = image_topic.split('/')
    if parts[-1] in ('compressed', 'ffmpeg'):
        parts.pop()
    return '/'.join([*parts[:-1], name])
