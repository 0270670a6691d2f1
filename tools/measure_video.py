"""
Send video over DDS, lose and break some of its packets, and print what the node made of it.

Each picture carries its number as its shade, which the simulated backend answers: an answer with
another picture's shade is wrong. Ends with 1 if there is one, or a packet is not accounted for.

    python tools/measure_video.py
    python tools/measure_video.py --codec h265 --lost 0 --broken 0
"""

from __future__ import annotations

import argparse
from array import array
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
import sys
import tempfile
from time import monotonic, time_ns
from typing import Any

from bench import BenchError
from bench.children import Child, wait_until
from bench.isolation import isolate_ros
import numpy as np

#: Shades between two pictures, many times what encoding changes, and how many there are.
STEP, SHADES = 10, 25
_ENCODERS = {'h264': 'libx264', 'h265': 'libx265'}
_STAGES = ('receive', 'preprocess', 'total')


def packets_of(codec: str, size: tuple[int, int], rate: int, count: int) -> list[bytes]:
    """Return a stream's packets, one for each picture, with a key frame a second."""
    import av
    context: Any = av.CodecContext.create(_ENCODERS[codec], 'w')
    context.width, context.height = size
    context.pix_fmt, context.time_base, context.framerate = 'yuv420p', Fraction(1, rate), rate
    context.gop_size, context.max_b_frames = rate, 0
    context.options = {
        'preset': 'ultrafast', 'tune': 'zerolatency',
        'x265-params': f'log-level=none:keyint={rate}:min-keyint={rate}'}
    # A stripe of noise that moves, so that packets have the size of a camera's.
    noise = np.random.default_rng(0).integers(0, 256, (size[1], 16, 3), np.uint8)
    packets: list[Any] = []
    for number in range(count):
        pixels = np.full((size[1], size[0], 3), number % SHADES * STEP, np.uint8)
        pixels[:, -16:] = np.roll(noise, 7 * number, axis=0)
        frame: Any = av.VideoFrame.from_ndarray(pixels, format='rgb24').reformat(format='yuv420p')
        frame.pts, frame.time_base = number, context.time_base
        packets += context.encode(frame)
    return [bytes(packet) for packet in packets + context.encode(None)]


def run(arguments: argparse.Namespace, folder: Path, stack: ExitStack) -> bool:
    """
    Send the stream to a node and print the outcome.

    :returns: whether every packet is accounted for and every answer right.
    :raises BenchError: if the node ends or does not answer.
    """
    # Imports rclpy, which reads the environment.
    from bench.observer import counts, Observer, stage_ms, unaccounted
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import CompressedImage
    from vision_msgs.msg import Classification
    width, height = (int(word) for word in arguments.size.split('x'))
    stream = packets_of(
        arguments.codec, (width, height), arguments.rate, 5 * arguments.rate)
    node = stack.enter_context(Child('node', 'resnet_trt_node.node.entry', [
        '--ros-args', '-p', 'backend:=simulated:5.0', '-p', 'image_transport:=compressed', '-p',
        'camera_timeout_sec:=0.0', '-p', 'queue_depth:=30', '-p', 'cameras:=[front]'], folder,
        talks=False))
    observer = stack.enter_context(Observer('/classifier'))
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    stack.callback(rclpy.shutdown, context=context)
    camera = rclpy.create_node('camera', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(camera)
    heard: list[tuple[int, str]] = []
    camera.create_subscription(
        Classification, 'front/classification', lambda answer: heard.append(
            (int(answer.header.frame_id), answer.results[0].class_id)), 1000)
    publisher = camera.create_publisher(CompressedImage, 'front/image/compressed', 10)

    def until(condition: Any, what: str) -> None:
        def spun() -> bool:
            executor.spin_once(timeout_sec=0.01)
            return bool(condition())
        wait_until(spun, what, 60.0, [node])
    until(lambda: publisher.get_subscription_count()
          and observer.status.get('front/listeners') == '1', 'the node')

    total = arguments.seconds * arguments.rate
    generator = np.random.default_rng(1)
    fates = generator.choice(
        ['sent', 'lost', 'broken'], total, p=[
            1 - (arguments.lost + arguments.broken) / 100, arguments.lost / 100,
            arguments.broken / 100])
    begin = monotonic()
    for number, fate in enumerate(fates):
        while (left := begin + number / arguments.rate - monotonic()) > 0:
            executor.spin_once(timeout_sec=left)
        if fate == 'lost':
            continue
        data = stream[number % len(stream)]
        message = CompressedImage(format=arguments.codec, data=array(
            'B', data[:len(data) // 2] if fate == 'broken' else data))
        message.header.frame_id = str(number)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time_ns(), 10**9)
        publisher.publish(message)
    sent = int(np.count_nonzero(fates != 'lost'))

    def numbers() -> dict[str, int]:
        return counts(observer.next_status(), 'front')
    until(lambda: numbers()['received'] + int(
        observer.status['front/lost_in_transport']) >= sent, 'the last packet')
    until(lambda: not numbers()['in_progress'], 'the last answer')
    until(lambda: len(heard) >= numbers()['answered'], 'the answers')
    ended = numbers()
    wrong = [number for number, answer in heard if round(int(
        answer.removeprefix('red_')) / STEP) != number % len(stream) % SHADES]
    print(f'{total} pictures of {width}x{height} as {arguments.codec} at {arguments.rate} Hz, '
          f'{np.mean([len(one) for one in stream]) / 1024:.0f} KiB a packet; '
          f'{total - sent} withheld, {np.count_nonzero(fates == "broken")} cut in half')
    print(', '.join(f'{key} {value}' for key, value in ended.items() if value)
          + f'; lost in transport {observer.status["front/lost_in_transport"]}, '
          f'unaccounted {unaccounted(ended)}, wrong answers {len(wrong)}')
    for stage in _STAGES:
        print(f'{stage}: p50 {stage_ms(observer.status, stage, 50)} ms, '
              f'p99 {stage_ms(observer.status, stage, 99)} ms')
    camera.destroy_node()
    return not wrong and unaccounted(ended) == 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').strip().splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--codec', choices=sorted(_ENCODERS), default='h264', help='of the video')
    parser.add_argument('--size', default='1920x1080', help='of the pictures')
    parser.add_argument('--rate', type=int, default=30, help='pictures a second')
    parser.add_argument('--seconds', type=int, default=20, help='of video')
    parser.add_argument('--lost', type=float, default=2.0, help='percent of packets withheld')
    parser.add_argument('--broken', type=float, default=1.0, help='percent cut in half')
    arguments = parser.parse_args()
    with isolate_ros(), tempfile.TemporaryDirectory(prefix='resnet_trt_video_') as folder, \
            ExitStack() as stack:
        try:
            return 0 if run(arguments, Path(folder), stack) else 1
        except BenchError as error:
            print(f'measure_video: {error}', file=sys.stderr)
            return 1


if __name__ == '__main__':
    sys.exit(main())
