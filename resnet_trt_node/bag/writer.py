"""Writes images, classifications and detections into a rosbag2 bag, atomically."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
import os
from pathlib import Path
import shutil
import sqlite3
import tempfile
from typing import Any, Literal, Optional, Union

import numpy as np
from resnet_trt_node.bag.message_types import (
    CLASSIFICATION, default_typestore, DETECTIONS, HYPOTHESIS_WITH_POSE, STAMP_SECONDS,
    typestore_for)
from resnet_trt_node.bag.messages import BagMessage
from resnet_trt_node.contract.prediction import Prediction
from resnet_trt_node.errors import BagError, check_choice, UsageError
from resnet_trt_node.regions.detections import classified_message
from resnet_trt_node.regions.region import RegionAnswer
from rosbags.interfaces import (
    Connection, ConnectionExtRosbag2, MessageDefinitionFormat, Qos, QosDurability, QosHistory,
    QosLiveliness, QosReliability, QosTime)
from rosbags.rosbag2 import StoragePlugin, Writer

_STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}
# Errors of a full disk: mcap is written by Python, a database by SQLite.
_WRITE_ERRORS = (OSError, sqlite3.Error)
# Humble cannot read the QoS of metadata version 9; Jazzy and later read both.
_METADATA_VERSION: Literal[8] = 8
# A log time has 64 bits.
_LAST_NS = 2**63 - 1
_INFINITE = QosTime(9223372036, 854775807)
#: The QoS of a camera driver, recorded so that a player offers the same.
RELIABLE_QOS = Qos(
    QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, QosDurability.VOLATILE, _INFINITE,
    _INFINITE, QosLiveliness.AUTOMATIC, _INFINITE, False)


class BagWriter:
    """
    A bag being written; a context manager.

    The bag is written to a temporary folder beside `path`, which is renamed when the `with` block
    ends without an error and removed otherwise.

    :param path: the bag's folder, which must not exist.
    :param storage: 'mcap' or 'sqlite3'; log times in mcap start in 1970, and older ones become 0.
    :raises UsageError: for an unknown storage, or a path that the storage cannot use.
    :raises BagError: if the path exists or cannot be written.
    """

    def __init__(self, path: Union[str, Path], storage: str = 'mcap') -> None:
        check_choice('storage', storage, tuple(_STORAGES))
        self.path = Path(path)
        # rosbags opens databases by unescaped URIs.
        if storage == 'sqlite3' and set(str(path)) & set('#?%'):
            raise UsageError(
                f'cannot write the database {path}: leave #, ? and % out of its path, or write '
                'mcap')
        if os.path.lexists(self.path):
            raise BagError(f'{self.path} exists already: remove it or choose another bag')
        with self._failure_explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # On the same file system as `path`, so that it can be renamed.
            self._folder = Path(tempfile.mkdtemp(
                prefix=f'.{self.path.name}.', suffix='.part', dir=self.path.parent))
        # rosbags names the files after the folder, so it has its final name.
        self._writer = Writer(
            self._folder / self.path.name, version=_METADATA_VERSION,
            storage_plugin=_STORAGES[storage])
        self._connections: dict[str, Connection] = {}
        self._finished = False
        self._count = 0
        self._first_ns = 0 if storage == 'mcap' else -2**63
        #: Number of messages whose log time was clamped to the range of the storage.
        self.moved = 0
        try:
            with self._failure_explained():
                self._writer.open()
        except BaseException:
            self.discard()
            raise

    def write(
            self, topic: str, msgtype: str, message: object, log_time_ns: int) -> None:
        """
        Write a message of a type of `default_typestore`.

        :param topic: topic name, with its leading slash.
        :param msgtype: such as 'sensor_msgs/msg/Image'.
        :param message: made by `default_typestore().types[msgtype]`.
        :param log_time_ns: when it counts as recorded, in nanoseconds since the epoch.
        :raises BagError: if the topic already has another type, or the disk is full.
        """
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=default_typestore(),
                offered_qos_profiles=[RELIABLE_QOS])
        raw = default_typestore().serialize_cdr(message, msgtype, little_endian=True)
        self._put(topic, msgtype, log_time_ns, raw)

    def write_classification(
            self, topic: str, stamp_ns: int, frame_id: str, predictions: Sequence[Prediction],
            class_id_format: str = 'label', log_time_ns: Optional[int] = None) -> None:
        """
        Write a vision_msgs/Classification like those of the node.

        :param topic: topic name.
        :param stamp_ns: stamp of the classified image, in nanoseconds since the epoch.
        :param frame_id: frame of the classified image.
        :param predictions: by descending score.
        :param class_id_format: content of class_id, 'label' or 'index'.
        :param log_time_ns: when it counts as recorded, None for the stamp.
        :raises UsageError: for another class_id_format.
        """
        check_choice('class_id_format', class_id_format, ('label', 'index'))
        types = default_typestore().types
        results = [
            types['vision_msgs/msg/ObjectHypothesis'](
                class_id=one.label if class_id_format == 'label' else str(one.index),
                score=float(one.score))
            for one in predictions]
        message = types[CLASSIFICATION](header=header(stamp_ns, frame_id), results=results)
        self.write(
            topic, CLASSIFICATION, message, stamp_ns if log_time_ns is None else log_time_ns)

    def write_detections(
            self, topic: str, message: Any, answers: Sequence[RegionAnswer],
            class_id_format: str = 'label', keep_source_results: bool = False,
            log_time_ns: Optional[int] = None) -> None:
        """
        Write a vision_msgs/Detection2DArray with answers, like those of the node.

        :param topic: topic name.
        :param message: what a detector found, such as `BagDetections.message`; not changed.
        :param answers: one for each detection.
        :param class_id_format: content of class_id, 'label' or 'index'.
        :param keep_source_results: put the detector's results in front of ours.
        :param log_time_ns: when it counts as recorded, None for the stamp.
        :raises UsageError: for another class_id_format.
        :raises ValueError: if there are more answers than detections, or fewer.
        """
        check_choice('class_id_format', class_id_format, ('label', 'index'))
        result = classified_message(
            message, answers, class_id_format, keep_source_results, _empty_hypothesis())
        stamp = message.header.stamp
        self.write(
            topic, DETECTIONS, result,
            stamp.sec * 10**9 + stamp.nanosec if log_time_ns is None else log_time_ns)

    def copy(self, message: BagMessage) -> None:
        """
        Write an unchanged message of another bag, with its definition and offered QoS.

        :param message: an image or any other message of a `BagReader`.
        :raises BagError: if the topic already has another type.
        """
        if message.topic not in self._connections:
            self._connect_as(message.topic, message.connection)
        self._put(message.topic, message.msgtype, message.log_time_ns, message.raw)

    def finish(self) -> None:
        """
        Complete the bag and rename it to its path; called when the `with` block ends.

        :raises BagError: if nothing was written, the path exists by now or the disk is full.
        """
        if self._finished:
            return
        try:
            if not self._count:
                raise BagError(f'no message was written: the bag {self.path} is not created')
            with self._failure_explained():
                self._writer.close()
                if os.path.lexists(self.path):
                    raise BagError(f'{self.path} was created meanwhile: remove it and try again')
                os.replace(self._folder / self.path.name, self.path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove an unfinished bag; calling it again does nothing."""
        if self._finished:
            return
        self._finished = True
        # Closing the file writes buffered data, which fails again on a full disk.
        with suppress(*_WRITE_ERRORS):
            self._writer.abort()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> BagWriter:
        """Return the writer itself."""
        return self

    def __exit__(self, kind: Optional[type[BaseException]], *_: object) -> None:
        """Finish the bag, or discard it after an error."""
        if kind is None:
            self.finish()
        else:
            self.discard()

    def _connect_as(self, topic: str, source: Connection) -> None:
        # A ROS 1 bag has definitions and QoS of its own kind.
        recorded = source.ext if isinstance(source.ext, ConnectionExtRosbag2) else None
        store = typestore_for(source) if recorded else default_typestore()
        own = recorded and source.msgdef.format != MessageDefinitionFormat.NONE
        self._connections[topic] = self._writer.add_connection(
            topic, source.msgtype, typestore=store,
            msgdef=source.msgdef.data if own else None,
            rihs01=source.digest or store.hash_rihs01(source.msgtype) if own else None,
            offered_qos_profiles=recorded.offered_qos_profiles if recorded else [RELIABLE_QOS])

    def _put(
            self, topic: str, name: str, log_time_ns: int, raw: Union[bytes, memoryview]) -> None:
        connection = self._connections[topic]
        if connection.msgtype != name:
            raise BagError(
                f'{topic} holds {connection.msgtype} already: write {name} to another topic')
        possible_ns = min(max(log_time_ns, self._first_ns), _LAST_NS)
        self.moved += possible_ns != log_time_ns
        with self._failure_explained():
            self._writer.write(connection, possible_ns, raw)
        self._count += 1

    @contextmanager
    def _failure_explained(self) -> Iterator[None]:
        try:
            yield
        except _WRITE_ERRORS as error:
            reason = getattr(error, 'strerror', None) or error
            raise BagError(f'cannot write the bag {self.path}: {reason}') from error


def header(stamp_ns: int, frame_id: str) -> Any:
    """
    Return a std_msgs/Header.

    :param stamp_ns: in nanoseconds since the epoch.
    :param frame_id: the coordinate frame.
    :raises UsageError: for a stamp that ROS has not.
    """
    types = default_typestore().types
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    if seconds not in STAMP_SECONDS:
        raise UsageError(
            f'a stamp of {stamp_ns} ns is out of range: ROS has nanoseconds from 1901 to 2038')
    return types['std_msgs/msg/Header'](
        stamp=types['builtin_interfaces/msg/Time'](sec=seconds, nanosec=nanoseconds),
        frame_id=frame_id)


def _empty_hypothesis() -> Any:
    """Return a vision_msgs/ObjectHypothesisWithPose like one that rclpy makes."""
    types = default_typestore().types
    pose = types['geometry_msgs/msg/Pose'](
        position=types['geometry_msgs/msg/Point'](x=0.0, y=0.0, z=0.0),
        orientation=types['geometry_msgs/msg/Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0))
    return types[HYPOTHESIS_WITH_POSE](
        hypothesis=types['vision_msgs/msg/ObjectHypothesis'](class_id='', score=0.0),
        pose=types['geometry_msgs/msg/PoseWithCovariance'](pose=pose, covariance=np.zeros(36)))
