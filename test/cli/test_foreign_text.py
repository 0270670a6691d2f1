"""Class names and file names of others: no command hands an escape sequence to a terminal."""

from __future__ import annotations

import ast
import io
import os
from pathlib import Path
import unicodedata

from models.tiny_model import colour_picture, COLOURS, write_tiny_model
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.cli.support.console import log, Progress, table_row, text_width, write
from resnet_trt_node.imaging.text import fitted_mask

NAMES = (
    'black\x1b[2J', 'red\x1b]0;title\x07', 'green\nSOURCE', 'yellow\x9b31m', 'blue$\\frac$',
    'x' * 300_000, '\u202ecyan', '[/white]')


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / 'odd$\\frac{$\x1b[31m.onnx', labels=NAMES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return pictures of all colours whose names hold what a terminal obeys."""
    path = tmp_path / 'odd\x1b[2Jfolder'
    path.mkdir()
    for name, ending in zip(COLOURS, ('\x1b[2J', '\x07', '\n', '\x9b', '\udcff', '', '$', '\r')):
        file = os.fsencode(path) + b'/' + os.fsencode(name + ending) + b'.png'
        with open(file, 'wb') as target:
            Image.fromarray(colour_picture(name)).save(target, 'PNG')
    return path


def assert_harmless(*texts: str) -> None:
    for text in texts:
        text.encode('utf-8')
        assert not [letter for letter in text.replace('\n', '')
                    if unicodedata.category(letter) in ('Cc', 'Cs') or letter == '\u202e']
        assert max(map(len, text.splitlines()), default=0) < 2500


@pytest.mark.parametrize('form', [(), ('--json',)])
def test_what_classify_shows(resnet_trt, model, folder, form):
    (folder / 'broken\x1b[2J.png').write_bytes(b'\x89PNG')
    done = resnet_trt('classify', model, folder, '--top-k', '1', '--skip-bad', *form)
    assert done.code == 0
    if form:
        assert {one['predictions'][0]['label'] for one in done.document['results']} == {*NAMES}
        done = type(done)(0, done.out.replace(NAMES[5], 'x'), done.err)
    else:
        assert r'red\x07.png' in done.out
        assert r'black\x1b[2J' in done.out
        assert 'x' * 1000 + '... (300000 characters)' in done.out
        # One line for each picture, and the head.
        assert len(done.out.splitlines()) == 9
    assert_harmless(done.out, done.err)


@pytest.mark.slow
def test_what_evaluate_shows_and_draws(resnet_trt, model, folder, tmp_path):
    table = tmp_path / 'table.tsv'
    names = [os.fsdecode(name) for name in os.listdir(os.fsencode(folder))]
    table.write_text(''.join(
        f'{name}\t3\n' for name in names if name in ('cyan$.png', 'black\x1b[2J.png')))
    done = resnet_trt(
        'evaluate', model, '--images', folder, '--labels', table, '--confusion',
        tmp_path / 'matrix.svg')
    assert done.code == 0, done.err
    assert r'yellow\x9b31m' in done.out
    assert_harmless(done.out, done.err)
    assert '\x1b' not in (tmp_path / 'matrix.svg').read_text()


def test_what_inspect_shows(resnet_trt, model):
    done = resnet_trt('inspect', model, '--all-labels')
    assert (done.code, done.err) == (0, '')
    assert_harmless(done.out)
    assert r'     1  red\x1b]0;title\x07' in done.out.splitlines()


def test_what_a_refusal_quotes(resnet_trt, tmp_path):
    assert_harmless(resnet_trt.refused('classify', tmp_path / 'no\x1b[2Jmodel.onnx', tmp_path))
    done = resnet_trt('inspect', 'model.onnx', '--no\x1b[2J')
    assert done.code == 2
    assert r'--no\x1b[2J' in done.err
    assert_harmless(done.err)


def test_columns_stay_aligned_with_what_is_escaped():
    widths = (max(text_width(cell) for cell in ('\x1b[2J', 'plain', '猫\u200d')), -3)
    rows = [table_row((cell, '1'), widths) for cell in ('\x1b[2J', 'plain', '猫')]
    assert rows == [r'\x1b[2J    1', 'plain      1', '猫         1']


def test_a_bar_shows_notes_and_lines_escaped(capsys, monkeypatch):
    error = io.StringIO()
    error.isatty = lambda: True
    monkeypatch.setattr('sys.stderr', error)
    with Progress(2, 'step') as progress:
        progress.step('layer \x1b[2J')
        log('two\nlines \x1b[2J')
        write('\x9b2J')
    assert capsys.readouterr().out == '\\x9b2J\n'
    assert r'layer \x1b[2J' in error.getvalue()
    assert 'two\\nlines \\x1b[2J' in error.getvalue()
    assert '\x1b[2J' not in error.getvalue()


@pytest.mark.parametrize('text', [*NAMES, 'caf\udce9', '\0'])
def test_any_name_is_drawn(text):
    mask = fitted_mask(text, 12, 200)
    assert 0 < mask.width <= 200
    assert np.asarray(mask).any()


# Where matplotlib has never run it starts a program that lists the fonts.
@pytest.mark.slow
def test_latencies_of_models_named_as_formulas_are_drawn():
    pytest.importorskip('matplotlib', reason='latencies are drawn by matplotlib')
    from resnet_trt_node.compare.plot import draw
    curve_ms = [float(place + 1) for place in range(101)]
    picture = draw({'plan': {'batch_sizes': [1]}, 'source': '$\x1b[2J', 'models': [
        {'name': '$\\frac{$', 'architecture': '\x1b[31m$$', 'input': [8, 8, 3]}], 'rows': [
        {'label': label, 'latency': [{'curve_ms': curve_ms}]}
        for label in ('$\\frac{$', '\x1b[31m\udcff')]})
    assert picture is not None
    assert picture.startswith(b'\x89PNG')


def test_commands_print_through_the_console_module(repository: Path):
    """A bare print() of what others wrote would hand their escape sequences to the terminal."""
    faults = []
    for path in sorted((repository / 'resnet_trt_node/cli').glob('*.py')):
        # main.py must do without the libraries of console.py, and prints this package's errors.
        if path.name in ('console.py', 'main.py'):
            continue
        faults += [
            f'{path.name}:{node.lineno} use console.write or print_json'
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            and node.func.id == 'print']
    assert faults == []
