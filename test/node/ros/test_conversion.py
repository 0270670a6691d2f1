"""Messages to frames: cv_bridge is used where it proves itself, and changes no pixel."""

from __future__ import annotations

from array import array
from importlib.util import find_spec
from pathlib import Path
import re
import sys
from types import SimpleNamespace
from typing import Callable, Iterator, Optional

import numpy as np
import pytest
from repository import HELPERS

from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.raw.encodings import ENCODINGS
from resnet_trt_node.node.ros.conversion import Converter

STAND_IN = (HELPERS / 'stand_ins' / 'stand_in_cv_bridge.py').read_text(encoding='utf-8')
STAND_IN_ENCODINGS = {
    'mono16', 'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8', 'yuv422', 'yuv422_yuy2'}
VIEWS = [name for name, encoding in ENCODINGS.items() if encoding.is_view]


def image(encoding: str, padding: int = 0, big_endian: int = 0) -> SimpleNamespace:
    """Return an Image of random bytes."""
    height, width, layout = 12, 16, ENCODINGS[encoding]
    step = width * layout.pixel_bytes + padding
    data = np.random.default_rng(5).integers(
        0, 256, height * step * layout.half_lines // 2, np.uint8)
    if encoding == '32FC3':
        # Random bytes are numbers of any size.
        data = (data[::4] / np.float32(255)).astype('<f4').view(np.uint8)
    return SimpleNamespace(
        height=height, width=width, step=step, encoding=encoding, is_bigendian=big_endian,
        data=array('B', data.tobytes()))


def checked(log: Optional[Callable[[str], object]] = None) -> Converter:
    """Return a converter whose check of cv_bridge is over."""
    converter = Converter(log)
    converter.bridge_check.start()
    process = converter.bridge_check._process
    if process is not None:
        process.wait(60)
    return converter


@pytest.fixture
def cv_bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a stand-in for cv_bridge, whose file's path is returned; empty at first."""
    path = tmp_path / 'cv_bridge.py'
    path.write_text('')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
    yield path
    sys.modules.pop('cv_bridge', None)


def assert_equal_to_own(converter: Converter, message: SimpleNamespace) -> None:
    """Assert that a converter's frame is `decode_message`'s."""
    frame, own = converter.to_frame(message), decode_message(message)
    assert frame.order == own.order
    assert frame.pixels.dtype == np.uint8
    np.testing.assert_array_equal(frame.pixels, own.pixels)


def test_a_working_cv_bridge_converts_what_it_can(cv_bridge: Path) -> None:
    cv_bridge.write_text(STAND_IN)
    lines: list[str] = []
    converter = checked(lines.append)
    asked = cv_bridge.with_name('asked.txt')
    for used in ('at first', 'then'):
        for encoding in ENCODINGS:
            asked.write_text('')
            assert_equal_to_own(converter, image(encoding))
            assert (encoding in asked.read_text().split()) == (
                encoding in STAND_IN_ENCODINGS or bool(
                    used == 'at first' and ENCODINGS[encoding].convert
                    and not ENCODINGS[encoding].is_planar and encoding != '32FC3'))
    assert converter.bridged == STAND_IN_ENCODINGS
    assert sum('cv_bridge converts' in line for line in lines) == len(STAND_IN_ENCODINGS)


def test_names_in_another_case_cost_cv_bridge_nothing(cv_bridge: Path) -> None:
    cv_bridge.write_text(STAND_IN)
    converter = checked()
    cv_bridge.with_name('asked.txt').write_text('')
    for name in ('MONO16', 'mono16', 'Mono16'):
        message = image('mono16')
        message.encoding = name
        assert_equal_to_own(converter, message)
    assert cv_bridge.with_name('asked.txt').read_text().split() == ['mono16']
    assert converter.bridged == {'mono16'}


def test_the_range_of_floats_is_said_once() -> None:
    lines: list[str] = []
    converter = Converter(lines.append)
    for encoding in ('32FC3', '32fc3', 'rgb8', '32FC3'):
        message = image('32FC3' if encoding == '32fc3' else encoding)
        message.encoding = encoding
        assert_equal_to_own(converter, message)
    line, = lines
    assert '32FC3' in line
    assert 'from 0 to 1' in line


def test_opencv_converts_while_cv_bridge_is_checked(cv_bridge: Path) -> None:
    cv_bridge.write_text(f'import time\ntime.sleep(60)\n{STAND_IN}')
    converter = Converter()
    converter.bridge_check.start()
    process = converter.bridge_check._process
    assert process is not None
    assert_equal_to_own(converter, image('mono16'))
    assert not converter.bridged
    converter.bridge_check.close()
    assert process.poll() is not None


def test_packed_8_bit_colours_stay_views(cv_bridge: Path) -> None:
    cv_bridge.write_text(STAND_IN)
    converter = checked()
    for encoding in VIEWS:
        message = image(encoding, padding=4)
        pixels = converter.to_frame(message).pixels
        assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))


def test_what_cv_bridge_gets_wrong_is_kept_from_it(cv_bridge: Path) -> None:
    cv_bridge.write_text(STAND_IN)
    converter = checked()
    asked = cv_bridge.with_name('asked.txt')
    asked.write_text('')
    for message in (
            image('mono16', padding=3), image('yuv422', padding=1), image('mono16', big_endian=1)):
        assert_equal_to_own(converter, message)
    assert asked.read_text() == ''


def test_a_message_is_checked_before_cv_bridge_sees_it(cv_bridge: Path) -> None:
    cv_bridge.write_text(STAND_IN)
    converter = checked()
    message = image('mono16')
    message.data = message.data[:-1]
    with pytest.raises(FrameError, match='bytes of data'):
        converter.to_frame(message)


def test_other_pixels_than_those_of_opencv_are_not_used(cv_bridge: Path) -> None:
    cv_bridge.write_text(
        'class CvBridge:\n    def imgmsg_to_cv2(self, *_): return None')
    lines: list[str] = []
    converter = checked(lines.append)
    for _ in range(2):
        assert_equal_to_own(converter, image('mono16'))
    assert not converter.bridged
    assert len(lines) == 1
    assert 'other pixels' in lines[0]


def test_a_cv_bridge_that_fails_later_is_replaced_and_the_frame_kept(cv_bridge: Path) -> None:
    cv_bridge.write_text(STAND_IN)
    lines: list[str] = []
    converter = checked(lines.append)
    for encoding in ('mono16', 'yuv422'):
        assert_equal_to_own(converter, image(encoding))

    def fail(message: object, encoding: str) -> None:
        raise TypeError('no such overload')

    sys.modules['cv_bridge'].CvBridge.imgmsg_to_cv2 = staticmethod(fail)
    for _ in range(3):
        assert_equal_to_own(converter, image('mono16'))
    assert len(lines) == 3
    assert 'mono16' in lines[-1]
    assert 'TypeError: no such overload' in lines[-1]
    assert converter.bridged == {'yuv422'}


@pytest.mark.parametrize(('source', 'reason'), [
    ("raise AttributeError('_ARRAY_API not found')",
     r'does not work \(AttributeError: _ARRAY_API not found\)'),
    ('raise ImportError("numpy.core.multiarray failed to import")', 'does not work'),
    ('import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)', 'signal 11'),
    # Where the C++ half is loaded: not before the first conversion.
    ('class CvBridge:\n'
     '    def imgmsg_to_cv2(self, *_): import os, signal; os.kill(os.getpid(), signal.SIGABRT)',
     'signal 6'),
    ('class CvBridge:\n'
     '    def imgmsg_to_cv2(self, *_): import cv_bridge_boost_of_another_numpy',
     r"does not work \(ModuleNotFoundError: No module named 'cv_bridge_boost_of_another_numpy'\)"),
    # A crash leaves no core file in the user's folder.
    ('import resource\nraise ImportError(resource.getrlimit(resource.RLIMIT_CORE))',
     r'ImportError: \(0, 0\)'),
    ('raise ImportError("\\x1b[2J" + 9999 * "x")',
     r'does not work \(ImportError: \\x1b\[2Jx{183}\.\.\. \(\d+ characters\)\)$'),
])
def test_a_broken_cv_bridge_is_left_alone_and_the_reason_logged(
        cv_bridge: Path, source: str, reason: str) -> None:
    cv_bridge.write_text(source)
    lines: list[str] = []
    converter = checked(lines.append)
    for _ in range(2):
        assert_equal_to_own(converter, image('mono16'))
    assert not converter.bridged
    assert len(lines) == 1
    assert re.search(reason, lines[0])


def test_a_cv_bridge_that_prints_is_used_all_the_same(cv_bridge: Path) -> None:
    cv_bridge.write_text(STAND_IN + "\nprint('welcome' * 10_000)\n")
    converter = checked()
    assert_equal_to_own(converter, image('mono16'))
    assert converter.bridged == {'mono16'}


def test_it_is_checked_without_the_modules_of_the_current_folder(
        cv_bridge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv_bridge.write_text(STAND_IN)
    current = tmp_path / 'current'
    current.mkdir()
    for name in ('numpy', 'cv2', 'array', 'cv_bridge'):
        (current / f'{name}.py').write_text('raise SystemExit("of the current folder")')
    monkeypatch.chdir(current)
    converter = checked()
    assert_equal_to_own(converter, image('mono16'))
    assert converter.bridged == {'mono16'}


def test_without_cv_bridge_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec('cv_bridge') is not None:
        pytest.skip('cv_bridge is installed here')
    monkeypatch.setattr(
        'subprocess.Popen', lambda *_, **__: pytest.fail('another process was started'))
    lines: list[str] = []
    assert_equal_to_own(checked(lines.append), image('mono16'))
    assert len(lines) == 1
    assert 'not installed' in lines[0]


def test_the_real_cv_bridge_gives_equal_pixels() -> None:
    if find_spec('cv_bridge') is None:
        pytest.skip('cv_bridge is not installed')
    converter = checked()
    if converter.bridge_check.bridge() is None:
        pytest.skip('the installed cv_bridge does not work')
    for _ in range(2):
        for encoding in ENCODINGS:
            assert_equal_to_own(converter, image(encoding))
    assert {'bayer_rggb8', 'yuv422', 'mono16'} <= converter.bridged


def test_real_messages_are_decoded() -> None:
    messages = pytest.importorskip('sensor_msgs.msg', reason='sensor_msgs')
    converter = Converter()
    for encoding in (*VIEWS, 'mono16', 'rgb16', 'nv12'):
        source = image(encoding)
        message = messages.Image(
            height=source.height, width=source.width, step=source.step, encoding=encoding,
            data=source.data)
        np.testing.assert_array_equal(
            converter.to_frame(message).pixels, decode_message(source).pixels)
