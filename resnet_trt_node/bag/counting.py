"""Compares the number of messages that were read with the counts of the bag."""

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
class MessageCount:
    """
    The counts of a topic by metadata.yaml and by the files, and what was read.

    :param noun: what its messages are, such as 'image'.
    :param is_left_out: whether metadata.yaml lists other topics alone.
    :param listed: number of messages by metadata.yaml, None without a count.
    :param stored: number of messages by the files.
    :param expected: how many of them are of the type: a topic may have other types as well.
    :param read: number of these that were read.
    :param unreadable: number of these that could not be read.
    :param error: the error of the first of these.
    """

    noun: str
    is_left_out: bool
    listed: Optional[int]
    stored: int = 0
    expected: int = 0
    read: int = 0
    unreadable: int = 0
    error: Optional[UnreadableMessage] = None

    def difference(self) -> str:
        """Return the difference in words, '' if there is none."""
        if self.error is not None:
            return (f'{self.unreadable} of {self.expected} {self.noun}s are not readable, the '
                    f'first because {self.error.reason}')
        read = f'{self.read} {self.noun}{"s" * (self.read != 1)} read'
        if self.read != self.expected:
            return f'{read}, the bag has {self.expected} by its own count'
        if self.is_left_out:
            return f'{read}, {METADATA} does not list the topic'
        if self.listed is not None and self.listed != self.stored:
            return f'{read}, {METADATA} counts {self.listed}'
        return ''
