"""Class names: reading, refusing, and the list that ships with the package."""

import pytest

from resnet_trt_node.errors import LabelsError, ModelError
from resnet_trt_node.labels import check_labels, imagenet_labels, read_labels


def write(tmp_path, content):
    path = tmp_path / 'labels.txt'
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
    assert read_labels(write(tmp_path, content), count=3) == ('cat', 'dog', 'owl')


def test_names_may_hold_spaces_commas_and_any_letters(tmp_path):
    path = write(tmp_path, 'great white shark, man-eater\nMöwe\nねこ\none\x85name\n')
    assert read_labels(path) == ('great white shark, man-eater', 'Möwe', 'ねこ', 'one\x85name')


@pytest.mark.parametrize(('content', 'message'), [
    ('', 'labels.txt: no class names; write one a line'),
    (' \n\n', 'labels.txt: no class names; write one a line'),
    ('cat\n\ndog\n', 'labels.txt, line 2: a class name is blank'),
    ('cat\ndog\ncat\n', "labels.txt, line 3: 'cat' stands on line 1 already"),
    ('cat\ndog\n', 'labels.txt: 2 class names for 3 classes'),
    (b'cat\n\xff\xfe\n', 'are not UTF-8 text: one class name a line'),
])
def test_a_list_that_cannot_be_class_names_is_refused(tmp_path, content, message):
    with pytest.raises(LabelsError) as refusal:
        read_labels(write(tmp_path, content), count=3)
    assert message in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(LabelsError, match=r'cannot read labels .*nowhere: No such file'):
        read_labels(tmp_path / 'nowhere')
    with pytest.raises(LabelsError, match=r'cannot read labels .*: Is a directory'):
        read_labels(tmp_path)


def test_checked_names_come_back_as_they_are():
    assert check_labels(('a', 'b'), 2) == ('a', 'b')
    with pytest.raises(ModelError, match=r"^here, line 2: 'a' stands on line 1 already"):
        check_labels(('a', 'a'), where='here')


def test_the_imagenet_names_ship_with_the_package():
    names = imagenet_labels()
    assert check_labels(names, 1000) == names
    # Indices that every ImageNet-1k checkpoint agrees on.
    assert names[0] == 'tench'
    assert names[207] == 'golden retriever'
    assert names[281] == 'tabby'
    assert names[999] == 'toilet tissue'
