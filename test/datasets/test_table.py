"""Tables of files and classes as others write them: separators, headers, names, WordNet ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.datasets.class_words import ClassWords, imagenet_start
from resnet_trt_node.datasets.labelled import LabelledPictures
from resnet_trt_node.datasets.table import LabelledPicture, parse_table, Table
from resnet_trt_node.errors import DataError
from resnet_trt_node.labels.names import imagenet_labels

LABELS = ('tabby', 'tiger cat', 'owl')
FILES = ('a b.jpg', 'c.jpg', 'd/e.jpg')
ITEMS = tuple(LabelledPicture(name, target) for name, target in zip(FILES, (1, 2, 0)))


def read(
        text: str, labels: tuple[str, ...] = LABELS, files: tuple[str, ...] = FILES) -> Table:
    return parse_table(text, ClassWords(labels), 'table', files.__contains__)


@pytest.mark.parametrize(('text', 'assumed'), [
    ('a b.jpg\t1\nc.jpg\t2\nd/e.jpg\t0\n', ''),
    ('a b.jpg 1\nc.jpg 2\nd/e.jpg 0\n', 'cells separated by spaces'),
    ('a b.jpg,1\nc.jpg,2\nd/e.jpg,0\n', 'cells separated by commas'),
    ('a b.jpg, 1\nc.jpg, 2\nd/e.jpg, 0\n', 'cells separated by commas'),
    ('"a b.jpg";1\n"c.jpg";2\nd/e.jpg;0\n', 'cells separated by semicolons'),
    ('a b.jpg\ttiger cat\nc.jpg\towl\nd/e.jpg\ttabby\n', 'classes given by name'),
    ('a b.jpg tiger cat\nc.jpg owl\nd/e.jpg tabby\n',
     'cells separated by spaces, classes given by name'),
    ('filename,label\na b.jpg,tiger cat\nc.jpg,owl\nd/e.jpg,tabby\n',
     'cells separated by commas, classes given by name'),
    ('file class\na b.jpg 1\nc.jpg 2\nd/e.jpg 0\n', 'cells separated by spaces'),
    ('class_index\timage\n1\ta b.jpg\n2\tc.jpg\n0\td/e.jpg\n', ''),
    (',class,split,path\n0,1,val,a b.jpg\n1,2,val,c.jpg\n2,0,val,d/e.jpg\n',
     "cells separated by commas, columns that are not used: '', 'split'"),
    ('file,index,name\na b.jpg,1,tiger cat\nc.jpg,2,owl\nd/e.jpg,0,tabby\n',
     'cells separated by commas'),
    ('a b.jpg\t1\r\nc.jpg\t2\r\nd\\e.jpg\t0\r\n', ''),
])
def test_forms_of_a_table(text: str, assumed: str) -> None:
    assert read(text) == Table(ITEMS, (f'table was read as {assumed}',) if assumed else ())


@pytest.mark.parametrize(('text', 'words'), [
    ('a b.jpg,1\nc.jpg\n', 'table, line 2: 1 cells, two are needed'),
    ('a b.jpg,1,2\n', '3 cells, two .* can name the columns'),
    ('c.jpg lion\n', "line 1: 'lion' is not a class of the model: .* 0 to 2"),
    ('c.jpg 3\n', 'line 1: class 3 is out of range'),
    ('c.jpg\n', '1 cells'),
    ('c.jpg,"owl\n', 'cannot be split at'),
    ('file,index,name\na b.jpg,1,owl\n', "line 2: '1' is class 1 and 'owl' class 2"),
    ('file class more\na.jpg 1 2\n', 'columns can be file and class only'),
    ('class,file\n1,c.jpg\n1,c.jpg\n', 'line 3: c.jpg stands on line 2 already'),
    ('c.jpg\tn01440764\n', "'n01440764' is not a class of the model"),
    ('c.jpg\towl\na b.jpg\t1\n', "line 2: '1' is not a class"),
])
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as refusal:
        read(text)
    assert '\n' not in str(refusal.value)


def test_files_decide_where_a_line_can_be_split_in_two_ways() -> None:
    labels = ('cat', 'tiger cat')
    assert read('a.jpg tiger cat', labels, ('a.jpg',)).items == (LabelledPicture('a.jpg', 1),)
    assert read('a tiger cat', labels, ('a tiger',)).items == (LabelledPicture('a tiger', 0),)
    assert read('a,b 1', labels, ('a,b',)).items == (LabelledPicture('a,b', 1),)
    assert read('a, 1', labels, ('a,',)).items == (LabelledPicture('a,', 1),)
    with pytest.raises(DataError, match="could end with 'tiger cat' or 'cat'"):
        read('a.jpg tiger cat', labels, ('a.jpg', 'a.jpg tiger'))
    with pytest.raises(DataError, match="two ways, with 'a' or 'a,' as its first file"):
        read('a, 1', labels, ('a', 'a,'))
    # What is missing is told by the caller.
    assert read('a, 1', labels, ()).items == (LabelledPicture('a', 1),)


def test_numbers_that_are_names_are_refused_unless_the_header_says_what_they_are() -> None:
    labels = ('1', '2', '10')
    with pytest.raises(DataError, match="'1' is class 0 by its name and class 1 by its number"):
        read('c.jpg\t1\n', labels)
    assert read('file\tclass_name\nc.jpg\t1\n', labels).items[0].target == 0
    assert read('file\tclass_index\nc.jpg\t1\n', labels).items[0].target == 1
    # Nothing is to be decided here.
    assert read('c.jpg\t1\n', ('0', '1')).items[0].target == 1
    assert read('c.jpg\t10\n', labels).items[0].target == 2


def test_wordnet_ids_are_those_of_imagenet() -> None:
    text = 'ImageId,Synset\na b.jpg,n01440764\nc.jpg,n15075141\n'
    names = imagenet_labels()
    spelt = tuple(f'{name.upper()}, something' for name in names)
    for labels, targets, kind in (
            (names, (0, 999), 'WordNet id'), (spelt, (0, 999), 'WordNet id'),
            (('background', *names), (1, 1000), 'WordNet id'),
            (('toilet tissue', 'tench'), (1, 0), 'WordNet id'),
            (('n15075141', 'n01440764'), (1, 0), 'name'),
            (('n01440764 tench', 'n15075141 paper'), (0, 1), 'WordNet id')):
        table = read(text, labels)
        assert tuple(item.target for item in table.items) == targets
        assert table.assumptions[0].endswith(f', classes given by {kind}')


def test_only_imagenets_own_order_counts_as_imagenet() -> None:
    names = imagenet_labels()
    assert imagenet_start(names) == 0
    assert imagenet_start(('background', *names)) == 1
    assert imagenet_start(('cat', *names)) is None
    assert imagenet_start(names[:999]) is None
    assert imagenet_start(names[1:] + names[:1]) is None
    assert imagenet_start(tuple(f'class_{index}' for index in range(1000))) is None


def test_a_data_set_says_how_its_table_was_read(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / 'a b.png')
    (tmp_path / 'val.txt').write_text('a b.png owl\n')
    with LabelledPictures(tmp_path, tmp_path / 'val.txt', LABELS) as data:
        assert data.items == (LabelledPicture('a b.png', 2),)
        assert data.assumptions == (
            f'{tmp_path / "val.txt"} was read as cells separated by spaces, classes given by '
            'name',)
        assert data.unlabelled == 0
