"""Texts that have to fit a place."""

from __future__ import annotations

import pytest
from resnet_trt_node.shortened import shortened
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
