"""The topics page lists what a real node has in the graph: names, types and QoS."""

from __future__ import annotations

import re
from typing import Any

from documentation.pages import section
from nodes.node_process import Peer
from nodes.simulated_node import run
import pytest
from repository import REPOSITORY

pytestmark = pytest.mark.slow

PAGE = (REPOSITORY / 'docs' / 'reference' / 'topics.md').read_text(encoding='utf-8')
#: What rclpy creates for every node.
_OF_EVERY_NODE = re.compile(
    r'/rosout|/parameter_events|.*/(\w+_parameters(_atomically)?|get_parameter_types'
    r'|get_type_description)')
NODE = 'classifier'


def listed(title: str, given: str) -> dict[str, tuple[str, ...]]:
    """
    Return the rows of a table by full name: type, and QoS where there is a column for it.

    :param given: what the node was started with, such as 'input: regions'; rows with another
        condition in their column `with` are left out.
    """
    rows = [[cell.strip().strip('`') for cell in line.strip('|').split('|')]
            for line in section(PAGE, title).splitlines() if line.startswith('| `')]
    names = {re.sub('^~', f'/{NODE}', row[0]): row[1:] for row in rows}
    return {name if name.startswith('/') else f'/{name}': (row[0], *row[2:3])
            for name, row in names.items()
            if len(row) < 4 or row[1] == 'always' or row[1] in given}


def of_graph(names_and_types: list[tuple[str, list[str]]]) -> dict[str, str]:
    return {name: kind for name, (kind,) in names_and_types
            if not _OF_EVERY_NODE.fullmatch(name)}


def qos_of(end: Any) -> str:
    profile = end.qos_profile
    return f'{profile.reliability.name}, {profile.durability.name}'.replace('_', ' ').lower()


@pytest.mark.parametrize(('arguments', 'given'), [
    ((), 'input: image, image_transport: raw'),
    (('-p', 'input:=regions', '-p', 'image_transport:=compressed'),
     'input: regions, image_transport: compressed')])
def test_the_page_lists_what_the_node_has(peer: Peer, arguments, given):
    with run('-p', 'image_reliability:=best_effort', *arguments) as node:
        peer.listen_to_diagnostics()
        peer.spin_until(lambda: (peer.status() or {}).get('state') == 'active', 'an active node')
        # Its diagnostics may come before its name, without which asking for its ends is an error.
        peer.spin_until(
            lambda: (NODE, '/') in peer.node.get_node_names_and_namespaces(), f'the name {NODE}')
        for title, asked in (
                ('Subscriptions', peer.node.get_subscriber_names_and_types_by_node),
                ('Publications', peer.node.get_publisher_names_and_types_by_node),
                ('Services', peer.node.get_service_names_and_types_by_node)):
            page = listed(title, given)
            kinds = {name: row[0] for name, row in page.items()}
            # Each end is discovered by itself, in any order.
            peer.spin_until(
                lambda asked=asked, kinds=kinds: kinds.items() <= of_graph(
                    asked(NODE, '/')).items(), f'{title} {kinds}')
            assert of_graph(asked(NODE, '/')) == kinds
        for title, ends in (('Subscriptions', peer.node.get_subscriptions_info_by_topic),
                            ('Publications', peer.node.get_publishers_info_by_topic)):
            for name, (_, qos) in listed(title, given).items():
                def ours(ends=ends, name=name):
                    return [end for end in ends(name) if end.node_name == NODE]
                # Those of the test before may be known for some time.
                peer.spin_until(lambda ours=ours: len(ours()) == 1, name)
                end, = ours()
                assert qos_of(end) == qos, name
        assert node.stop() == 0
