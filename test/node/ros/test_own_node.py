"""The ROS node of the commands top and replay, and its SROS2 enclave."""

from bags.sample_bags import write_bag
import pytest
import rclpy
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.ros_errors import own_node

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(('given', 'enclave'), [(None, '/'), ('/tools/top', '/tools/top')])
def test_nodes_are_in_the_enclave_that_was_given(given, enclave):
    node = own_node('in_enclave', given)
    try:
        assert ('in_enclave', '/', enclave) in node.get_node_names_and_namespaces_with_enclaves()
    finally:
        node.destroy_node()
        rclpy.shutdown(context=node.context)


@pytest.mark.parametrize('name', ['', 'tools', '/1st', '/a b'])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UsageError, match='nclave'):
        own_node('nowhere', name)


@pytest.mark.parametrize('command', ['top', 'replay'])
def test_the_commands_pass_their_enclave_on(command, tmp_path, capfd):
    words = [str(write_bag(tmp_path / 'bag', 1))] if command == 'replay' else []
    assert main([command, *words, '--wait', '0.1', '--enclave', 'tools']) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith(f'resnet_trt {command}: Enclave')


@pytest.mark.parametrize('there', [True, False])
def test_a_keystore_without_keys_is_one_line(there, tmp_path, monkeypatch):
    (tmp_path / 'enclaves' / ('tools' if there else 'other')).mkdir(parents=True)
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
    monkeypatch.setenv('ROS_SECURITY_STRATEGY', 'Enforce')
    monkeypatch.setenv('ROS_SECURITY_KEYSTORE', str(tmp_path))
    with pytest.raises(UsageError, match=r'(?i)security'):
        own_node('in_enclave', '/tools')
