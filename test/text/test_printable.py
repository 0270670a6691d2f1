"""Text of others: no control character, no escape sequence, nothing that cannot be encoded."""

from __future__ import annotations

import json
import random
import unicodedata

import pytest
from resnet_trt_node.text.printable import printable, printable_json


@pytest.mark.parametrize(('text', 'shown'), [
    ('tiger cat', 'tiger cat'),
    ('', ''),
    ('Straße, персидский', 'Straße, персидский'),
    ('👩\u200d🔬, می\u200cشود', '👩\u200d🔬, می\u200cشود'),
    ('猫\u3000白', '猫\u3000白'),
    (r'C:\new\x1b', r'C:\new\x1b'),
    ('\x1b[2Jred', r'\x1b[2Jred'),
    ('\x9b2J', r'\x9b2J'),
    ('one\ntwo\r\tthree\0', r'one\ntwo\r\tthree\x00'),
    ('caf\udce9', r'caf\udce9'),
    ('\u202egpj.exe', r'\u202egpj.exe'),
    ('a\u2028b\x85c\x7f', r'a\u2028b\x85c\x7f'),
    ('\U000e0041', r'\U000e0041'),
])
def test_what_is_shown(text, shown):
    assert printable(text) == shown


def test_cut_by_what_is_read_not_by_what_is_shown():
    assert printable('x' * 200) == 'x' * 200
    assert printable('x' * 201) == 'x' * 200 + '... (201 characters)'
    assert printable('\x1b' * 400_000, 3) == r'\x1b\x1b\x1b... (400000 characters)'
    assert printable('abc', 0) == '... (3 characters)'


def test_objects_are_shown_as_their_text():
    assert printable(ValueError('bad\nvalue')) == r'bad\nvalue'
    assert printable(None) == 'None'
    assert printable(repr('\x1b'), 10) == r"'\x1b'"


def test_of_any_text_nothing_commands_a_terminal():
    choose = random.Random(0)
    for _ in range(200):
        text = ''.join(chr(choose.randrange(0x110000)) for _ in range(50))
        shown = printable(text)
        assert '\n' not in shown
        shown.encode('utf-8')
        assert not [letter for letter in shown if unicodedata.category(letter) in ('Cc', 'Cs')]
        document = printable_json(json.dumps({'key': text}, ensure_ascii=False, indent=2))
        document.encode('utf-8')
        assert not [letter for letter in document.replace('\n', '')
                    if unicodedata.category(letter) in ('Cc', 'Cs')]
        assert json.loads(document) == json.loads(json.dumps({'key': text}))
