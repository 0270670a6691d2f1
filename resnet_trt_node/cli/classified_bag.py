"""Writing the bag of `resnet_trt classify --output`: images with their classes beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Optional, Union

from resnet_trt_node.bag.writer import BagWriter
from resnet_trt_node.cli.sources import Inputs, Source
from resnet_trt_node.errors import UsageError
from resnet_trt_node.inference.classifier import Prediction


class ClassifiedBag:
    """
    A bag being written; a context manager that leaves nothing behind after an error.

    :param path: the new bag, which must not exist.
    :param inputs: one bag and nothing else.
    :param class_id_format: 'label' or 'index'.
    :raises UsageError: if there are other inputs, or two topics would be answered on one.
    :raises BagError: if the bag cannot be written.
    """

    def __init__(self, path: Union[str, Path], inputs: Inputs, class_id_format: str) -> None:
        if len(inputs.bags) != 1 or inputs.pictures:
            raise UsageError(
                '--output writes a bag beside one bag: give one bag as the only INPUT')
        self._topics: dict[str, str] = {}
        for topic in inputs.image_topics(inputs.bags[0]):
            answer = classification_topic(topic)
            if answer in self._topics.values():
                raise UsageError(
                    f'{" and ".join(inputs.image_topics(inputs.bags[0]))} would be answered on '
                    f'the same {answer}: choose with --topic')
            self._topics[topic] = answer
        self._class_id_format = class_id_format
        self._writer = BagWriter(path)

    def write(self, source: Source, predictions: Sequence[Prediction]) -> None:
        """Write a recorded image and its classes, both logged at the same time."""
        if source.image is None:
            raise ValueError('a picture of no bag')
        self._writer.copy(source.image)
        self._writer.write_classification(
            self._topics[source.image.topic], source.image.stamp_ns, source.image.frame_id,
            predictions, self._class_id_format, log_time_ns=source.image.log_time_ns)

    def copy(self, source: Source) -> None:
        """Write a recorded image that has no classes."""
        if source.image is None:
            raise ValueError('a picture of no bag')
        self._writer.copy(source.image)

    def finish(self) -> None:
        """
        Complete the bag and move it to its place.

        :raises BagError: if it cannot be written.
        """
        self._writer.finish()

    def __enter__(self) -> ClassifiedBag:
        """Return the bag itself."""
        return self

    def __exit__(
            self, kind: Optional[type[BaseException]], error: Optional[BaseException],
            trace: Optional[TracebackType]) -> None:
        """Drop the bag if it was not finished."""
        self._writer.discard()


def classification_topic(image_topic: str) -> str:
    """
    Return the topic that the node would answer on beside an image topic.

    :param image_topic: such as '/front/image' or '/front/image/compressed'.
    :returns: such as '/front/classification'.
    """
    parts = image_topic.split('/')
    if parts[-1] == 'compressed':
        parts.pop()
    return '/'.join([*parts[:-1], 'classification'])
