"""Runs the node; `entry` calls this once signals are taken."""

from __future__ import annotations

import gc
import os
import sys
import threading
import traceback
from typing import Optional, Sequence
import warnings

import cv2
import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from resnet_trt_node.errors import ResnetTrtError, UsageError
from resnet_trt_node.node.classifier_node import ClassifierNode
from resnet_trt_node.node.command_line import init_ros
from resnet_trt_node.node.pipeline.pipeline import THREADS
from resnet_trt_node.node.process_tuning import settle_allocator
from resnet_trt_node.node.ros.params_files import warn_of_idle_files
from resnet_trt_node.node.ros.ros_errors import refusals_explained
from resnet_trt_node.node.stop_signal import StopSignal

#: Exit code of a node with `autostart` whose backend hangs or could not be opened again: a
#: supervisor that starts it anew may help.
EXIT_DISABLED = 3
#: How long a signal may go unnoticed; rclpy's wait does not end with one.
_WAKE_SEC = 0.2


def main(
        arguments: Optional[Sequence[str]] = None, stop: Optional[StopSignal] = None) -> int:
    """
    Run the node until SIGINT or SIGTERM.

    :param arguments: the command line without the program's name, None for the process's own.
    :param stop: takes the signals; None for one of its own.
    :returns: 0 after a signal, 1 after an unforeseen error, 2 for a model, backend, parameter or
        argument that cannot be used, `EXIT_DISABLED` where a node that started itself had to
        disable its backend. Where a runtime could not be stopped, such as one that
        compiles an engine, the process ends here.
    """
    try:
        code = _main(arguments, StopSignal() if stop is None else stop)
    except Exception:
        if not _hangs():
            raise
        traceback.print_exc()
        code = 1
    if _hangs():
        # At its end Python stops such a thread as soon as that calls back, such as to log, by
        # unwinding its stack. Through TensorRT's callbacks, which are noexcept, that aborts.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _hangs() -> bool:
    """Tell whether a pipeline's thread is still in a runtime."""
    return any(thread.name in THREADS for thread in threading.enumerate())


def _main(arguments: Optional[Sequence[str]], stop: StopSignal) -> int:
    stop.remember()
    try:
        memory = settle_allocator()
        _settle_opencv()
        given = sys.argv[1:] if arguments is None else arguments
        return _run(stop, memory, given) if init_ros(given) else 0
    except ResnetTrtError as error:
        print(f'classifier_node: {error}', file=sys.stderr)
        return error.exit_code
    finally:
        rclpy.try_shutdown()


def _settle_opencv() -> None:
    """
    Have OpenCV compute on the calling thread alone, unless its environment variable says more.

    Its pool of threads waits for work by spinning in sched_yield: for steps of a millisecond that
    costs more CPU than it computes, a third of what resizing a 1080p frame does, and takes the
    cores from the backend. The setting is the process's, so it belongs here and not in the node.
    """
    if 'OPENCV_FOR_THREADS_NUM' not in os.environ:
        cv2.setNumThreads(1)


def _run(stop: StopSignal, memory: str, arguments: Sequence[str]) -> int:
    with refusals_explained('node'), warnings.catch_warnings():
        # Of what rclpy leaves behind when a name is wrong.
        warnings.simplefilter('ignore', RuntimeWarning)
        node = ClassifierNode(still_wanted=lambda: not stop.received)
    node.get_logger().info(memory)
    warn_of_idle_files(node, arguments)
    executor = _executor(node)
    executor.add_node(node)
    _settle_collector()
    try:
        return _spin(node, executor, stop)
    finally:
        if not node.finalized:
            node.trigger_shutdown()
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()


def _spin(node: ClassifierNode, executor: Executor, stop: StopSignal) -> int:
    """Spin the node until it is to end; return the exit code."""
    configured: list[TransitionCallbackReturn] = []
    # Building needs nobody's leave: it ends before anything is activated.
    wanted = node.parameters.autostart or node.parameters.build_only
    if wanted and not stop.received:
        node.configure(configured.append)
    while not stop.received:
        executor.spin_once(timeout_sec=_WAKE_SEC)
        code = _go_on(node, configured.pop()) if configured else None
        if code is not None:
            # What a signal broke off has not failed.
            return 0 if stop.received else code
        unexpected = node.unexpected_exception or (
            node.pipeline.unexpected_exception if node.pipeline is not None else None)
        if unexpected is not None:
            raise unexpected
        if node.disabled is not None and node.parameters.autostart:
            # Nobody else is there who would configure it again, and what hangs can only be got rid
            # of with the process.
            return EXIT_DISABLED
    return 0


def _go_on(node: ClassifierNode, configured: TransitionCallbackReturn) -> Optional[int]:
    """Activate the node that was configured; return the exit code if it is to end instead."""
    if configured == TransitionCallbackReturn.SUCCESS:
        if node.parameters.build_only:
            return _engine_built(node)
        node.trigger_activate()
    elif node.refusal is None:
        return 1
    return None if node.refusal is None else node.refusal.exit_code


def _settle_collector() -> None:
    """
    Have Python's garbage collector leave alone what imports have made: it stays for good.

    A full collection goes through all of it and holds frames up for 15 ms meanwhile. Called before
    the node is configured, so that pipelines are still collected once they are closed.
    """
    gc.collect()
    gc.freeze()


def _executor(node: ClassifierNode) -> Executor:
    """
    Return the executor that the parameter names.

    :raises UsageError: if this rclpy has no EventsExecutor and it was asked for.
    """
    wanted = node.parameters.executor
    if wanted == 'single_threaded':
        return SingleThreadedExecutor()
    try:
        # New in ROS 2 Kilted. rclpy's other executors put a wait set together in Python for every
        # message.
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError as error:
        if wanted == 'events':
            raise UsageError(
                'executor events: the rclpy of this ROS 2 has no EventsExecutor; set executor to '
                'auto') from error
        return SingleThreadedExecutor()
    return EventsExecutor()


def _engine_built(node: ClassifierNode) -> int:
    """Say what `build_only` has left behind; configuring has built it, or found it."""
    assert node.pipeline is not None
    engine = node.pipeline.backend.info.details.get('engine')
    if engine is None:
        raise UsageError(
            f'build_only: {node.pipeline.backend.info.name} compiles no engine; run it where '
            'TensorRT and its GPU are, and set backend to tensorrt to be told why it cannot be '
            'used')
    node.get_logger().info(f'engine ready: {engine}')
    return 0
