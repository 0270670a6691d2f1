"""
Measure what receiving large images costs: allocator, transport and the parameter `receive`.

A camera and a receiver run in processes of their own over Fast DDS. A comparison's variants take
turns, round by round, and its table gives medians over the rounds: CPU time of the receiver (with
the resize to 224x224) and latency relative to the first row that got frames, page faults a frame,
memory. Absolute figures are in the JSON.

Usage: python tools/measure_ingest.py [allocator] [transport] [receive] [--rounds 3] [-o FILE.json]
"""

from __future__ import annotations

import argparse
from array import array
from dataclasses import asdict, dataclass, replace
import json
import os
from pathlib import Path
import resource
from statistics import median
import struct
import subprocess
import sys
from time import monotonic, monotonic_ns, sleep
from typing import Any

from bench.environment import profile, ROOT
import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from resnet_trt_node.allocator import configure_allocator
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.resize import Resizer
from resnet_trt_node.node.deferred_destruction import NodeOfDeferredDestruction
from resnet_trt_node.node.distribution import events_executor
from resnet_trt_node.node.ros.receiving.image_cdr import ReceivedImage
from resnet_trt_node.node.ros.topics.input_topic import InputTopic, LargeMessages
from sensor_msgs.msg import Image

PROFILES = {
    'profile': ('fastdds_large_images.xml', 'fastdds_large_images_receiver.xml'),
    'sender only': ('fastdds_large_images.xml', None)}
SIZES = {'1080p': (1920, 1080, 20.0), '4K': (3840, 2160, 10.0)}
TIMEOUT_S = 60.0
#: Without a frame for so long the receiver ends.
SILENCE_S = 4.0
#: Frames in which both sides get warm; those after them are measured.
WARM_UP = 15


@dataclass(frozen=True)
class Variant:
    """
    One way of receiving.

    :param transport: default, LARGE_DATA (Fast DDS's own preset), profile or sender only.
    :param reliability: reliable or best_effort, the receiver's; the camera is reliable.
    :param size: one of `SIZES`.
    :param allocator: keep or system.
    :param receive: message or serialised, the node's parameter.
    """

    transport: str = 'profile'
    reliability: str = 'best_effort'
    size: str = '1080p'
    allocator: str = 'keep'
    receive: str = 'serialised'


def comparisons() -> dict[str, list[list[Variant]]]:
    """Return the tables of each comparison; the first row of a table is its measure."""
    ways = (('default', 'reliable'), ('LARGE_DATA', 'best_effort'), ('profile', 'best_effort'))
    plain = [Variant(transport, reliability) for transport, reliability in ways]
    return {
        'allocator': [
            [replace(variant, allocator=policy) for policy in ('system', 'keep')]
            for variant in (*plain, replace(plain[-1], size='4K'))],
        'transport': [
            [Variant(transport, reliability, size)
             for transport in ('default', 'LARGE_DATA', 'sender only', 'profile')
             for reliability in ('reliable', 'best_effort')] for size in SIZES],
        'receive': [
            [replace(plain[-1], size=size, receive=way) for way in ('message', 'serialised')]
            for size in SIZES]}


def publish(variant: Variant, frames: int) -> None:
    """Publish frames with the monotonic clock in their stamps."""
    width, height, rate_hz = SIZES[variant.size]
    message = Image(height=height, width=width, step=3 * width, encoding='bgr8')
    message.header.frame_id = 'camera'
    message.data = array('B', np.random.default_rng(0).bytes(3 * width * height))
    # Serialised once, as a driver in C++ costs little too; the stamp follows the encapsulation.
    wire = bytearray(serialize_message(message))
    node = rclpy.create_node('camera')
    publisher = node.create_publisher(Image, 'image', QoSProfile(depth=5))
    while rclpy.ok() and not publisher.get_subscription_count():
        sleep(0.05)
    # The receiver's side of the match has no event in rclpy.
    sleep(0.5)
    due = monotonic()
    for _ in range(frames):
        due += 1.0 / rate_hz
        sleep(max(0.0, due - monotonic()))
        struct.pack_into('<iI', wire, 4, *divmod(monotonic_ns(), 10**9))
        publisher.publish(bytes(wire))
    # Ended by the receiver's end; what is on its way is still repeated until then.
    while rclpy.ok():
        sleep(0.05)


def receive(variant: Variant, frames: int) -> None:
    """Resize frames as the node does until all or none come any more; print the figures."""
    node = NodeOfDeferredDestruction('receiver')
    resizer = Resizer(ResizeRule(256, 224, 224))
    row = np.empty((224, 224, 3), np.uint8)
    latencies_ms: list[float] = []
    used: list[tuple[float, int]] = []

    def take(message: Any, waited_ns: int) -> None:
        stamp = message.header.stamp
        latencies_ms.append((monotonic_ns() - stamp.sec * 10**9 - stamp.nanosec) / 1e6)
        resizer.resize(decode_message(message), row)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        used.append((usage.ru_utime + usage.ru_stime, usage.ru_minflt))

    topic = InputTopic(
        node, Image, 'image', 5, variant.reliability == 'reliable', ReceivedImage,
        large=LargeMessages(4, variant.receive))
    topic.subscribe(take)
    executor = (events_executor() or SingleThreadedExecutor)()
    executor.add_node(node)
    count, since = 0, monotonic()
    while count < frames and monotonic() - since < SILENCE_S:
        executor.spin_once(timeout_sec=0.1)
        if len(used) != count:
            count, since = len(used), monotonic()
    topic.unsubscribe()
    status = dict(line.split(':', 1) for line in
                  Path('/proc/self/status').read_text().splitlines())
    figures = {'frames': float(count), **{
        name: int(status[key].split()[0]) / 1024
        for name, key in (('own_mib', 'RssAnon'), ('peak_mib', 'VmHWM'))}}
    measured = count - 1 - WARM_UP
    if measured > 5:
        (cpu_before, faults_before), (cpu, faults) = used[WARM_UP], used[-1]
        figures.update(
            cpu_ms=(cpu - cpu_before) / measured * 1e3, faults=(faults - faults_before) / measured,
            latency_ms=median(latencies_ms[WARM_UP:]))
    print(json.dumps(figures), flush=True)


def environment(variant: Variant, camera: bool, domain: int) -> dict[str, str]:
    """Return the environment of one end."""
    values = {
        name: value for name, value in os.environ.items()
        # LARGE_DATA does nothing under the discovery range LOCALHOST.
        if name not in ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY')}
    paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    values.update(
        ROS_DOMAIN_ID=str(domain), RESNET_TRT_ALLOCATOR=variant.allocator,
        PYTHONPATH=os.pathsep.join(paths))
    if variant.transport == 'LARGE_DATA':
        values['FASTDDS_BUILTIN_TRANSPORTS'] = 'LARGE_DATA'
    file = PROFILES.get(variant.transport, (None, None))[0 if camera else 1]
    return {**values, **({} if file is None else profile(file))}


def run_once(variant: Variant, frames: int, domain: int) -> dict[str, float]:
    """Run camera and receiver; return the receiver's figures."""
    options = [json.dumps(asdict(variant)), str(frames)]
    camera = subprocess.Popen(
        [sys.executable, __file__, 'camera', *options], env=environment(variant, True, domain),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        result = subprocess.run(
            [sys.executable, __file__, 'receiver', *options],
            env=environment(variant, False, domain), capture_output=True, text=True,
            timeout=TIMEOUT_S)
        if result.returncode:
            raise RuntimeError(f'the receiver failed:\n{result.stderr}')
        figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
        return figures
    finally:
        # Not killed: the shared memory of a killed process stays.
        camera.terminate()
        camera.wait(TIMEOUT_S)


def run_end(role: str, variant: Variant, frames: int) -> None:
    """Be one end."""
    if role == 'receiver':
        configure_allocator()
    rclpy.init()
    try:
        {'camera': publish, 'receiver': receive}[role](variant, frames)
    finally:
        rclpy.try_shutdown()


def row_of(variant: Variant, figures: dict[str, float], first: dict[str, float],
           frames: int) -> str:
    """Return a line of the table."""
    cells = [*asdict(variant).values(), f'{figures["frames"]:.0f} of {frames}']
    cells += [f'{figures[name] / first[name]:.2f}' if name in figures else '-'
              for name in ('cpu_ms', 'latency_ms')]
    cells.append(f'{figures["faults"]:.0f}' if 'faults' in figures else '-')
    cells += [f'{figures["own_mib"]:.0f}', f'{figures["peak_mib"]:.0f}']
    return f'| {" | ".join(cells)} |'


def main() -> int:
    """Run from the command line."""
    if sys.argv[1:2] in (['camera'], ['receiver']):
        run_end(sys.argv[1], Variant(**json.loads(sys.argv[2])), int(sys.argv[3]))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[1])
    parser.add_argument('compare', nargs='*', metavar='allocator|transport|receive')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--frames', type=int, default=60)
    parser.add_argument('--domain', type=int, default=87, help='ROS_DOMAIN_ID of both ends')
    parser.add_argument('-o', '--output', type=Path, help='JSON file with every run')
    arguments = parser.parse_args()
    chosen = arguments.compare or list(comparisons())
    if unknown := set(chosen) - comparisons().keys():
        parser.error(f'unknown comparison {", ".join(unknown)}')
    everything = []
    for name in chosen:
        print(f'\n{name}\n\n| transport | reliability | size | allocator | receive | frames | CPU '
              '| latency p50 | faults a frame | own MiB | peak MiB |\n' + '|---' * 11 + '|')
        for variants in comparisons()[name]:
            runs: dict[Variant, list[dict[str, float]]] = {one: [] for one in variants}
            for _ in range(arguments.rounds):
                for variant in variants:
                    runs[variant].append(run_once(variant, arguments.frames, arguments.domain))
            middle = {
                variant: {key: median([run[key] for run in values if key in run])
                          for key in dict.fromkeys(key for run in values for key in run)}
                for variant, values in runs.items()}
            first = next((one for one in middle.values() if 'cpu_ms' in one), {})
            for variant, values in runs.items():
                print(row_of(variant, middle[variant], first, arguments.frames), flush=True)
                everything.append({
                    'comparison': name, **asdict(variant), 'frames_sent': arguments.frames,
                    'medians': middle[variant], 'runs': values})
    if arguments.output:
        arguments.output.write_text(json.dumps(everything, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
