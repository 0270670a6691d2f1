"""Images and detections find each other by their stamps, and whatever does not is handed back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
from resnet_trt_node.node.ros.stamps import stamp_ns
from resnet_trt_node.node.ros.topics.stamp_matcher import (
    DETECTIONS, IMAGE, KINDS, Outcome, RegionsMessage, StampMatcher, Unmatched, UNMATCHED_REASONS)

MS = 10**6


class Message:
    """Has a header with a stamp in nanoseconds, and a name."""

    def __init__(self, nanoseconds: int, name: str = '') -> None:
        sec, nanosec = divmod(nanoseconds, 10**9)
        self.header = SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec))
        self.name = name

    def __repr__(self) -> str:
        return f'{self.name or stamp_ns(self.header.stamp)}'


def names(match: Any) -> tuple[str, str]:
    return match.message.image.name, match.message.detections.name


def reasons(unmatched: tuple[Unmatched, ...]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.message.name, one.reason) for one in unmatched]


@pytest.mark.parametrize('first', KINDS)
def test_either_may_come_first_and_the_pair_has_the_image_s_header(first):
    matcher = StampMatcher(depth=2, wait_ns=MS)
    messages = {IMAGE: Message(7), DETECTIONS: Message(7)}
    second, = set(KINDS) - {first}
    assert matcher.offer(first, messages[first], now_ns=0) == Outcome()
    assert matcher.waiting == {first: 1, second: 0}
    outcome = matcher.offer(second, messages[second], now_ns=5)
    assert outcome.unmatched == ()
    assert outcome.match is not None
    assert isinstance(outcome.match.message, RegionsMessage)
    assert outcome.match.message.image is messages[IMAGE]
    assert outcome.match.message.detections is messages[DETECTIONS]
    assert outcome.match.message.header is messages[IMAGE].header
    assert matcher.waiting == {IMAGE: 0, DETECTIONS: 0}


@pytest.mark.parametrize(('image', 'detections', 'expected'), [
    # Offered at, waited for: when it arrived.
    ((100, 0), (120, 0), 120), ((100, 0), (120, 15), 105), ((100, 30), (120, 45), 75),
    # The detections were there before the image, and only came later to be offered.
    ((100, 10), (120, 50), 90)])
def test_a_pair_has_arrived_when_its_later_message_had(image, detections, expected):
    matcher = StampMatcher(depth=2, wait_ns=MS)
    matcher.offer(IMAGE, Message(7), image[0], waited_ns=image[1])
    match = matcher.offer(DETECTIONS, Message(7), detections[0], waited_ns=detections[1]).match
    assert match is not None
    assert match.arrived_ns == expected


def test_without_slop_a_nanosecond_keeps_two_apart():
    matcher = StampMatcher(depth=2, wait_ns=MS)
    matcher.offer(IMAGE, Message(10**18), 0)
    assert matcher.offer(DETECTIONS, Message(10**18 + 1), 0) == Outcome()
    assert matcher.waiting == {IMAGE: 1, DETECTIONS: 1}


def test_of_several_within_the_slop_the_nearest_is_taken_and_of_equals_the_first():
    matcher = StampMatcher(depth=9, wait_ns=MS, slop_ns=10)
    for stamp in (89, 92, 98, 102, 110, 111):
        matcher.offer(IMAGE, Message(stamp, str(stamp)), 0)
    taken = [matcher.offer(DETECTIONS, Message(100, 'd'), 0).match for _ in range(5)]
    assert [match and match.message.image.name for match in taken] == [
        '98', '102', '92', '110', None]
    assert matcher.waiting == {IMAGE: 2, DETECTIONS: 1}


def test_a_nearer_one_is_not_waited_for():
    """With a slop of more than half of the period; the docstring tells it."""
    matcher = StampMatcher(depth=9, wait_ns=MS, slop_ns=10)
    matcher.offer(IMAGE, Message(100, 'early'), 0)
    match = matcher.offer(DETECTIONS, Message(108, 'd'), 0).match
    assert match is not None
    assert names(match) == ('early', 'd')
    assert matcher.offer(IMAGE, Message(108, 'nearer'), 0) == Outcome()


def test_messages_of_one_stamp_are_matched_in_their_order():
    matcher = StampMatcher(depth=9, wait_ns=MS)
    for name in ('a', 'b'):
        matcher.offer(IMAGE, Message(5, name), 0)
    matches = [matcher.offer(DETECTIONS, Message(5, name), 0).match for name in ('c', 'd')]
    assert [match and names(match) for match in matches] == [('a', 'c'), ('b', 'd')]


@pytest.mark.parametrize('kind', KINDS)
def test_a_stamp_of_0_is_none(kind):
    matcher = StampMatcher(depth=9, wait_ns=MS, slop_ns=10)
    other, = set(KINDS) - {kind}
    matcher.offer(other, Message(3, 'near'), 0)
    outcome = matcher.offer(kind, Message(0, 'unset'), 50, waited_ns=8)
    assert outcome.match is None
    assert reasons(outcome.unmatched) == [(kind, 'unset', 'no_stamp')]
    assert outcome.unmatched[0].arrived_ns == 42
    # It brings time with it as any other.
    assert reasons(matcher.offer(kind, Message(0, 'unset'), MS + 1).unmatched) == [
        (kind, 'unset', 'no_stamp'), (other, 'near', 'expired')]


def test_what_waits_for_too_long_expires_in_the_timer_and_with_the_next_offer():
    matcher = StampMatcher(depth=9, wait_ns=MS)
    matcher.offer(IMAGE, Message(1, 'a'), 0, waited_ns=3)
    matcher.offer(DETECTIONS, Message(2, 'b'), 1)
    assert matcher.expire(MS) == ()
    expired, = matcher.expire(MS + 1)
    assert (expired.kind, expired.message.name, expired.reason) == (IMAGE, 'a', 'expired')
    assert expired.arrived_ns == -3
    # Expired first, so that it does not depend on the timer whether they are matched.
    outcome = matcher.offer(IMAGE, Message(2, 'c'), MS + 2)
    assert outcome.match is None
    assert reasons(outcome.unmatched) == [(DETECTIONS, 'b', 'expired')]


def test_a_message_that_waits_for_just_as_long_as_it_may_is_matched():
    matcher = StampMatcher(depth=9, wait_ns=MS)
    matcher.offer(IMAGE, Message(1, 'a'), 0)
    match = matcher.offer(DETECTIONS, Message(1, 'b'), MS).match
    assert match is not None
    assert names(match) == ('a', 'b')


def test_one_more_than_depth_drops_the_one_that_waited_for_longest():
    """Not the one of the oldest stamp: after a bag started again that would be the new one."""
    matcher = StampMatcher(depth=2, wait_ns=MS)
    for stamp in (101, 102):
        assert matcher.offer(IMAGE, Message(stamp, str(stamp)), 0) == Outcome()
    outcome = matcher.offer(IMAGE, Message(1, '1'), 0)
    assert reasons(outcome.unmatched) == [(IMAGE, '101', 'overflow')]
    match = matcher.offer(DETECTIONS, Message(1, 'd'), 0).match
    assert match is not None
    assert names(match) == ('1', 'd')


def test_clearing_gives_everything_back_and_the_matcher_goes_on():
    matcher = StampMatcher(depth=2, wait_ns=MS)
    matcher.offer(IMAGE, Message(1, 'a'), 0)
    matcher.offer(DETECTIONS, Message(2, 'b'), 0)
    assert reasons(matcher.clear()) == [(IMAGE, 'a', 'cleared'), (DETECTIONS, 'b', 'cleared')]
    assert matcher.clear() == ()
    assert matcher.offer(IMAGE, Message(2, 'c'), 0) == Outcome()


# Of any messages whatever.

EVENTS = st.lists(
    st.tuples(st.sampled_from((*KINDS, 'timer', 'clear')), st.integers(-3, 8), st.integers(0, 4)),
    max_size=60)


@settings(max_examples=300, deadline=None)
@given(events=EVENTS, depth=st.integers(1, 4), wait=st.integers(0, 12), slop=st.integers(0, 3))
def test_each_message_comes_out_once_and_no_more_than_depth_of_a_kind_wait(
        events, depth, wait, slop):
    matcher = StampMatcher(depth, wait, slop)
    offered: dict[Any, tuple[str, int]] = {}
    ended: list[tuple[str, Any]] = []
    now = 0

    def end(unmatched):
        for one in unmatched:
            assert one.reason in UNMATCHED_REASONS
            assert one.arrived_ns == offered[one.message][1]
            if one.reason == 'expired':
                assert now - one.arrived_ns > wait
            ended.append((one.kind, one.message))

    for kind, stamp, later in events:
        now += later
        if kind == 'timer':
            end(matcher.expire(now))
        elif kind == 'clear':
            end(matcher.clear())
        else:
            message = Message(stamp)
            offered[message] = kind, now
            outcome = matcher.offer(kind, message, now)
            end(outcome.unmatched)
            if outcome.match is not None:
                image, detections = (
                    outcome.match.message.image, outcome.match.message.detections)
                assert message in (image, detections)
                stamps = [stamp_ns(one.header.stamp) for one in (image, detections)]
                assert 0 not in stamps
                assert abs(stamps[0] - stamps[1]) <= slop
                arrived = [offered[one][1] for one in (image, detections)]
                assert now - min(arrived) <= wait
                assert outcome.match.arrived_ns == max(arrived) == now
                ended += [(IMAGE, image), (DETECTIONS, detections)]
        assert all(number <= depth for number in matcher.waiting.values())
        assert len(offered) == len(ended) + sum(matcher.waiting.values())
    end(matcher.clear())
    assert len(ended) == len(offered)
    assert {message: kind for kind, message in ended} == {
        message: kind for message, (kind, _) in offered.items()}


@settings(max_examples=200, deadline=None)
@given(order=st.permutations([(kind, stamp) for kind in KINDS for stamp in range(1, 8)]),
       gaps=st.lists(st.integers(0, 5), min_size=14, max_size=14),
       depth=st.integers(1, 7), wait=st.integers(0, 30))
def test_two_of_one_stamp_are_matched_if_neither_time_nor_number_comes_between(
        order, gaps, depth, wait):
    matcher, now, offered, matched = StampMatcher(depth, wait), 0, {}, set()
    for (kind, stamp), gap in zip(order, gaps, strict=True):
        now += gap
        offered[kind, stamp] = len(offered), now
        match = matcher.offer(kind, Message(stamp, str(stamp)), now).match
        if match is not None:
            assert names(match) == (str(stamp), str(stamp))
            matched.add(stamp)
    for stamp in range(1, 8):
        (start, start_ns), (end, end_ns) = sorted(offered[kind, stamp] for kind in KINDS)
        first_kind = order[start][0]
        between = sum(kind == first_kind for kind, _ in order[start + 1:end])
        if end_ns - start_ns > wait:
            assert stamp not in matched
        elif between < depth:
            assert stamp in matched


@settings(max_examples=200, deadline=None)
@given(stamps=st.tuples(*[st.lists(st.integers(1, 5), max_size=8)] * 2), data=st.data())
def test_without_slop_it_does_not_matter_in_which_order_the_two_topics_arrive(stamps, data):
    queues = {
        kind: [Message(stamp, f'{kind} {index}') for index, stamp in enumerate(some)]
        for kind, some in zip(KINDS, stamps, strict=True)}

    def pairs(order):
        matcher, left = StampMatcher(8, MS), {kind: iter(queues[kind]) for kind in KINDS}
        outcomes = [matcher.offer(kind, next(left[kind]), 0) for kind in order]
        assert not any(outcome.unmatched for outcome in outcomes)
        return {names(outcome.match) for outcome in outcomes if outcome.match}

    in_turn = [kind for kind in KINDS for _ in queues[kind]]
    expected = pairs(in_turn)
    assert len(expected) == sum(
        min(some.count(stamp) for some in stamps) for stamp in range(1, 6))
    assert pairs(data.draw(st.permutations(in_turn))) == expected


@settings(max_examples=200, deadline=None)
@given(slop=st.integers(0, 5), data=st.data())
def test_a_slop_below_half_of_the_period_gives_the_same_pairs_in_any_order(slop, data):
    period = 2 * slop + 1
    shifts = data.draw(st.lists(st.integers(-slop, slop), min_size=1, max_size=8))
    messages = [
        (kind, Message(stamp, str(index)))
        for index, shift in enumerate(shifts, start=1) for kind, stamp in (
            (IMAGE, 100 + 2 * period * index), (DETECTIONS, 100 + 2 * period * index + shift))]
    matcher = StampMatcher(8, MS, slop)
    matches = [matcher.offer(kind, message, 0).match
               for kind, message in data.draw(st.permutations(messages))]
    assert {names(match) for match in matches if match} == {
        (str(index), str(index)) for index in range(1, len(shifts) + 1)}
