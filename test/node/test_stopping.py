"""A node that is stopped ends by itself, whoever else hangs."""

from __future__ import annotations

from contextlib import contextmanager
import signal
import subprocess
import sys

from models.tiny_model import write_endless_model
from nodes.node_process import NodeProcess
from nodes.simulated_node import red, run
import pytest

pytestmark = pytest.mark.slow

_LISTENER = (
    'import sys\n'
    'import rclpy\n'
    'from vision_msgs.msg import Classification\n'
    'rclpy.init()\n'
    'node = rclpy.create_node("listener")\n'
    'for camera in sys.argv[1:]:\n'
    '    node.create_subscription(\n'
    '        Classification, f"/{camera}/classification", lambda message: None, 10)\n'
    'rclpy.spin(node)\n')


@contextmanager
def listening_process(cameras: list[str]):
    process = subprocess.Popen([sys.executable, '-c', _LISTENER, *cameras])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(('count', 'infer_ms'), [(12, 1.0), (3, 900.0)])
def test_listeners_that_hang_do_not_hold_it_up(peer, count, infer_ms):
    cameras = [f'camera_{number}' for number in range(count)]
    with listening_process(cameras) as listener, run(
            '-p', f'cameras:=[{", ".join(cameras)}]', '-p', f'backend:=simulated:{infer_ms}', '-p',
            'batch_size:=1') as node:
        peer.listen_to_diagnostics()
        for camera in cameras:
            peer.connect(f'{camera}/image', camera=f'{camera}/')
            peer.publish(f'{camera}/image', red(1))
        peer.spin_until(lambda: peer.status()['answered'] == str(count), 'answers')
        # Reliable subscriptions that acknowledge nothing any more.
        listener.send_signal(signal.SIGSTOP)
        for camera in cameras:
            peer.publish(f'{camera}/image', red(2))
        peer.spin_until(lambda: peer.status()['received'] == str(2 * count), 'more frames')
        code = node.stop()
    assert code == 0, node.log
    assert node.ended_by_itself


def test_a_batch_that_hangs_in_the_backend_does_not_hold_it_up(peer):
    # On a red picture, which the warm-up's are not.
    slow_down = (
        'from threading import Event\n'
        'from resnet_trt_node.backends.simulated import SimulatedBackend\n'
        'infer = SimulatedBackend._collect\n'
        'def collect(self, size, index):\n'
        '    if (self.buffer(index)[0] == (255, 0, 0)).all():\n'
        '        Event().wait()\n'
        '    return infer(self, size, index)\n'
        'SimulatedBackend._collect = collect\n')
    with NodeProcess('-p', 'backend:=simulated', '-p', 'image_reliability:=reliable', '-p',
                     'diagnostics_period_sec:=0.1', prepare=slow_down) as node:
        peer.listen_to_results()
        peer.connect('image')
        peer.publish('image', red(255))
        peer.spin_until(lambda: peer.status()['received'] == '1', 'the frame')
        code = node.stop()
    assert code == 0, node.log
    assert node.ended_by_itself
    assert '1 frames received, 0 answered, dropped: 1 failed' in node.log


def test_a_loop_in_a_model_that_never_ends_does_not_hold_it_up(tmp_path):
    tell = (
        'from resnet_trt_node.backends import onnxruntime_session\n'
        'true_interruptible = onnxruntime_session.interruptible\n'
        'def interruptible(cancel):\n'
        '    print("computes", flush=True)\n'
        '    return true_interruptible(cancel)\n'
        'onnxruntime_session.interruptible = interruptible\n')
    model = write_endless_model(tmp_path / 'endless.onnx')
    with NodeProcess(
            '-p', f'model_path:={model}', '-p', 'backend:=onnxruntime', prepare=tell) as node:
        node.wait_for('computes')
        code = node.stop()
    assert (code, 'Traceback' in node.log) == (0, False), node.log
    assert node.ended_by_itself
