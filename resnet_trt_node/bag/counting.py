"""Compares the number of images that were read with the counts of the bag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from resnet_trt_node.bag.storage.names import METADATA
from resnet_trt_node.errors import BagError


class UnreadableMessage(BagError):
    """
    A message that does not follow its definition; other messages are still readable.

    :param path: the bag, or a file of it.
    :param topic: the message's topic.
    :param reason: which message, and what is wrong with it.
    """

    def __init__(self, path: object, topic: str, reason: str) -> None:
        super().__init__(
            f'{path}: on {topic} {reason}: leave that topic out or record the bag again')
        self.reason = reason


@dataclass
class ImageCount:
    """
    The counts of an image topic by metadata.yaml and by the files, and what was read.

    :param is_left_out: whether metadata.yaml lists other topics alone.
    :param listed: number of messages by metadata.yaml, None without a count.
    :param stored: number of messages by the files.
    :param images: how many of them are images: a topic may have other types as well.
    :param read: number of images that were read.
    :param unreadable: number of images that could not be read.
    :param error: the error of the first of these.
    """

    is_left_out: bool
    listed: Optional[int]
    stored: int = 0
    images: int = 0
    read: int = 0
    unreadable: int = 0
    error: Optional[UnreadableMessage] = None

    def difference(self) -> str:
        """Return the difference in words, '' if there is none."""
        if self.error is not None:
            return (f'{self.unreadable} of {self.images} images are not readable, the first '
                    f'because {self.error.reason}')
        read = f'{self.read} image{"s" * (self.read != 1)} read'
        if self.read != self.images:
            return f'{read}, the bag has {self.images} by its own count'
        if self.is_left_out:
            return f'{read}, {METADATA} does not list the topic'
        if self.listed is not None and self.listed != self.stored:
            return f'{read}, {METADATA} counts {self.listed}'
        return ''
