"""
Detection2DArray as it goes over the wire: read into regions, and written with their answers.

rclpy makes Python objects of every number of a message, those of all covariances included, and
takes them apart again to publish, all of it under Python's lock. Here these numbers stay the
bytes that they are, which takes a fifth of the time (tools/measure_regions.py). What is written is
byte for byte what rclpy makes of `detections.classified_message`; padding, in which rclpy leaves
what was in memory, is 0.

The format is that of `cdr`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional, Sequence

from resnet_trt_node.cdr import CdrReader, Header, LITTLE_ENDIAN, Stamp, text_bytes
from resnet_trt_node.errors import FrameError
from resnet_trt_node.regions.detections import best_class, split_stamp
from resnet_trt_node.regions.region import Box, Region, RegionAnswer, UNUSABLE

_NUMBER_BYTES = 8
#: Of a hypothesis behind its class: score, pose (7 numbers) and covariance (36).
_HYPOTHESIS_NUMBERS = 44
#: Of a box: x, y, theta, width and height.
_BOX_NUMBERS = 5
#: The least that a detection takes: stamp, lengths of the frame's name and of the results, box and
#: length of the id.
_LEAST_DETECTION = 8 + 4 + 4 + _BOX_NUMBERS * _NUMBER_BYTES + 4
_LEAST_HYPOTHESIS = 4 + _HYPOTHESIS_NUMBERS * _NUMBER_BYTES
_STAMP, _LENGTH = struct.Struct('<iI'), struct.Struct('<I')
_NUMBER, _BOX = struct.Struct('<d'), struct.Struct('<5d')
#: The pose of a new message: nowhere, and not turned.
_NO_POSE = struct.pack('<43d', *[0.0] * 6, 1.0, *[0.0] * 36)
#: What follows so many bytes modulo 4, or 8, up to the next multiple.
_TO_4 = [bytes(-place % 4) for place in range(4)]
_TO_8 = [bytes(-place % 8) for place in range(8)]


class _Hypothesis(NamedTuple):
    """What a detector takes an object for: its class, and the bytes of all numbers."""

    class_id: str
    numbers: bytes


class _Detection(NamedTuple):
    results: list[_Hypothesis]
    box: bytes
    region: Region


class DetectionsCdr:
    """
    A serialised Detection2DArray, whose detections are read when they are first asked for.

    Its methods are for one thread at a time. A message whose header is damaged has the stamp 0;
    of one that is damaged anywhere no detection can be read.

    :param data: the message, of either byte order.
    """

    def __init__(self, data: bytes) -> None:
        self._reader = CdrReader(data, 'the detections are')
        self._length = 0
        self._detections: Optional[list[_Detection]] = None
        self._damage: Optional[FrameError] = None
        #: Has the fields of a std_msgs/Header.
        self.header = Header(Stamp(0, 0), '')
        try:
            self.header = self._reader.header()
            self._length = self._reader.length(_LEAST_DETECTION)
        except FrameError as error:
            self._damage = error

    def __len__(self) -> int:
        """Return how many detections it has; 0 if it is too short for so many."""
        return self._length

    def regions(self) -> list[Region]:
        """
        Return the region of each detection, in their order.

        :raises FrameError: if the message is cut, or its lengths are wrong.
        """
        return [one.region for one in self._read()]

    def classified(
            self, answers: Sequence[RegionAnswer], class_id_format: str,
            keep_source_results: bool) -> bytes:
        """
        Return the serialised message with the answers, see `detections.classified_message`.

        :param answers: one for each detection.
        :param class_id_format: content of `class_id`: 'label' for the class name, 'index' for its
            index.
        :param keep_source_results: put the source's results in front of ours.
        :raises ValueError: if there are more answers than detections, or fewer.
        """
        detections = self._read()
        if len(answers) != len(detections):
            raise ValueError(
                f'{len(answers)} answers to {len(detections)} detections: give one for each')
        by_label = class_id_format == 'label'
        stamp, frame_id = self.header.stamp, text_bytes(self.header.frame_id)
        # What tells the byte order comes last, as alignment counts without it.
        out = bytearray(_STAMP.pack(*stamp) + frame_id)
        out += _TO_4[len(out) % 4] + _LENGTH.pack(len(detections))
        for (results, box, region), answer in zip(detections, answers):
            inferred_ns = answer.inferred_stamp_ns
            out += _TO_4[len(out) % 4]
            out += _STAMP.pack(*(stamp if inferred_ns is None else split_stamp(inferred_ns)))
            out += frame_id
            _write_results(
                out, results if keep_source_results or answer.outcome == 'not_selected' else (),
                answer, by_label)
            out += _TO_8[len(out) % 8] + box
            out += text_bytes(region.track_id)
        return LITTLE_ENDIAN + b'\0\0' + out

    def _read(self) -> list[_Detection]:
        if self._damage is not None:
            raise self._damage
        if self._detections is None:
            try:
                self._detections = [_read_detection(self._reader) for _ in range(self._length)]
            except FrameError as error:
                self._damage = error
                raise
        return self._detections


def _read_detection(reader: CdrReader) -> _Detection:
    reader.skip_header()
    results = [
        _Hypothesis(reader.text(), reader.numbers(_HYPOTHESIS_NUMBERS))
        for _ in range(reader.length(_LEAST_HYPOTHESIS))]
    box = reader.numbers(_BOX_NUMBERS)
    x, y, theta, width, height = _BOX.unpack(box)
    scored = [(one.class_id, *_NUMBER.unpack_from(one.numbers)) for one in results]
    return _Detection(results, box, Region(
        Box(x, y, width, height, theta), reader.text(), best_class(scored)))


def _write_results(
        out: bytearray, kept: Sequence[_Hypothesis], answer: RegionAnswer,
        by_label: bool) -> None:
    """Append the hypotheses of the source that are kept, and those of the answer."""
    is_unusable = answer.outcome in UNUSABLE
    ours = () if answer.outcome == 'not_selected' else answer.predictions
    out += _TO_4[len(out) % 4] + _LENGTH.pack(len(kept) + (1 if is_unusable else len(ours)))
    for one in kept:
        _write_hypothesis(out, one.class_id, one.numbers)
    if is_unusable:
        _write_hypothesis(out, '', _NUMBER.pack(0.0) + _NO_POSE)
        return
    for prediction in ours:
        _write_hypothesis(
            out, prediction.label if by_label else str(prediction.index),
            _NUMBER.pack(prediction.score) + _NO_POSE)


def _write_hypothesis(out: bytearray, class_id: str, numbers: bytes) -> None:
    out += _TO_4[len(out) % 4]
    out += text_bytes(class_id)
    out += _TO_8[len(out) % 8]
    out += numbers
