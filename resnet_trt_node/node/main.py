"""Runs the node; called by `entry` after it has installed the signal handlers."""

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
from resnet_trt_node.node.distribution import events_executor
from resnet_trt_node.node.pipeline.pipeline import THREADS
from resnet_trt_node.node.ros.parameters.files import warn_of_idle_files
from resnet_trt_node.node.ros.ros_errors import refusals_explained
from resnet_trt_node.node.stop_signal import StopSignal

#: Exit code of a node with `autostart` whose backend was disabled: it hangs or could not be
#: reopened. A supervisor should restart the process.
EXIT_DISABLED = 3
#: Period of the check for signals, since a signal does not end rclpy's wait.
_WAKE_SEC = 0.2


def main(arguments: Sequence[str], stop: StopSignal, memory: str) -> int:
    """
    Run the node until SIGINT or SIGTERM.

    :param arguments: the command line without the program's name.
    :param stop: the signal handlers.
    :param memory: what `configure_allocator` returned, for the log.
    :returns: 0 after a signal, 1 after an unexpected exception, 2 for a model, backend, parameter
        or argument that cannot be used, `EXIT_DISABLED` for a disabled backend. If a runtime
        cannot be stopped, such as one that compiles an engine, the process ends here.
    """
    try:
        code = _main(arguments, stop, memory)
    except Exception:
        if not _hangs():
            raise
        traceback.print_exc()
        code = 1
    if _hangs():
        # At interpreter exit Python unwinds the stack of a thread that calls back into it, such
        # as to log. TensorRT's callbacks are noexcept, so unwinding them would abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _hangs() -> bool:
    """Return whether a pipeline thread is still running."""
    return any(thread.name in THREADS for thread in threading.enumerate())


def _main(arguments: Sequence[str], stop: StopSignal, memory: str) -> int:
    stop.remember()
    try:
        _configure_opencv()
        return _run(stop, memory, arguments) if init_ros(arguments) else 0
    except ResnetTrtError as error:
        print(f'classifier_node: {error}', file=sys.stderr)
        return error.exit_code
    finally:
        _free_participant()
        rclpy.try_shutdown()


def _configure_opencv() -> None:
    """
    Make OpenCV compute on the calling thread only, unless its environment variable is set.

    OpenCV's thread pool waits for work by spinning in sched_yield. For steps of a millisecond this
    takes a third more CPU time for a resized 1080p frame, and the cores from the backend. The
    setting applies to the whole process, so it belongs here and not in the node.
    """
    if 'OPENCV_FOR_THREADS_NUM' not in os.environ:
        cv2.setNumThreads(1)


def _run(stop: StopSignal, memory: str, arguments: Sequence[str]) -> int:
    with refusals_explained('node'), warnings.catch_warnings():
        # rclpy warns of a half-created node if a name is invalid.
        warnings.simplefilter('ignore', RuntimeWarning)
        node = ClassifierNode(still_wanted=lambda: not stop.received)
    node.get_logger().info(memory)
    warn_of_idle_files(node, arguments)
    executor = _executor(node)
    executor.add_node(node)
    _freeze_garbage_collector()
    try:
        return _spin(node, executor, stop)
    finally:
        if not node.finalized:
            node.trigger_shutdown()
        executor.shutdown(timeout_sec=0.5)
        node.destroy_node()


def _spin(node: ClassifierNode, executor: Executor, stop: StopSignal) -> int:
    """Spin the node until it has to end; return the exit code."""
    configured: list[TransitionCallbackReturn] = []
    # build_only does not wait for a lifecycle manager: the process ends before the activation.
    wanted = node.parameters.autostart or node.parameters.build_only
    if wanted and not stop.received:
        node.configure(configured.append)
    while not stop.received:
        executor.spin_once(timeout_sec=_WAKE_SEC)
        code = _go_on(node, configured.pop()) if configured else None
        if code is not None:
            # Configuring that was interrupted by a signal has not failed.
            return 0 if stop.received else code
        unexpected = node.unexpected_exception or (
            node.pipeline.unexpected_exception if node.pipeline is not None else None)
        if unexpected is not None:
            raise unexpected
        if node.disabled is not None and node.parameters.autostart:
            # There is no lifecycle manager to configure it again, and only the end of the process
            # frees a runtime that hangs.
            return EXIT_DISABLED
    return 0


def _go_on(node: ClassifierNode, configured: TransitionCallbackReturn) -> Optional[int]:
    """Activate the configured node; return an exit code if the process has to end instead."""
    if configured == TransitionCallbackReturn.SUCCESS:
        if node.parameters.build_only:
            return _engine_built(node)
        node.trigger_activate()
    elif node.refusal is None:
        return 1
    return None if node.refusal is None else node.refusal.exit_code


def _freeze_garbage_collector() -> None:
    """
    Exclude the objects that imports have created from garbage collection: they are never freed.

    A full collection would visit all of them and delay frames by 15 ms. Called before the node is
    configured, so that closed pipelines are still collected.
    """
    gc.collect()
    gc.freeze()


def _free_participant() -> None:
    """
    Collect what is left of the node and its executor, reference cycles of frozen objects too.

    They hold DDS's participant, and what is frozen is not collected at the interpreter's exit
    either: the participant's shared memory, which is RAM, would outlive the process.
    """
    gc.unfreeze()
    gc.collect()


def _executor(node: ClassifierNode) -> Executor:
    """
    Return the executor that the parameter names.

    :raises UsageError: if it is 'events' and this rclpy has no EventsExecutor.
    """
    wanted = node.parameters.executor
    if wanted == 'single_threaded':
        return SingleThreadedExecutor()
    # rclpy's other executors build a wait set in Python for each message.
    events = events_executor()
    if events is None and wanted == 'events':
        raise UsageError(
            'executor events: the rclpy of this ROS 2 has no EventsExecutor; set executor to auto')
    return (events or SingleThreadedExecutor)()


def _engine_built(node: ClassifierNode) -> int:
    """Log the engine that configuring has built or found, for `build_only`."""
    assert node.pipeline is not None
    engine = node.pipeline.backend.info.details.get('engine')
    if engine is None:
        raise UsageError(
            f'build_only: {node.pipeline.backend.info.name} compiles no engine; run it on a '
            'machine with TensorRT and its GPU, and set backend to tensorrt to see why it cannot '
            'be used')
    node.get_logger().info(f'engine ready: {engine}')
    return 0
