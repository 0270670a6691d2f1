"""Folders of the user, also of one whom the machine does not know."""

from __future__ import annotations

from pathlib import Path
import pwd

import pytest
from resnet_trt_node.errors import UsageError
from resnet_trt_node.user_folders import full_path, home_folder, user_cache


@pytest.mark.parametrize('unset', ['', 'relative/folder'])
def test_the_cache_follows_the_xdg_rules(monkeypatch, unset):
    monkeypatch.setenv('XDG_CACHE_HOME', '/xdg')
    assert user_cache() == Path('/xdg/resnet_trt_node')
    monkeypatch.setenv('XDG_CACHE_HOME', unset)
    monkeypatch.setenv('HOME', '/home/robot')
    assert user_cache() == Path('/home/robot/.cache/resnet_trt_node')


def test_a_user_without_a_home_is_told_to_set_one(monkeypatch):
    def nobody(number):
        raise KeyError(number)
    monkeypatch.setattr(pwd, 'getpwuid', nobody)
    monkeypatch.delenv('HOME')
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    for folder in (home_folder, user_cache):
        with pytest.raises(UsageError, match='set HOME'):
            folder()


def test_the_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv('HOME', '/home/anyone')
    assert full_path('params_file', '~/a.yaml') == Path('/home/anyone/a.yaml')
    with pytest.raises(UsageError, match=r'params_file: the home folder in .* write the path'):
        full_path('params_file', '~no_such_user/a.yaml')
