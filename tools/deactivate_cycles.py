"""
Deactivate and activate a node again and again while frames come and some are lost on the way.

On the default transport, by best effort, with each executor. Ends with 1 if a node ended, did not
follow, or nothing was lost: then nothing was shown. For the whole proof:

    python tools/deactivate_cycles.py --cycles 1000
    python tools/deactivate_cycles.py --cycles 1000 --size 1280x720 --rate 30
    python tools/deactivate_cycles.py --cycles 1000 --size 1280x720 --rate 30 --regions 12
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile

from bench import BenchError
from bench.camera import Camera
from bench.children import wait_until
from bench.deployment import DEFAULT
from bench.isolation import isolate_ros

EXECUTORS = ('auto', 'single_threaded')


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').strip().splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--cycles', type=int, default=100, help='of each executor')
    parser.add_argument('--executor', nargs='+', default=EXECUTORS, help='of the node')
    parser.add_argument(
        '--receive', default='auto', choices=('auto', 'message', 'serialised'), help='of the node')
    parser.add_argument('--size', default='640x480', help='of the frames')
    parser.add_argument('--rate', type=float, default=200.0, help='frames per second')
    parser.add_argument(
        '--regions', type=int, default=0, help='of each frame, which are classified instead of it')
    arguments = parser.parse_args()
    width, height = (int(word) for word in arguments.size.split('x'))
    camera = Camera(
        'c0', width=width, height=height, rate_hz=arguments.rate, best_effort=DEFAULT.best_effort,
        regions=arguments.regions)
    with isolate_ros(), tempfile.TemporaryDirectory(prefix='resnet_trt_cycles_') as logs:
        os.environ['ROS_LOG_DIR'] = logs
        try:
            for executor in arguments.executor:
                shown = run(executor, camera, arguments.cycles, arguments.receive)
                print(f'{executor}: {shown}', flush=True)
        except BenchError as error:
            print(f'deactivate_cycles: {error}', file=sys.stderr)
            return 1
    return 0


def run(executor: str, camera: Camera, cycles: int, receive: str) -> str:
    """
    Run a node through its cycles.

    :returns: a sentence on what was shown.
    :raises BenchError: if it ended before or not with 0, or nothing was lost.
    """
    # Imports rclpy, which reads the environment.
    from bench.rig import Rig
    with Rig([camera], {
            'backend': 'simulated', 'executor': executor, 'receive': receive,
            'diagnostics_period_sec': 0.1,
            'input': 'regions' if camera.regions else 'image'},
            deployment=DEFAULT) as rig:
        children = list(rig.children.values())

        def events() -> int:
            """Return how many frames came, or did not."""
            status = rig.observer.status
            return sum(int(status.get(f'{camera.name}/{key}', 0))
                       for key in ('received', 'lost_in_transport'))

        rig.children['cameras'].ask(do='run', cameras=[camera.key], seconds=None)
        for cycle in range(1, cycles + 1):
            before = events()
            wait_until(
                lambda before=before: events() > before, f'frames in cycle {cycle}', 60.0,
                children)
            for transition in ('deactivate', 'activate'):
                try:
                    followed = rig.observer.change_state(transition)
                finally:
                    # Says why there was no answer.
                    rig.children['node'].check()
                if not followed:
                    raise BenchError(f'cycle {cycle}: the node does not {transition}')
        status = rig.observer.next_status()
        code = rig.stop_node()
        if code:
            raise BenchError(
                f'the node ended with exit code {code}\n{rig.children["node"].tail()}')
    lost, answered = (
        status[f'{camera.name}/{key}'] for key in ('lost_in_transport', 'answered'))
    if lost == '0':
        raise BenchError('no frame was lost, so this shows nothing: take larger or more frames')
    return f'{cycles} cycles, exit code 0; {answered} frames answered, {lost} lost'


if __name__ == '__main__':
    sys.exit(main())
