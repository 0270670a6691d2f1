"""A node whose publishers send text that no encoding, format or frame_id should hold."""

from __future__ import annotations

from nodes.node_process import compressed, image, NodeProcess, Peer
import numpy as np
import pytest

pytestmark = pytest.mark.slow

PIXELS = np.zeros((48, 64, 3))


def test_the_log_and_the_diagnostics_stay_short_and_plain():
    peer = Peer()
    peer.listen_to_results()
    with NodeProcess(
            '-p', 'backend:=simulated', '-p', 'image_reliability:=reliable', '-p',
            'queue_depth:=10', '-p', 'diagnostics_period_sec:=0.1') as node:
        peer.connect('image')
        frame_id = '\x1b[2J' + 'f' * 100_000
        for encoding in ('\x1b[2J' * 100_000, 'a\nb\r\x07', '\u202ergb8', '%s{}[/]'):
            peer.publish('image', image(PIXELS, encoding=encoding))
        peer.publish('image', image(PIXELS, frame_id=frame_id))
        peer.spin_until(lambda: peer.heard['classification'], 'the answer')
        # It is not the node's to change.
        assert peer.heard['classification'][0].header.frame_id == frame_id
        peer.spin_until(
            lambda: (peer.status() or {}).get('dropped_malformed') == '4', 'the drops')
        texts = [text for array in peer.heard['/diagnostics'] for status in array.status
                 for text in (status.message, *(item.value for item in status.values))]
        assert node.stop() == 0
    lines = [line for line in node.log.split('\n') if 'unknown encoding' in line]
    assert lines
    assert '... (' in lines[0]
    assert 'must use one of rgb8' in lines[0]
    for text in (*texts, *node.log.split('\n')):
        assert len(text) < 2500
        assert '\x1b' not in text
        assert '\u202e' not in text
    peer.close()


def test_a_format_of_any_length_is_read_as_a_picture_or_refused():
    peer = Peer()
    peer.listen_to_results()
    with NodeProcess(
            '-p', 'backend:=simulated', '-p', 'image_transport:=compressed', '-p',
            'image_reliability:=reliable', '-p', 'queue_depth:=10') as node:
        peer.connect('image/compressed', type(compressed(b'')))
        peer.publish('image/compressed', compressed(
            b'no picture', kind='compressedDepth \x1b[2J' + 'x' * 400_000))
        peer.spin_until(lambda: 'frame dropped' in node.log, 'the log line')
        assert node.stop() == 0
    [line] = [line for line in node.log.split('\n') if 'frame dropped' in line]
    assert r"format 'compressedDepth \x1b[2J" in line
    assert 'colour camera' in line
    assert '\x1b' not in line
    assert len(line) < 600
    peer.close()
