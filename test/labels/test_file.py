"""Class names in files: one per line, or numbered in any usual form; obeyed or refused."""

import json
import os

import pytest

from resnet_trt_node.errors import LabelsError
from resnet_trt_node.labels.file import read_labels

NAMES = ('cat', 'dog', 'bird, any')


def write(tmp_path, content, name='labels.txt'):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize('content', [
    'cat\ndog\nowl',
    'cat\ndog\nowl\n',
    'cat\ndog\nowl\n\n  \n',
    'cat\r\ndog\r\nowl\r\n',
    ' cat \n\tdog\nowl\n',
    b'\xef\xbb\xbfcat\ndog\nowl\n',
])
def test_names_are_read_one_a_line(tmp_path, content):
    assert read_labels(write(tmp_path, content)) == ('cat', 'dog', 'owl')


def test_names_may_hold_spaces_commas_and_any_letters(tmp_path):
    path = write(tmp_path, 'great white shark, man-eater\nMöwe\nねこ\none\x85name\n')
    assert read_labels(path) == ('great white shark, man-eater', 'Möwe', 'ねこ', 'one\x85name')


@pytest.mark.parametrize(('content', 'message'), [
    ('', 'labels.txt: no class names; write one per line'),
    (' \n\n', 'labels.txt: no class names; write one per line'),
    ('cat\n\ndog\n', 'labels.txt, line 2: a class name is blank'),
    (b'cat\n\xff\xfe\n', 'are not UTF-8 text: one class name a line'),
])
def test_a_list_that_cannot_be_class_names_is_refused(tmp_path, content, message):
    with pytest.raises(LabelsError) as refusal:
        read_labels(write(tmp_path, content))
    assert message in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(LabelsError, match='No such file'):
        read_labels(tmp_path / 'nowhere')
    with pytest.raises(LabelsError, match='folder'):
        read_labels(tmp_path)


@pytest.mark.parametrize(('name', 'content'), [
    ('a.txt', '2 bird, any\n0 cat\n1 dog\n'),
    ('a.txt', '2\tbird, any\n0\tcat\n1\tdog'),
    ('a.txt', '2: bird, any\n0: cat\n1:dog'),
    ('a.txt', '2,bird, any\n0, cat\n1 ,dog'),
    ('a.txt', '002. bird, any\n000. cat\n001. dog'),
    ('a.txt', 'index name\n2 bird, any\n0 cat\n1 dog'),
    ('a.txt', 'bird, any\t2\ncat\t0\ndog\t1'),
    ('a.txt', 'bird, any,2\ncat,0\ndog,1'),
    ('a.txt', 'bird, any 2\ncat 0\ndog 1'),
    ('a.txt', "{2: 'bird, any',\n 0: 'cat',\n 1: 'dog'}"),
    ('a.csv', '"bird, any",2\ncat,0\ndog,1\n'),
    ('a.csv', '2,"bird, any"\n0,cat\n1,dog\n\n'),
    ('a.csv', 'id;label\n2;bird, any\n0;cat\n1;dog\n'),
    ('a.csv', 'class_name,class_id\r\n"bird, any",2\r\ncat,0\r\ndog,1\r\n'),
    ('a.csv', 'cat\ndog\n"bird, any"\n'),
    ('a.tsv', '2\tbird, any\n0\tcat\n1\tdog\n'),
    ('a.json', json.dumps(NAMES)),
    ('a.txt', json.dumps(NAMES)),
    ('a.json', json.dumps(['2 bird, any', '0 cat', '1 dog'])),
    ('a.json', json.dumps({'2': 'bird, any', '0': 'cat', '1': 'dog'})),
    ('a.json', json.dumps({'bird, any': 2, 'cat': 0, 'dog': 1})),
    ('a.json', json.dumps({'arch': 'x', 'id2label': {'2': 'bird, any', '0': 'cat', '1': 'dog'},
                           'label2id': {'cat': 7}})),
    ('a.json', json.dumps({'2': ['n01', 'bird, any'], '0': ['n02', 'cat'], '1': ['n03', 'dog']})),
    ('a.json', json.dumps([{'id': 2, 'name': 'bird, any'}, {'id': 0, 'name': 'cat'},
                           {'id': 1, 'name': 'dog'}])),
    ('a.json', json.dumps([[2, 'bird, any'], [0, 'cat'], [1, 'dog']])),
    ('a.yaml', 'names:\n  2: bird, any\n  0: cat\n  1: dog\n'),
    ('a.yml', '- cat\n- dog\n- bird, any\n'),
    ('a.txt', '\ufeff0 cat\n1 dog\n2 bird, any\n'.encode('utf-16-le')),
    ('a.csv', 'wnid,name,index\nn00000003,"bird, any",2\nn00000001,cat,0\nn00000002,dog,1\n'),
    ('a.csv', 'n00000003,"bird, any",2\nn00000001,cat,0\nn00000002,dog,1\n'),
    ('a.csv', ',id,label\n0,2,"bird, any"\n1,0,cat\n2,1,dog\n'),
    ('a.csv', 'index,mid,display_name\n2,/m/0,"bird, any"\n0,/m/1,cat\n1,/m/2,dog\n'),
    ('a.csv', 'label,id,pictures\ncat,0,7\ndog,1,7\n"bird, any",2,9\n'),
    ('a.csv', 'label\ncat\ndog\n"bird, any"\n'),
    ('a.csv', 'name,colour\ncat,black\ndog,brown\n"bird, any",blue\n'),
    ('a.tsv', 'id\tname\n2\tbird, any\n0\tcat\n1\tdog\n'),
    ('a.yaml', 'nc: 3\nnames: [cat, dog, "bird, any"]\n'),
])
def test_numbers_of_classes_are_obeyed(tmp_path, name, content):
    assert read_labels(write(tmp_path, content, name)) == NAMES


@pytest.mark.parametrize(('name', 'content', 'message'), [
    ('a.txt', '1 cat\n2 dog\n3 owl', 'not 0 to 2 (number 0 is missing): write one name a line'),
    ('a.txt', 'cat 1\ndog 2\nowl 3', 'not 0 to 2 (number 0 is missing)'),
    ('a.txt', '0 cat\n1 dog\n1 owl', 'not 0 to 2 (1 stands there twice)'),
    ('a.txt', '2 bird', 'not 0 to 0 (number 0 is missing)'),
    ('a.txt', '0 cat\ndog\n2 owl', "line 2: 'dog' has no number"),
    ('a.txt', 'tabby\n1 dog\n2 owl', "line 1: 'tabby' has no number"),
    ('a.csv', '0,cat\n2,dog\n', 'not 0 to 1 (number 1 is missing)'),
    ('a.csv', '0,1\n1,0\n', 'both columns are numbers'),
    ('a.csv', 'n01,cat\nn02,dog\n', 'no column is numbers'),
    ('a.csv', '0,cat,x\n1,dog,y\n', 'has two columns, index and name'),
    ('a.csv', '0,"cat\n', 'is not a table'),
    ('a.json', '["cat", "dog"', 'cannot be read as JSON ('),
    ('a.json', '[' * 100_000, 'cannot be read as JSON ('),
    ('a.json', '{"0": "cat", "0": "dog", "1": "owl"}', "'0' stands there twice"),
    ('a.json', '{"cat": 0, "dog": 0}', '(0 stands there twice)'),
    ('a.json', '["cat", 3]', 'neither a list of names nor a mapping'),
    ('a.json', '["cat", "half \\ud83d"]', 'line 2: '),
    ('a.json', '"cat"', 'neither a list of names nor a mapping'),
    ('a.json', '[]', 'neither a list of names nor a mapping'),
    ('a.json', '{"0": true, "1": "a"}', 'neither a list of names nor a mapping'),
    ('a.yaml', '- cat\n- no\n', 'put names such as no, yes or 3 in quotes'),
    ('a.yaml', 'a: &a [*a]\n', 'cannot be read as YAML (found unconstructable recursive'),
    ('a.yaml', '0: cat\n0: dog\n', '0 stands there twice'),
    ('a.yaml', '!!python/object/apply:os.getpid []', 'cannot be read as YAML ('),
    ('a.yaml', '{' * 20_000, 'cannot be read as YAML ('),
    ('a.yaml', '? [a]\n: b\n', 'cannot be read as YAML ('),
])
def test_numbers_that_cannot_be_obeyed_are_refused(tmp_path, name, content, message):
    with pytest.raises(LabelsError) as refusal:
        read_labels(write(tmp_path, content, name))
    assert message in str(refusal.value)
    assert '\n' not in str(refusal.value)


@pytest.mark.parametrize('form', [
    '({}) {}', '{}.{}', '{}_{}', '#{} {}', 'class {}: {}', '{}.0 {}', '"{}","{}"', "'{}': '{}',",
    'n0{} {} {}'])
def test_numbers_in_another_form_are_refused_unless_in_order(tmp_path, form):
    lines = {number: form.format(*[number] * (form.count('{}') - 1), name)
             for number, name in enumerate(('cat', 'dog', 'bird'))}
    assert read_labels(write(tmp_path, '\n'.join(lines.values()))) == tuple(lines.values())
    with pytest.raises(LabelsError, match='another order'):
        read_labels(write(tmp_path, '\n'.join(lines[number] for number in (2, 0, 1))))


def test_two_names_without_a_number_among_numbered_ones_are_refused(tmp_path):
    with pytest.raises(LabelsError, match=r'line 4: .* has no number'):
        read_labels(write(tmp_path, '2 bird\n0 cat\n1 dog\nowl\nfox\n'))


@pytest.mark.parametrize('names', [
    ('class 0', 'class 10', 'class 1'), ('2 wheels', '4 wheels', '3 wheels', 'car', 'bus'),
    ('class 0', 'class 1', 'class 2'), ('Boeing 737', 'Airbus 320', 'Fokker 70'),
    ('1 euro', 'cat', 'dog'), ('3d printer', '4x4', '7up'),
    ('n01440764 tench', 'n01443537 goldfish')])
def test_names_that_hold_numbers_stay_names(tmp_path, names):
    assert read_labels(write(tmp_path, '\n'.join(names))) == names


def test_names_that_begin_with_numbers_can_be_numbered(tmp_path):
    with pytest.raises(LabelsError, match='from 0'):
        read_labels(write(tmp_path, '10 euro\n5 euro\n20 euro\n'))
    assert read_labels(write(tmp_path, '0 10 euro\n1 5 euro\n2 20 euro\n')) == (
        '10 euro', '5 euro', '20 euro')


def test_equal_names_are_distinguished_by_their_index(tmp_path):
    assert read_labels(write(tmp_path, 'crane\nbus\ncrane\n')) == (
        'crane (0)', 'bus', 'crane (2)')
    assert read_labels(write(tmp_path, '2 crane\n0 crane\n1 bus\n')) == (
        'crane (0)', 'bus', 'crane (2)')
    with pytest.raises(LabelsError, match='crane'):
        read_labels(write(tmp_path, 'crane (1)\ncrane\ncrane\n'))


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path):
    pipe = tmp_path / 'labels.txt'
    os.mkfifo(pipe)
    for path in (pipe, '/dev/zero', '/dev/null'):
        with pytest.raises(LabelsError, match='cannot read'):
            read_labels(path)
