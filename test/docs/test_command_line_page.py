"""docs/reference/command-line.md is what the parsers say."""

from __future__ import annotations

import re

from repository import REPOSITORY
from resnet_trt_node.cli.main import COMMANDS, parser_for
from tools.command_line_page import commands

TEXT = (REPOSITORY / 'docs' / 'reference' / 'command-line.md').read_text(encoding='utf-8')


def test_the_page_is_current():
    written = re.findall(
        r'<!-- begin commands:.*? -->\n\n(.*)\n\n<!-- end commands -->', TEXT, re.DOTALL)
    assert written == [commands().strip()], 'run `python3 -m tools.command_line_page docs`'


def test_every_command_and_every_option_is_there():
    sections = dict(re.findall(r'^## ([\w-]+)\n(.*?)(?=^## |\Z)', TEXT, re.DOTALL | re.MULTILINE))
    for name in COMMANDS:
        for action in parser_for(name).commands[name].actions:
            for option in set(action.option_strings) - {'-h', '--help'}:
                assert option in sections[name]


def test_the_vocabulary_at_its_head_is_of_options_that_exist():
    options = set(re.findall(r'`(-[-a-z]+)`', TEXT.partition('## Completion')[0]))
    assert '--batch-size' in options
    assert options <= {
        option for name in COMMANDS for action in parser_for(name).commands[name].actions
        for option in action.option_strings}
