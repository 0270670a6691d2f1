"""Comparing the images that were read with those that a bag counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from resnet_trt_node.bag.storage.names import METADATA
from resnet_trt_node.errors import BagError


class UnreadableMessage(BagError):
    """
    One message that does not follow its definition; the next one may.

    :param path: the bag, or a file of it.
    :param topic: the message's topic.
    :param reason: what is wrong with which message, in words.
    """

    def __init__(self, path: object, topic: str, reason: str) -> None:
        super().__init__(
            f'{path}: on {topic} {reason}: leave that topic out or record the bag again')
        self.reason = reason


@dataclass
class ImageCount:
    """
    What a bag says of an image topic, and what was read.

    :param has_list: whether metadata.yaml lists any topic.
    :param is_listed: whether it lists this one.
    :param listed: the messages that it counts, None if it counts none.
    :param stored: the messages that the files count.
    :param images: those of them that are images: a topic may have other types as well.
    :param read: images that were read.
    :param unreadable: images that could not be read.
    :param error: what was wrong with the first of these.
    """

    has_list: bool
    is_listed: bool = False
    listed: Optional[int] = None
    stored: int = 0
    images: int = 0
    read: int = 0
    unreadable: int = 0
    error: Optional[UnreadableMessage] = None

    def difference(self) -> str:
        """Return in words what differs, empty if nothing does."""
        if self.error is not None:
            return (f'{self.unreadable} of {self.images} images are not readable, the first '
                    f'because {self.error.reason}')
        read = f'{self.read} image{"s" * (self.read != 1)} read'
        if self.read != self.images:
            return f'{read}, the bag has {self.images} by its own count'
        if self.has_list and not self.is_listed:
            return f'{read}, {METADATA} does not list the topic'
        if self.listed is not None and self.listed != self.stored:
            return f'{read}, {METADATA} counts {self.listed}'
        return ''
