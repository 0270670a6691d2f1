"""The architecture page and its diagram name the threads and drop reasons that the code has."""

from __future__ import annotations

from xml.etree import ElementTree

from documentation.pages import dead_links
from repository import REPOSITORY
from resnet_trt_node.node.pipeline.counters import DROP_REASONS
from resnet_trt_node.node.pipeline.pipeline import THREADS

PAGE = REPOSITORY / 'docs' / 'architecture.md'
DIAGRAM = ElementTree.parse(REPOSITORY / 'docs' / 'images' / 'frame_way.svg').getroot()


def texts(kind: str) -> list[str]:
    """Return the texts of the diagram that have a class."""
    return [str(one.text) for one in DIAGRAM.iter('{http://www.w3.org/2000/svg}text')
            if kind in one.get('class', '').split()]


def test_the_diagram_has_every_drop_reason():
    assert set(texts('reason')) == set(DROP_REASONS)


def test_the_diagram_has_every_thread():
    assert {'executor', *THREADS} <= set(texts('head'))


def test_the_diagram_is_as_readable_on_a_dark_page():
    """Its background is its own, over all of it."""
    background = next(DIAGRAM.iter('{http://www.w3.org/2000/svg}rect'))
    assert background.get('fill') == '#ffffff'
    assert float(background.get('width', 0)) >= float(DIAGRAM.get('width', 0)) - 1


def test_links_lead_somewhere():
    assert dead_links(PAGE) == []
