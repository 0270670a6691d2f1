"""`resnet_trt replay`: publishes the images of a bag through ROS."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.cli.support.console import (
    count_of, print_json, print_warning, Progress, write)
from resnet_trt_node.cli.support.ros_command import import_ros, sigterm_interrupts
from resnet_trt_node.errors import UsageError


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns 0, also when Ctrl-C ended it."""
    replay = import_ros('replay', 'bag.replay').replay
    topics, remap = parse_topics(arguments.topic)
    if not 0 <= arguments.wait < float('inf'):
        raise UsageError(f'--wait is {arguments.wait}: give seconds, 0 or more')
    with sigterm_interrupts(), BagReader(arguments.bag, print_warning) as bag, Progress(
            None if arguments.loop else bag.image_count(topics), 'image',
            quiet=arguments.json) as progress:
        report = replay(
            bag, rate=arguments.rate, loop=arguments.loop, remap=remap, topics=topics,
            wait_for_subscribers=arguments.wait or None, restamp=arguments.restamp,
            clock=arguments.clock, reliability=arguments.reliability,
            depth=arguments.depth, enclave=arguments.enclave,
            on_progress=lambda image: progress.step())
    if arguments.json:
        print_json('replay', {
            'bag': str(arguments.bag), **asdict(report), 'warnings': bag.warnings})
    else:
        for source, topic in report.topics.items():
            renamed = '' if topic.topic == source else f' as {topic.topic}'
            write(f'{source}{renamed}: {count_of(topic.published, "image")} to '
                  f'{count_of(topic.subscriptions, "subscription")}')
    return 0


def parse_topics(words: list[str]) -> tuple[list[str] | None, dict[str, str]]:
    """
    Parse the values of --topic.

    :param words: each A or A:=B.
    :returns: the recorded topics to publish, None for all, and recorded topic to new name.
    :raises UsageError: if one of the names is missing.
    """
    remap: dict[str, str] = {}
    topics = []
    for word in words:
        source, arrow, target = word.partition(':=')
        if not source or (arrow and not target):
            raise UsageError(
                f'--topic {word}: write A, or A:=B to publish A under the name B')
        topics.append(source)
        if arrow:
            remap[source] = target
    return topics or None, remap
