"""Tables of labelled pictures: what is read, and which line is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.datasets.class_words import ClassWords
from resnet_trt_node.datasets.labelled import LabelledPictures, spread
from resnet_trt_node.datasets.table import LabelledPicture, parse_table
from resnet_trt_node.errors import DataError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of three pictures."""
    folder = tmp_path / 'pictures'
    (folder / 'more').mkdir(parents=True)
    for name in ('a.png', 'b.png', 'more/c.png'):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)
    return folder


def test_a_table_is_read_in_its_order():
    text = 'File\tclass\n\n b.png\t 2\r\n\t\na.png\t0'
    assert parse_table(text, ClassWords(3), 'table').items == (
        LabelledPicture('b.png', 2), LabelledPicture('a.png', 0))


@pytest.mark.parametrize(('text', 'words'), [
    ('', 'no labelled'),
    ('file\tclass\n', 'no labelled'),
    ('a.png\t0\nfile\tclass\n', "table, line 2: 'class' is not"),
    ('a.png\n', 'table, line 1: 1 cells'),
    ('a.png\t1\t2\n', 'table, line 1: 3 cells'),
    ('\t1\n', 'table, line 1: 2 cells'),
    ('a.png\t3\n', 'table, line 1: class 3 .* 0 to 2'),
    ('a.png\t-1\n', 'class -1'),
    ('a.png\t0\n\na.png\t1\n', r'table, line 3: a\.png .*line 1'),
])
def test_a_wrong_line_is_named(text, words):
    with pytest.raises(DataError, match=words):
        parse_table(text, ClassWords(3), 'table')


@pytest.mark.parametrize('given', [False, True])
@pytest.mark.parametrize('header', ['', 'file\tclass\r\n'])
def test_a_byte_order_mark_is_no_part_of_the_table(pictures, header, given):
    # As spreadsheets and editors on Windows save it.
    table = pictures / 'labels.tsv'
    table.write_bytes(f'\ufeff{header}a.png\t1\r\n'.encode())
    with LabelledPictures(pictures, table if given else None, 2) as data:
        assert data.items == (LabelledPicture('a.png', 1),)
        assert data.frame(data.items[0]).pixels.shape == (4, 4, 3)
        assert data.unlabelled == 2


def test_a_file_may_be_named_in_other_ways(pictures, tmp_path):
    table = tmp_path / 'table'
    table.write_text('./a.png\t0\nmore/../b.png\t1\n')
    with LabelledPictures(pictures, table, 2) as data:
        assert [data.frame(item).pixels.shape for item in data.items] == [(4, 4, 3)] * 2
    table.write_text('a.png\t0\nd.png\t1\nmore\t1\n')
    with pytest.raises(DataError, match=r'2 of 3 files .*: d\.png, more$'):
        LabelledPictures(pictures, table, 2)


def test_some_of_many_are_spread_evenly():
    items = [LabelledPicture(str(number), 0) for number in range(10)]
    assert [item.name for item in spread(items, 4)] == ['0', '2', '5', '7']
    assert spread(items, 10) == spread(items, 11) == tuple(items)
    assert spread(items[:1], 5) == tuple(items[:1])
