"""The page of topics, encodings and counters says what the code has; the node's own is asked."""

from __future__ import annotations

import re

from documentation.pages import dead_links, section
from repository import REPOSITORY
from resnet_trt_node.imaging.raw.encodings import ENCODINGS
from resnet_trt_node.node.pipeline.counters import DROP_REASONS

PAGE = REPOSITORY / 'docs' / 'reference' / 'topics.md'
TEXT = PAGE.read_text(encoding='utf-8')


def first_cells(title: str) -> list[str]:
    return re.findall(r'^\| `([^`]+)` \|', section(TEXT, title), re.MULTILINE)


def test_drop_reasons_are_those_that_are_counted():
    assert tuple(first_cells('Counters and drop reasons')) == DROP_REASONS


def test_encodings_are_those_that_are_decoded():
    rows = [line for line in section(TEXT, 'Encodings').splitlines() if line.startswith('| ')]
    listed = [name for row in rows for name in re.findall(r'`(\w+)`', row)]
    assert sorted(listed) == sorted(ENCODINGS)


def test_links_lead_somewhere():
    assert dead_links(PAGE) == []
