"""Ctrl-C ends a command whose model computes without end, and leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from threading import Event, Thread

from models.tiny_model import write_endless_model, write_tiny_model
import pytest
from resnet_trt_node.interrupt import interruptible, interrupts_reach_runtimes

#: Tells when the command's model is about to run: the first place at which Ctrl-C was lost.
_COMMAND = (
    'import sys\n'
    'from resnet_trt_node.backends import onnxruntime_session\n'
    'true_interruptible = onnxruntime_session.interruptible\n'
    'def interruptible(cancel):\n'
    '    print("computes", flush=True)\n'
    '    return true_interruptible(cancel)\n'
    'onnxruntime_session.interruptible = interruptible\n'
    'from resnet_trt_node.cli.main import main\n'
    'sys.exit(main(sys.argv[1:]))\n')


@pytest.mark.slow
@pytest.mark.parametrize('words', [
    ['classify', 'MODEL', 'PICTURES', '--backend', 'onnxruntime'],
    ['compare', 'MODEL', '--backends', 'onnxruntime'],
    ['compare', 'MODEL', '--backends', 'polygraphy:onnxrt']], ids=lambda words: words[-1])
def test_ctrl_c_ends_a_loop_without_end(tmp_path, pictures, words):
    names = {'MODEL': write_endless_model(tmp_path / 'endless.onnx'), 'PICTURES': pictures}
    with subprocess.Popen(
            [sys.executable, '-c', _COMMAND, *(str(names.get(word, word)) for word in words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        try:
            while command.stdout.readline() != 'computes\n':
                assert command.poll() is None, command.stderr.read()
            command.send_signal(signal.SIGINT)
            # Against hanging alone: a loaded machine takes its time to end a process.
            command.wait(60)
            printed = command.stderr.read()
        finally:
            command.kill()
    assert (command.returncode, printed.count('Traceback')) == (130, 0), printed


def test_what_computes_is_cancelled_once_and_by_an_interrupt_alone():
    before = signal.getsignal(signal.SIGINT)
    calls, ended = [], Event()

    def cancel():
        calls.append('cancelled')
        ended.set()
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        with interrupts_reach_runtimes():
            with interruptible(lambda: calls.append('after the end')):
                pass
            with interruptible(cancel):
                signal.raise_signal(signal.SIGUSR1)
                assert calls == []
                signal.raise_signal(signal.SIGINT)
                assert ended.wait(60)
        with interruptible(lambda: calls.append('nobody watches')):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert calls == ['cancelled']
    assert signal.set_wakeup_fd(-1) == -1


def test_on_another_thread_nothing_is_watched(resnet_trt, tmp_path, pictures):
    model = write_tiny_model(tmp_path / 'tiny.onnx')
    seen = []
    thread = Thread(target=lambda: seen.append(
        resnet_trt('classify', model, pictures, '--backend', 'onnxruntime').code))
    thread.start()
    thread.join(60)
    assert seen == [0]
