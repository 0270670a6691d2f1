"""What is said of names that are unknown."""

from __future__ import annotations

import pytest
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields
from resnet_trt_node.text.spelling import instead, RENAMED_PARAMETERS


@pytest.mark.parametrize(('word', 'answer'), [
    ('max_batch_size', 'it is called batch_size now'),
    ('topk', 'did you mean top_k?'),
    ('batch_sise', 'did you mean batch_size?'),
    ('colour', None), ('--gpu', None),
])
def test_an_unknown_name_is_answered_with_what_to_write(word, answer):
    assert instead(word, ['top_k', 'batch_size'], RENAMED_PARAMETERS) == answer


def test_dashes_make_no_options_alike():
    assert instead('--onnx', ['--json', '--help']) is None
    assert instead('--batch', ['--batch-size', '--json']) == 'did you mean --batch-size?'


def test_words_of_other_tools_are_known():
    assert instead('run', ['prune', 'classify']) == 'did you mean classify?'
    assert instead('--gpu', ['--device', '--output']) == 'did you mean --device?'


def test_a_former_name_of_something_else_is_like_any_other_word():
    assert instead('device_id', ['input_size'], RENAMED_PARAMETERS) is None


def test_former_names_are_no_parameters_and_present_ones_are():
    known = parameter_fields().keys()
    assert not known & RENAMED_PARAMETERS.keys()
    assert known >= set(RENAMED_PARAMETERS.values())
