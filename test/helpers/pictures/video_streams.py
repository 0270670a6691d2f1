"""Short video streams, encoded by PyAV, and what PyAV alone decodes from them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

#: Encoders of the wheel, by the codec's name here.
ENCODERS = {
    'h264': 'libx264', 'h265': 'libx265', 'mpeg4': 'mpeg4', 'mjpeg': 'mjpeg', 'vp8': 'libvpx',
    'vp9': 'libvpx-vp9', 'av1': 'libsvtav1'}
_DECODERS = {'h265': 'hevc', 'av1': 'libdav1d'}
#: Quiet and, by one thread, the same everywhere.
_OPTIONS = {
    'h264': {'threads': '1', 'x264-params': 'scenecut=0'},
    'h265': {'x265-params': 'log-level=none:pools=1:frame-threads=1:scenecut=0'},
    'mpeg4': {'threads': '1', 'sc_threshold': '1000000000'},
    'av1': {'preset': '12', 'svtav1-params': 'lp=1'}}


@dataclass(frozen=True)
class Packet:
    """A packet: its bytes, its picture's pts in milliseconds, and whether it is a key frame."""

    data: bytes
    pts: int
    is_key: bool


def scene(index, width=160, height=96):
    """Return picture number `index` of a moving scene: RGB uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [x + 3 * index, 2 * y + index, (x + y) // 2 + 5 * index], -1).astype(np.uint8) // 2 + 60


def encode(codec, count=24, size=(160, 96), **how):
    """Return the packets of so many pictures of the moving scene, see `encode_pictures`."""
    return encode_pictures(codec, [scene(index, *size) for index in range(count)], **how)


def encode_pictures(codec, pictures, b_frames=0, gop=8, options=()):
    """
    Return the packets of a stream in the order in which they are sent, 40 ms apart.

    :param codec: a key of `ENCODERS`.
    :param pictures: RGB uint8 (H, W, 3) each, of even sides.
    :param b_frames: at most so many in a row.
    :param gop: distance of the key frames.
    :param options: further options of the encoder.
    """
    import av
    context = av.CodecContext.create(ENCODERS[codec], 'w')
    context.height, context.width = pictures[0].shape[:2]
    context.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
    context.time_base = Fraction(1, 1000)
    context.framerate = Fraction(25)
    context.gop_size, context.max_b_frames = gop, b_frames
    context.options = {**_OPTIONS.get(codec, {}), **dict(options)}
    found = []
    for index, pixels in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
        frame = frame.reformat(format=context.pix_fmt)
        frame.pts, frame.time_base = 40 * index, context.time_base
        found += context.encode(frame)
    found += context.encode(None)
    return [Packet(bytes(one), one.pts, one.is_keyframe) for one in found]


def encode_flat(colour, matrix, is_full):
    """
    Return the packet of one H.264 picture of 64x48 pixels that is all of one colour.

    :param colour: Y, Cb and Cr.
    :param matrix: what the stream states, 1 for BT.709, 6 for BT.601, 2 for nothing.
    :param is_full: whether it states the full range.
    """
    import av
    context = av.CodecContext.create('libx264', 'w')
    context.width, context.height, context.pix_fmt = 64, 48, 'yuv420p'
    context.time_base = Fraction(1, 1000)
    context.colorspace, context.color_range = matrix, 2 if is_full else 1
    context.options = {'qp': '0'}
    frame = av.VideoFrame(64, 48, 'yuv420p')
    for plane, value in zip(frame.planes, colour):
        plane.update(bytes([int(value)]) * plane.buffer_size)
    frame.pts, frame.time_base = 0, context.time_base
    return [Packet(bytes(one), one.pts, one.is_keyframe)
            for one in [*context.encode(frame), *context.encode(None)]]


def decode_by_av(codec, packets):
    """Return (pts, pixels) of a whole stream as PyAV decodes it, RGB uint8."""
    import av
    context = av.CodecContext.create(_DECODERS.get(codec, codec), 'r')
    frames = []
    for packet in packets:
        sent = av.Packet(len(packet.data))
        sent.update(packet.data)
        sent.pts = packet.pts
        frames += context.decode(sent)
    frames += context.decode(None)
    return [(one.pts, one.to_ndarray(format='rgb24')) for one in frames]


def write_video(path, pictures, codec='h264', b_frames=0, gop=8, rotation=0):
    """
    Write a video file of 25 pictures a second; return its path.

    :param path: its suffix chooses the container.
    :param rotation: degrees by which players shall turn it counterclockwise.
    """
    import av
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(ENCODERS[codec], rate=25, options=_OPTIONS.get(codec, {}))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        if rotation:
            stream.set_display_rotation(rotation)
        for pixels in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
        container.mux(stream.encode(None))
    return path


def read_by_av(path):
    """Return (seconds, pixels) of a file's pictures as PyAV decodes them, RGB uint8."""
    import av
    with av.open(str(path)) as container:
        return [(one.time, one.to_ndarray(format='rgb24')) for one in container.decode(video=0)]
