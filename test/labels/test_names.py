"""Class names: refusing, distinguishing, and the list that ships with the package."""

import pytest

from resnet_trt_node.errors import LabelsError, ModelError
from resnet_trt_node.labels.names import check_labels, imagenet_labels, tell_apart


def test_checked_names_come_back_as_they_are():
    assert check_labels(('a', 'b')) == ('a', 'b')
    with pytest.raises(ModelError, match='line 2'):
        check_labels(('a', 'a'), where='here')


def test_equal_names_get_their_index() -> None:
    assert tell_apart(['crane', 'bus', 'crane', 'cat']) == ('crane (0)', 'bus', 'crane (2)', 'cat')
    # What is blank is reported as such.
    assert tell_apart(['', '']) == ('', '')


@pytest.mark.parametrize('name', ['half \ud83d', '\udcff', 'cat\0dog'])
def test_what_no_message_can_carry_is_refused(name: str) -> None:
    with pytest.raises(LabelsError, match='line 2') as refusal:
        check_labels(('a', name))
    str(refusal.value).encode('utf-8')


def test_the_imagenet_names_ship_with_the_package():
    names = imagenet_labels()
    assert len(names) == 1000
    assert check_labels(names) == names
    # Indices that every ImageNet-1k checkpoint agrees on.
    assert names[0] == 'tench'
    assert names[207] == 'golden retriever'
    assert names[281] == 'tabby'
    assert names[999] == 'toilet tissue'
