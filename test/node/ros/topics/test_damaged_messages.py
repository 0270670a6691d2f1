"""Messages that end too early, over real DDS: each is counted, and the node goes on."""

from __future__ import annotations

from array import array
from functools import partial
from importlib import import_module
from types import SimpleNamespace

from nodes.simulated_node import check_sums, red, run, wait_for_status
import pytest
from rclpy.serialization import serialize_message
from resnet_trt_node.node.ros.topics.reception import read_message
from resnet_trt_node.node.ros.transports import TRANSPORTS

pytestmark = pytest.mark.slow

#: What of a message arrives: the header at most, nothing, half.
CUT_BYTES = (40, 4, 70)


def message_class(transport):
    """Return the class of a transport's messages."""
    package, name = TRANSPORTS[transport].message
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except ImportError:
        return pytest.skip(f'{package} is not installed')


def picture(kind):
    """Return a sound message of a class; as video it is none."""
    if kind.__name__ == 'Image':
        return red(7)
    message = kind()
    message.data = array('B', b'x' * 100)
    # One field of these names each has.
    for field in {'format', 'encoding'} & {*kind.get_fields_and_field_types()}:
        setattr(message, field, 'h264')
    return message


@pytest.mark.parametrize('executor', ['auto', 'single_threaded'])
@pytest.mark.parametrize(('transport', 'way'), [
    ('raw', 'serialised'), ('raw', 'message'), ('compressed', 'serialised'),
    ('compressed', 'message'), ('ffmpeg', 'auto'), ('foxglove', 'auto')])
def test_cut_messages_are_malformed_and_the_next_ones_are_taken(peer, executor, transport, way):
    kind = message_class(transport)
    topic = f'image{TRANSPORTS[transport].suffix}'
    sound = serialize_message(picture(kind))
    peer.listen_to_results()
    with run('-p', f'image_transport:={transport}', '-p', f'executor:={executor}',
             '-p', f'receive:={way}') as node:
        peer.connect(topic, kind)
        for length in CUT_BYTES:
            peer.publish(topic, sound[:length])
        wait_for_status(peer, 'dropped_malformed', str(len(CUT_BYTES)))
        peer.publish(topic, sound)
        wait_for_status(peer, 'received', str(len(CUT_BYTES) + 1))
        wait_for_status(peer, 'in_progress', '0')
        status = peer.status()
        check_sums(status)
        if transport == 'raw':
            assert status['answered'] == '1'
        assert node.stop() == 0
    assert 'frame dropped: the ' in node.log
    assert 'Traceback' not in node.log


@pytest.mark.parametrize(('error', 'line'), [
    (ValueError('no such field'), 'the message cannot be read: ValueError: no such field'),
    (MemoryError(), 'the message cannot be read: MemoryError'),
    (RuntimeError('one\ntwo'), 'the message cannot be read: RuntimeError: one')])
def test_whatever_reading_raises_makes_a_damaged_message(error, line):
    def read(data):
        raise error
    found = read_message(read, b'')
    assert str(found.damage) == line
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (0, 0)


def test_what_can_be_read_is_handed_on_as_it_is():
    message = SimpleNamespace()
    assert read_message(partial(getattr, SimpleNamespace(of=message)), 'of') is message
