"""The page of the parameters: written from their declaration, in the groups of the YAML file."""

from __future__ import annotations

import re

from documentation.pages import dead_links
import pytest
from repository import REPOSITORY
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters, parameter_fields
from tools.parameters_page import groups, shown, tables

PAGE = (REPOSITORY / 'docs' / 'reference' / 'parameters.md').read_text(encoding='utf-8')
ROWS = re.findall(r'^\| `(\w+)` \| `([^`]*)` \| (.*?) \| (.*?) \| (.*) \|$', PAGE, re.MULTILINE)


def test_the_page_is_what_the_command_writes():
    written = PAGE.split('not by hand -->\n\n')[1].split('\n\n<!-- end parameters -->')[0]
    assert written == tables().strip(), 'run `python3 -m tools.parameters_page docs`'


def test_every_parameter_has_a_row_with_its_default():
    assert {row[0]: row[1] for row in ROWS} == {
        name: shown(parameter.default) for name, parameter in parameter_fields().items()}
    assert len(ROWS) == len(parameter_fields())


def test_a_row_says_when_its_value_is_read():
    for name, _, _, read, _ in ROWS:
        metadata = parameter_fields()[name].metadata
        assert ('live' in read, read == 'start') == (metadata['live'], metadata['at_start']), name


def test_values_are_those_that_are_accepted():
    for name, _, values, _, _ in ROWS:
        if re.fullmatch(r'-?[\d.]+ to [\d.]+', values):
            kind = type(parameter_fields()[name].default)
            for value in values.split(' to '):
                NodeParameters(**{name: kind(value)})


@pytest.mark.parametrize(('value', 'text'), [
    ('', "''"), ((), '[]'), (True, 'true'), (2.0, '2.0'), (8, '8'), ('auto', 'auto')])
def test_defaults_are_written_as_in_a_file(value, text):
    assert shown(value) == text


def test_groups_are_read_from_headings():
    assert groups('x:\n    # --- one ---\n    # about a\n    a: 1\n    b: [""]\n\n'
                  '    # --- two, only so ---\n    c: ""\n') == {
        'one': ['a', 'b'], 'two, only so': ['c']}


def test_links_lead_somewhere():
    assert dead_links(REPOSITORY / 'docs' / 'reference' / 'parameters.md') == []
