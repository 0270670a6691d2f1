"""The glossary explains what the code counts and reports, and its links lead to the code."""

from __future__ import annotations

import re

from repository import REPOSITORY
from resnet_trt_node.node.monitoring.health import Level
from resnet_trt_node.node.pipeline.counters import DROP_REASONS

PAGE = REPOSITORY / 'docs' / 'glossary.md'
ROWS = [[cell.strip() for cell in line.strip('|').split(' | ')]
        for line in PAGE.read_text().splitlines() if line.startswith('| ')][1:]


def test_drop_reasons_and_levels_have_their_rows():
    terms = {row[0] for row in ROWS}
    for name in (*DROP_REASONS, *(level.name for level in Level)):
        assert f'`{name}`' in terms


def test_each_row_is_a_sentence_with_a_link_into_the_package():
    for term, meaning, where in ROWS:
        assert meaning.endswith('.'), term
        link, = re.findall(r'\]\(([^)]+)\)', where)
        assert (PAGE.parent / link).exists(), term


def test_terms_are_listed_once():
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_the_other_pages_link_to_it():
    assert '(docs/glossary.md)' in (REPOSITORY / 'README.md').read_text()
    assert '(glossary.md)' in (REPOSITORY / 'docs' / 'architecture.md').read_text()
