"""Tables of pictures that show any number of classes."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
import pytest
from resnet_trt_node.datasets.multi_label import MultiLabelPictures, parse_multi_label_table
from resnet_trt_node.errors import DataError

CLASSES = ('cat', 'dog', 'red fox', 'a;b')


def read(text: str, classes: tuple[str, ...] = CLASSES) -> dict[str, tuple[int, ...]]:
    table = parse_multi_label_table(text, classes, 'table')
    return {item.name: item.targets for item in table.items}


@pytest.mark.parametrize('text', [
    'a.jpg\tcat;dog\nb.jpg\t\nc.jpg\tred fox\n',
    'file\tclasses\na.jpg\tdog; cat\n\nb.jpg\nc.jpg\tred fox\n',
    'a.jpg,cat|dog\nb.jpg,\nc.jpg,red fox\n',
    'Image,tags\r\na.jpg,"cat;dog"\r\nb.jpg,\r\nc.jpg,"red fox"\r\n',
    'a.jpg\t1;0\nb.jpg\t\nc.jpg\t2',
    'file,dog,red fox,cat\na.jpg,1,0,1\nb.jpg,0,0,0\nc.jpg,0,1.0,0\n'])
def test_every_form_says_the_same(text: str) -> None:
    assert read(text) == {'a.jpg': (0, 1), 'b.jpg': (), 'c.jpg': (2,)}


def test_what_was_assumed_is_said() -> None:
    for text, said in (
            ('a.jpg\tcat', ()), ('a.jpg\t0;1', ('table was read as classes given by index',)),
            ('file,cat,dog\na.jpg,1,0',
             ('table was read as columns of 0 and 1 for classes: 2',))):
        assert parse_multi_label_table(text, CLASSES, 'table').assumptions == said


def test_names_come_before_what_they_look_like() -> None:
    assert read('a.jpg\ta;b') == {'a.jpg': (3,)}
    assert read('a.jpg\t1;0', ('1', '0')) == {'a.jpg': (0, 1)}


@pytest.mark.parametrize(('text', 'reason'), [
    ('a.jpg\tcat;cow', "line 1: 'cow' is not a class.*--all-labels"),
    ('a.jpg\t0\nb.jpg\t4', "line 2: '4' is not a class.*0 to 3"),
    ('a.jpg\t0;cat', "line 1: '0' is not a class"),
    ('a.jpg\tcat\na.jpg\tdog', 'line 2: a.jpg stands on line 1 already.*; between'),
    ('a.jpg\tcat\tdog', 'line 1: 3 cells, two'),
    ('file,cat,cow\na.jpg,0,1', "line 1: 'cow' is not"),
    ('file,cat,dog\na.jpg,0,2', 'line 2: a 0 or 1 is needed for each of 2'),
    ('file,cat,dog\na.jpg,0', 'line 2: a 0 or 1'),
    ('\tcat', 'line 1: no file'), ('file\tclass\n', 'no labelled pictures')])
def test_what_cannot_be_read_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read(text)


def test_files_are_found_and_those_left_out_counted(tmp_path: Path) -> None:
    for name in ('a', 'b', 'c'):
        Image.new('RGB', (4, 4)).save(tmp_path / f'{name}.png')
    (tmp_path / 'labels.tsv').write_text('a.png\tcat\nb.png\t\n')
    with MultiLabelPictures(tmp_path, None, CLASSES) as pictures:
        assert [item.targets for item in pictures.items] == [(0,), ()]
        assert pictures.unlabelled == 1
    table = tmp_path.parent / 'other.csv'
    table.write_text('z.png,cat\n')
    with pytest.raises(DataError, match='1 of 1 files that are not in'):
        MultiLabelPictures(tmp_path, table, CLASSES)
    (tmp_path / 'labels.tsv').unlink()
    with pytest.raises(DataError, match=r'there is no labels\.tsv'):
        MultiLabelPictures(tmp_path, None, CLASSES)


def test_a_single_column_of_a_class_is_one_of_0_and_1() -> None:
    table = parse_multi_label_table('file,dog\na.jpg,1\nb.jpg,0\n', ('cat', 'dog', 'bird'), 'it')
    assert [(item.name, item.targets) for item in table.items] == [('a.jpg', (1,)), ('b.jpg', ())]
