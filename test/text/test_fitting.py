"""Texts that have to fit a place."""

from __future__ import annotations

import io

import pytest
from resnet_trt_node.text.fitting import cell_width, fit_terminal, shortened, terminal_width
from rich.cells import cell_len


@pytest.mark.parametrize(('text', 'width', 'shown'), [
    ('short', 5, 'short'), ('', 1, ''),
    ('/home/robot/models/resnet50.onnx', 17, '/home/ro…t50.onnx'),
    ('abcdef', 1, '…'), ('abcdef', 2, 'a…'), ('abcdef', 4, 'ab…f')])
def test_a_long_text_keeps_its_ends(text, width, shown):
    assert shortened(text, width) == shown
    assert len(shown) <= width


def test_a_text_is_shortened_by_the_cells_of_a_terminal():
    assert shortened('猫猫猫猫', 5, cell_len) == '猫…猫'
    assert shortened('猫猫猫猫', 6, cell_len) == '猫…猫'
    assert shortened('猫猫猫猫', 8, cell_len) == '猫猫猫猫'


def test_accents_stay_with_their_letter():
    letter = 'e\N{COMBINING ACUTE ACCENT}'
    assert shortened(letter * 9, 5, cell_width) == f'{letter * 2}…{letter * 2}'
    assert shortened(letter * 9, 4, cell_width) == f'{letter * 2}…{letter}'


class Stream(io.StringIO):
    """A stream that is a terminal or not."""

    def __init__(self, terminal: bool, encoding: str = 'utf-8') -> None:
        super().__init__()
        self._terminal, self._encoding = terminal, encoding

    @property
    def encoding(self) -> str:
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def columns(monkeypatch):
    monkeypatch.setenv('COLUMNS', '40')


def test_lines_break_between_words_on_a_terminal_only(columns):
    text = '  one two three four five six seven eight nine ten'
    assert fit_terminal(text, Stream(True)) == (
        '  one two three four five six seven\n    eight nine ten')
    assert fit_terminal(text, Stream(True), 10).splitlines()[1] == f'{" " * 10}eight nine ten'
    assert fit_terminal(text, Stream(False)) == text


def test_a_word_that_is_too_long_is_shortened_where_there_is_room(columns):
    path = '/home/robot/' + 'folder/' * 10 + 'model.onnx'
    assert fit_terminal(f'{path}: it is', Stream(True)) == (
        '/home/robot/folder/f…/folder/model.onnx:\n  it is')
    line = fit_terminal(f'the file {path}', Stream(True))
    assert line.startswith('the file /home/')
    assert len(line) == 40
    lines = fit_terminal(f'a sentence of many words, {path}', Stream(True)).splitlines()
    assert [len(line) for line in lines] == [25, 40]
    assert '...' in fit_terminal(path, Stream(True, 'ascii'))


@pytest.mark.parametrize(('text', 'width'), [
    ('plain', 5), ('猫', 2), ('e\u0301', 1), ('a\u200db', 2), ('👩\u200d🔬', 4), ('', 0)])
def test_cells_of_a_terminal(text, width):
    assert cell_width(text) == width


@pytest.mark.parametrize(('columns', 'width'), [('120', 120), ('3', 40), ('x', 80), ('', 80)])
def test_the_width_of_a_terminal(monkeypatch, columns, width):
    monkeypatch.setenv('COLUMNS', columns)
    assert terminal_width(Stream(True)) == width
    assert terminal_width(Stream(False)) is None
