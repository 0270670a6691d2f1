"""Values as backends and files need them; what is refused is in `test_node_parameters`."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.node.ros.parameters.values import to_backend


def test_what_stands_for_none_is_none_to_a_backend():
    assert to_backend({'precision': 'any', 'engine_dir': '', 'dla_core': -1, 'tf32': True}) == {
        'precision': None, 'engine_dir': None, 'dla_core': None, 'tf32': True}
    assert to_backend({'precision': 'int8', 'dla_core': 0}) == {
        'precision': 'int8', 'dla_core': 0}


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv('HOME', '/home/anyone')
    assert to_backend({'engine_dir': '~/engines'}) == {
        'engine_dir': Path('/home/anyone/engines')}
