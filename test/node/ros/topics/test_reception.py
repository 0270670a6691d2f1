"""How long a frame waited before the executor came to it counts for its age."""

from __future__ import annotations

from inspect import signature
from time import sleep

from nodes.simulated_node import check_sums, red, run, wait_for_status
import pytest
from resnet_trt_node.node.ros.topics.reception import waited_ns, with_wait

pytestmark = pytest.mark.slow

SEC = 10**9
NOW_NS = 1_800_000_000 * SEC

#: Has the executor hang at the first frame until a file is there, while others come in.
BLOCKED = '\n'.join((
    'from pathlib import Path',
    'from time import sleep',
    'from resnet_trt_node.node.pipeline.pipeline import Pipeline',
    'offer = Pipeline.offer',
    'def slow(pipeline, camera, message, *more, **named):',
    '    while not Path({file!r}).exists():',
    '        sleep(0.01)',
    '    offer(pipeline, camera, message, *more, **named)',
    'Pipeline.offer = slow'))


@pytest.fixture
def blocked(tmp_path):
    """Give what has the executor hang, and what has the frames wait for it before it goes on."""
    file = tmp_path / 'go on'

    def go_on_after(peer, seconds):
        # The middleware of the node has them all, and may have had the first one alone before.
        peer.flush('image')
        sleep(seconds)
        file.touch()

    return BLOCKED.format(file=str(file)), go_on_after


@pytest.mark.parametrize(('received_ns', 'expected'), [
    (NOW_NS - 5, 5), (NOW_NS - 60 * SEC, 60 * SEC), (NOW_NS, 0), (0, 0), (None, 0), (-1, 0),
    # Ahead, of a steady clock, of long ago: other clocks.
    (NOW_NS + SEC, 0), (7 * SEC, 0), (NOW_NS - 61 * SEC, 0)])
def test_what_a_middleware_may_tell(received_ns, expected):
    assert waited_ns(received_ns, NOW_NS) == expected


@pytest.mark.parametrize('as_one', [False, True])
def test_a_callback_takes_both_as_two_arguments_or_as_one_tuple(as_one):
    heard = []
    callback = with_wait(lambda message, waited_ns: heard.append((message, waited_ns)))
    # By which rclpy distinguishes callbacks.
    with pytest.raises(TypeError):
        signature(callback).bind('message')
    signature(callback).bind('message', {})
    given = ('message', {'received_timestamp': 0})
    callback(given) if as_one else callback(*given)
    assert heard == [('message', 0)]


@pytest.mark.usefixtures('receive')
@pytest.mark.parametrize('executor', ['auto', 'single_threaded'])
def test_frames_that_waited_for_the_executor_are_stale(peer, blocked, executor):
    peer.listen_to_results()
    prepare, go_on_after = blocked
    with run('-p', f'executor:={executor}', '-p', 'max_age_ms:=1500.0', prepare=prepare) as node:
        wait_for_status(peer, 'state', 'active')
        peer.connect('image')
        for value in range(4):
            peer.publish('image', red(value))
        go_on_after(peer, 1.6)
        # All but the one that the executor was at.
        peer.spin_until(lambda: (peer.status() or {}).get('dropped_stale') == '3', 'old frames')

        def heard():
            return {answer.results[0].class_id for answer in peer.heard['classification']}

        def answered():
            peer.publish('image', red(9))
            return 'red_009' in heard()
        peer.spin_until(answered, 'the answer to a new one')
        assert heard() == {'red_000', 'red_009'}
        check_sums(peer.status())
        assert node.stop() == 0


@pytest.mark.usefixtures('receive')
@pytest.mark.parametrize('executor', ['auto', 'single_threaded'])
def test_the_wait_for_the_executor_is_a_stage_of_its_own(peer, blocked, executor):
    peer.listen_to_results()
    prepare, go_on_after = blocked
    with run('-p', f'executor:={executor}', prepare=prepare) as node:
        wait_for_status(peer, 'state', 'active')
        peer.connect('image')
        for value in range(4):
            peer.publish('image', red(value))
        go_on_after(peer, 1.1)
        peer.spin_until(lambda: len(peer.heard['classification']) == 4, 'all answers')
        peer.spin_until(lambda: peer.status().get('answered') == '4', 'them to be counted')
        # Those behind the first one.
        assert float(peer.status()['receive_p99_ms']) > 1000
        assert float(peer.status()['receive_p99_ms']) < 60_000
        assert node.stop() == 0
