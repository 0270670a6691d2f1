"""
Deactivate and activate a node again and again while frames come and some are lost on the way.

On the default transport, by best effort, with each executor. Ends with 1 if a node ended, did not
follow, or nothing was lost: then nothing was shown. For the whole proof:

    python tools/deactivate_cycles.py --cycles 1000
    python tools/deactivate_cycles.py --cycles 1000 --size 1280x720 --rate 30
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import sys
import tempfile

from bench import BenchError
from bench.children import Child, wait_until
from bench.environment import PROFILE_VARIABLES
from bench.isolation import isolate_ros

NAME = '/cycled'
EXECUTORS = ('auto', 'single_threaded')


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').strip().splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--cycles', type=int, default=100, help='of each executor')
    parser.add_argument('--executor', nargs='+', default=EXECUTORS, help='of the node')
    parser.add_argument('--size', default='640x480', help='of the frames')
    parser.add_argument('--rate', type=float, default=200.0, help='frames per second')
    arguments = parser.parse_args()
    claim = isolate_ros()
    try:
        with tempfile.TemporaryDirectory(prefix='resnet_trt_cycles_') as folder:
            os.environ['ROS_LOG_DIR'] = folder
            for executor in arguments.executor:
                print(f'{executor}: {run(executor, arguments, Path(folder))}', flush=True)
    except BenchError as error:
        print(f'deactivate_cycles: {error}', file=sys.stderr)
        return 1
    finally:
        claim.close()
    return 0


def run(executor: str, arguments: argparse.Namespace, folder: Path) -> str:
    """
    Run a node through its cycles.

    :returns: a sentence on what was shown.
    :raises BenchError: if it ended before or not with 0, or nothing was lost.
    """
    # A profile would choose another transport.
    for name in PROFILE_VARIABLES:
        os.environ.pop(name, None)
    # Imports rclpy, which reads the environment.
    from bench.observer import Observer
    node_arguments = [
        '--ros-args', '-r', f'__node:={NAME[1:]}', '-p', 'backend:=simulated', '-p',
        f'executor:={executor}', '-p', 'diagnostics_period_sec:=0.1']
    with Child('lossy_camera', 'bench.lossy_camera', [
            'image', *arguments.size.split('x'), str(arguments.rate)], folder) as camera, \
            Observer(NAME) as observer, \
            Child(f'node_{executor}', 'resnet_trt_node.node.entry', node_arguments, folder,
                  talks=False) as node:
        children = [node, camera]

        def come() -> int:
            """Return how many frames came, or did not."""
            status = observer.status
            return sum(int(status.get(key, 0)) for key in ('received', 'lost_in_transport'))

        wait_until(come, 'frames', 60.0, children)
        for cycle in range(1, arguments.cycles + 1):
            for transition in ('deactivate', 'activate'):
                try:
                    followed = observer.change_state(transition)
                finally:
                    # Says why there was no answer.
                    node.check()
                if not followed:
                    raise BenchError(f'cycle {cycle}: the node does not {transition}')
            before = come()
            wait_until(
                lambda before=before: come() > before, f'frames in cycle {cycle}', 60.0, children)
        status = observer.next_status()
        code = node.stop()
        if code:
            raise BenchError(f'the node ended with exit code {code}\n{node.tail()}')
    lost, answered = status['lost_in_transport'], status['answered']
    if lost == '0':
        raise BenchError('no frame was lost, so this shows nothing: take larger or more frames')
    return f'{arguments.cycles} cycles, exit code 0; {answered} frames answered, {lost} lost'


if __name__ == '__main__':
    sys.exit(main())
