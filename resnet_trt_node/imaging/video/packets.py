"""What the packets of video streams say of themselves, without decoding them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import re

from resnet_trt_node.errors import FrameError
from resnet_trt_node.text.printable import printable

#: What messages and files call a codec, to its name here.
_NAMES = {
    'h264': 'h264', 'avc': 'h264', 'avc1': 'h264', 'x264': 'h264', 'libx264': 'h264',
    'libx264rgb': 'h264',
    'h265': 'h265', 'hevc': 'h265', 'x265': 'h265', 'libx265': 'h265', 'hvc1': 'h265',
    'av1': 'av1', 'libsvtav1': 'av1', 'libaom-av1': 'av1', 'librav1e': 'av1',
    'vp8': 'vp8', 'libvpx': 'vp8', 'vp9': 'vp9', 'libvpx-vp9': 'vp9',
    'mpeg4': 'mpeg4', 'mjpeg': 'mjpeg'}
#: NAL units of H.264: a slice, one of a key picture, and what tells where decoding may start.
_SLICES_H264, _IDR, _SEI, _RECOVERY_POINT = range(1, 6), 5, 6, 6
#: NAL units of H.265: slices, and those of pictures where decoding may start.
_SLICES_H265, _STARTS_H265, _SEI_H265 = range(32), range(16, 24), (39, 40)
_START_CODE = re.compile(b'\x00\x00\x01')
#: Header of a picture in MPEG-4, and the OBUs of AV1 that start a sequence.
_VOP, _SEQUENCE_HEADER = b'\x00\x00\x01\xb6', 1


def video_codec(text: str) -> str:
    """
    Return which codec a message means.

    :param text: `encoding` of an FFMPEGPacket such as 'h264;nv12;bgr8;rgb8' or 'hevc_nvenc',
        or `format` of a CompressedVideo or CompressedImage such as 'h265'.
    :returns: 'h264', 'h265', 'av1', 'vp8', 'vp9', 'mpeg4' or 'mjpeg'; '' for anything else, a
        picture's format included.
    """
    word = text.partition(';')[0].strip().lower().replace('h.26', 'h26')
    # Encoders on devices, such as h264_nvenc and hevc_vaapi.
    return _NAMES.get(word) or _NAMES.get(word.partition('_')[0], '')


def holds_picture(codec: str, data: bytes) -> bool:
    """
    Tell whether a packet holds a part of a picture rather than parameters alone.

    :param codec: as `video_codec` returns it; only H.264 and H.265 send such packets.
    :param data: the packet.
    """
    if codec == 'h264':
        return any(data[start] & 31 in _SLICES_H264 for start in _units(data))
    if codec == 'h265':
        return any(data[start] >> 1 & 63 in _SLICES_H265 for start in _units(data))
    return True


def starts_decoding(codec: str, data: bytes) -> bool:
    """
    Tell whether decoding can start with a packet: whether it is a key frame.

    In H.264 these are IDR pictures and recovery points; in H.265 IDR, CRA and BLA pictures.

    :param codec: as `video_codec` returns it.
    :param data: the packet.
    :raises FrameError: if the packet does not have the form of its codec.
    """
    try:
        return _STARTS[codec](data)
    except IndexError as error:
        raise FrameError(
            f'{codec} packet of {len(data)} bytes is cut off: check the transport') from error


def check_form(codec: str, data: bytes) -> None:
    """
    Refuse what is no packet of a byte stream.

    :param codec: as `video_codec` returns it.
    :param data: the packet.
    :raises FrameError: if it is empty, or H.264 or H.265 without start codes.
    """
    if not data:
        raise FrameError('empty video packet: check the publisher')
    if codec in ('h264', 'h265') and not _START_CODE.search(data, 0, 64):
        raise FrameError(
            f'{codec} packet of {len(data)} bytes starting {printable(data[:8].hex(" "))} has no '
            'start code: send it as a byte stream of Annex B')


def without_remarks(codec: str, data: bytes) -> bytes:
    """
    Return a packet of H.264 or H.265 without what decoding does not need (SEI).

    A decoder that reports damage takes a faulty remark for damage of the picture.

    :param codec: as `video_codec` returns it; packets of others are returned as they are.
    :param data: the packet.
    """
    starts = [] if codec not in ('h264', 'h265') else [
        found.start() for found in _START_CODE.finditer(data)]
    ends = [*starts[1:], len(data)]
    kept = [data[start:end] for start, end in zip(starts, ends)
            if not _is_remark(codec, data[start + 3:end])]
    return data if len(kept) == len(starts) else data[:starts[0]] + b''.join(kept)


def _is_remark(codec: str, unit: bytes) -> bool:
    if not unit:
        return False
    if codec == 'h265':
        return unit[0] >> 1 & 63 in _SEI_H265
    return unit[0] & 31 == _SEI and _RECOVERY_POINT not in _remarks(unit)


def _remarks(unit: bytes) -> Iterator[int]:
    """Yield the types of the messages in an SEI unit of H.264."""
    unit = unit.replace(b'\x00\x00\x03', b'\x00\x00')
    place = 1
    while place + 1 < len(unit):
        numbers = []
        for _ in range(2):  # type and size, of as many bytes as are 255 and one more
            number = 0
            while place < len(unit) and unit[place] == 255:
                number += 255
                place += 1
            numbers.append(number + (unit[place] if place < len(unit) else 0))
            place += 1
        yield numbers[0]
        place += numbers[1]


def _units(data: bytes) -> Iterator[int]:
    """Yield where the NAL units start, behind their start codes."""
    return (found.end() for found in _START_CODE.finditer(data) if found.end() < len(data))


def _starts_h264(data: bytes) -> bool:
    units = [*_units(data), len(data) + 3]
    return any(
        data[start] & 31 == _IDR
        or (data[start] & 31 == _SEI and _RECOVERY_POINT in _remarks(data[start:end - 3]))
        for start, end in zip(units, units[1:]))


def _starts_h265(data: bytes) -> bool:
    return any(data[start] >> 1 & 63 in _STARTS_H265 for start in _units(data))


def _starts_av1(data: bytes) -> bool:
    """Tell whether a sequence header is among the OBUs, as it is with each key frame."""
    place = 0
    while place < len(data):
        head = data[place]
        place += 2 if head & 4 else 1
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            return True
        if not head & 2:  # the last one may leave its size out
            return False
        size = shift = 0
        while True:
            size |= (data[place] & 127) << shift
            shift += 7
            place += 1
            if data[place - 1] < 128:
                break
        place += size
    return False


def _starts_vp9(data: bytes) -> bool:
    """Tell whether a packet is a key frame: 2 bits, 2 or 3 of the profile, two flags."""
    profile = data[0] >> 5 & 1 | data[0] >> 3 & 2
    shift = 2 if profile == 3 else 3
    shows_existing, inter = data[0] >> shift & 1, data[0] >> (shift - 1) & 1
    return not shows_existing and not inter


def _starts_mpeg4(data: bytes) -> bool:
    place = data.find(_VOP)
    return place >= 0 and data[place + 4] >> 6 == 0


_STARTS: dict[str, Callable[[bytes], bool]] = {
    'h264': _starts_h264, 'h265': _starts_h265, 'av1': _starts_av1, 'vp9': _starts_vp9,
    'vp8': lambda data: not data[0] & 1, 'mpeg4': _starts_mpeg4, 'mjpeg': lambda data: True}
#: The codecs that streams may have.
CODECS = tuple(_STARTS)
