"""Writes the bag of `resnet_trt classify --output`: the images and their classifications."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Union

from resnet_trt_node.bag.writer import BagWriter
from resnet_trt_node.cli.support.console import count_of, print_warning
from resnet_trt_node.cli.support.sources import Inputs, Source
from resnet_trt_node.closing import Closing
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import UsageError


class ClassifiedBag(Closing):
    """
    A bag being written; a context manager that removes it after an error.

    :param path: the new bag, which must not exist.
    :param inputs: exactly one bag.
    :param class_id_format: 'label' or 'index'.
    :raises UsageError: for other inputs, or if an output topic would have two types or cameras.
    :raises BagError: if the bag cannot be written.
    """

    def __init__(self, path: Union[str, Path], inputs: Inputs, class_id_format: str) -> None:
        if len(inputs.bags) != 1 or inputs.pictures:
            raise UsageError(
                '--output writes a bag beside one bag: give one bag as the only INPUT')
        self._topics: dict[str, str] = {}
        bag, = inputs.bags
        topics = inputs.image_topics(bag)
        for topic in topics:
            answer = classification_topic(topic)
            if answer in self._topics.values():
                raise UsageError(
                    f'{" and ".join(topics)} would be answered on '
                    f'the same {answer}: choose with --topic')
            if answer in topics:
                raise UsageError(
                    f'{topic} would be answered on {answer}, which has images: choose with '
                    '--topic')
            types = bag.image_types(topic)
            if len(types) > 1:
                raise UsageError(
                    f'{topic} has {" and ".join(types)}, and a topic of the new bag has one type: '
                    'choose others with --topic')
            self._topics[topic] = answer
        self._class_id_format = class_id_format
        self._writer = BagWriter(path)

    def write(self, source: Source, predictions: Sequence[Prediction]) -> None:
        """Write a recorded image and its classification, both with the image's log time."""
        self.copy(source)
        assert source.image is not None
        self._writer.write_classification(
            self._topics[source.image.topic], source.image.stamp_ns, source.image.frame_id,
            predictions, self._class_id_format, log_time_ns=source.image.log_time_ns)

    def copy(self, source: Source) -> None:
        """Write a recorded image only."""
        assert source.image is not None
        self._writer.copy(source.image)

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


def classification_topic(image_topic: str) -> str:
    """
    Return the topic on which the node would publish the results of an image topic.

    :param image_topic: such as '/front/image' or '/front/image/compressed'.
    :returns: such as '/front/classification'.
    """
    parts = image_topic.split('/')
    if parts[-1] == 'compressed':
        parts.pop()
    return '/'.join([*parts[:-1], 'classification'])
