"""The Fast DDS profiles: which file the launch argument means, and that images go through."""

from __future__ import annotations

import os
from pathlib import Path
import re
import signal
import subprocess
import sys
from xml.etree import ElementTree

from nodes.node_process import NodeProcess, Peer
import pytest
from repository import REPOSITORY
from resnet_trt_node.errors import UsageError
from resnet_trt_node.launch_support.dds_profile import dds_environment, RECEIVER, SENDER
from resnet_trt_node.node.distribution import DDS_PROFILES_VARIABLE

pytestmark = pytest.mark.slow

CONFIG = REPOSITORY / 'config'
NAMESPACE = '{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}'
#: 4K, three bytes a pixel.
LARGEST = 3840 * 2160 * 3
#: What Fast DDS puts into a datagram where UDP is among the transports.
DATAGRAM = 65_500

fast_dds_only = pytest.mark.skipif(
    not os.environ.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp').startswith('rmw_fastrtps'),
    reason='RMW_IMPLEMENTATION names another middleware than Fast DDS')


def number(file: str, name: str) -> int:
    """Return a number of the shared-memory transport in a profile."""
    found = ElementTree.parse(CONFIG / file).findall(f'.//{NAMESPACE}{name}')
    assert len(found) == 1
    return int(found[0].text)


@pytest.mark.parametrize(('file', 'frames'), [(SENDER, 4), (RECEIVER, 1)])
def test_the_segment_holds_4k_frames_and_the_queue_their_datagrams(file, frames):
    assert number(file, 'segment_size') >= frames * LARGEST
    # Six cameras may send at the same moment.
    assert number(file, 'port_queue_capacity') >= 6 * LARGEST // DATAGRAM


@fast_dds_only
def test_the_installed_fast_dds_reads_the_variable():
    found = subprocess.run(
        [sys.executable, '-c', 'import rclpy; rclpy.init(); rclpy.create_node("profiled"); '
         'print(open("/proc/self/maps").read())'],
        stdout=subprocess.PIPE, text=True, check=True)
    library, = {line.split()[-1] for line in found.stdout.splitlines()
                if re.search(r'/lib(fastdds|fastrtps)[.\w-]*\.so', line)}
    code = Path(library).read_bytes()
    newer = 'FASTDDS_DEFAULT_PROFILES_FILE'
    assert DDS_PROFILES_VARIABLE.encode() in code
    # Fast DDS that knows the newer one warns at the older one.
    assert (newer.encode() in code) == (newer == DDS_PROFILES_VARIABLE)


def test_nothing_given_changes_nothing():
    assert dds_environment('', CONFIG / SENDER, {'RMW_IMPLEMENTATION': 'rmw_zenoh_cpp'}) == {}


def test_an_own_file_is_taken_with_the_home_folder_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'mine.xml').write_text('<dds/>')
    assert dds_environment('~/mine.xml', CONFIG / SENDER, {}) == {
        DDS_PROFILES_VARIABLE: str(tmp_path / 'mine.xml')}


@pytest.mark.parametrize(('profile', 'middleware', 'keyword'), [
    ('~no_such_user/a', '', "dds_profile: .*home .*'~no_such_user/a'"),
    ('large', '', "dds_profile: .*no file 'large'"),
    ('large_images', 'rmw_cyclonedds_cpp', 'dds_profile: .*rmw_cyclonedds'),
])
def test_what_cannot_work_is_refused(profile, middleware, keyword):
    with pytest.raises(UsageError, match=keyword):
        dds_environment(profile, CONFIG / SENDER, {'RMW_IMPLEMENTATION': middleware})


@fast_dds_only
def test_fast_dds_complains_of_a_profile_it_cannot_read(monkeypatch, tmp_path):
    """So that the next test can take no message for success."""
    broken = tmp_path / 'broken.xml'
    broken.write_text((CONFIG / RECEIVER).read_text().replace('segment_size', 'segment_sice'))
    monkeypatch.setenv(DDS_PROFILES_VARIABLE, str(broken))
    with NodeProcess() as node:
        node.wait_for('memory: ')
        assert 'XMLPARSER' in node.log
        assert 'segment_sice' in node.log
        node.stop()


#: Publishes 4K images by best effort until SIGTERM, and ends cleanly, since the shared memory of a
#: killed process stays.
CAMERA = '\n'.join([
    'from array import array',
    'import sys',
    'from time import sleep',
    'import rclpy',
    'from rclpy.qos import QoSProfile, ReliabilityPolicy',
    'from rclpy.signals import SignalHandlerOptions',
    'from sensor_msgs.msg import Image',
    # A signal ends it as any process, never between `rclpy.ok` and what needs it.
    'rclpy.init(signal_handler_options=SignalHandlerOptions.NO)',
    "node = rclpy.create_node('camera')",
    'qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)',
    "publisher = node.create_publisher(Image, 'image', qos)",
    "message = Image(height=2160, width=3840, step=11520, encoding='bgr8')",
    "message.data = array('B', bytes(2160 * 11520))",
    'while True:',
    '    publisher.publish(message)',
    '    sleep(0.2)'])


@fast_dds_only
def test_4k_images_arrive_by_best_effort_with_the_profiles(monkeypatch):
    monkeypatch.setenv(DDS_PROFILES_VARIABLE, str(CONFIG / SENDER))
    camera = subprocess.Popen(
        [sys.executable, '-c', CAMERA], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True)
    try:
        monkeypatch.setenv(DDS_PROFILES_VARIABLE, str(CONFIG / RECEIVER))
        with NodeProcess('-p', 'backend:=simulated:1.0') as node:
            monkeypatch.delenv(DDS_PROFILES_VARIABLE)
            peer = Peer()
            try:
                peer.listen_to_results()
                peer.spin_until(lambda: len(peer.heard['classification']) >= 5, 'five answers')
            finally:
                peer.close()
            assert node.stop() == 0
            assert 'XML' not in node.log
    finally:
        camera.terminate()
        said = camera.communicate(timeout=120)[1]
        assert camera.returncode == -signal.SIGTERM, said
        assert 'XML' not in said
