"""The index of models: what it may hold, and what is refused of one from elsewhere."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path

import pytest
from resnet_trt_node.downloads.index import index_text, IndexEntry, read_index
from resnet_trt_node.downloads.models import IndexPlace, named
from resnet_trt_node.downloads.transfer import cache_folder, MAX_BYTES
from resnet_trt_node.errors import DownloadError, UsageError

ENTRY = IndexEntry(
    name='lite0', file='lite0-0123abcd.onnx', sha256='ab' * 32, bytes=1000, precision='fp32',
    height=224, width=192, classes=1000, licence='Apache-2.0', description='a small one',
    source='a paper', top1_percent=75.5)


def document(**changes) -> bytes:
    return json.dumps({
        **json.loads(index_text((ENTRY,))), **changes}).encode()


def model(**changes) -> bytes:
    values = {**ENTRY.to_dict(), **changes}
    return document(models=[{key: value for key, value in values.items() if value != 'gone'}])


def test_an_index_is_read_back():
    other = replace(ENTRY, name='other', top1_percent=None)
    assert read_index(index_text((ENTRY, other)).encode()) == (ENTRY, other)


def test_what_later_versions_add_is_passed_over():
    assert read_index(document(mirrors=[], models=[{**ENTRY.to_dict(), 'speed': 3}])) == (ENTRY,)


def test_texts_need_not_be_there():
    assert read_index(model(description='gone', source='gone', top1_percent='gone')) == (
        replace(ENTRY, description='', source='', top1_percent=None),)


@pytest.mark.parametrize('data', [
    b'', b'<html>', b'\xff', b'[' * 100_000, b'[]', b'{}', b'null', document(format='other')])
def test_what_is_no_index_is_refused(data):
    with pytest.raises(DownloadError, match=r'no JSON|no index'):
        read_index(data)


@pytest.mark.parametrize('version', [0, 2, '1', None])
def test_an_unknown_version_is_refused(version):
    with pytest.raises(DownloadError, match='update resnet_trt_node'):
        read_index(document(version=version))


@pytest.mark.parametrize('name', [
    '../lite0', '/etc/passwd', 'a/b', '.hidden', '', 'a b', '-o', 'a\nb', 'x' * 101, 5, None,
    'a\0', 'http://host/a', '\u00e9'])
@pytest.mark.parametrize('key', ['name', 'file'])
def test_names_that_lead_elsewhere_are_refused(key, name):
    with pytest.raises(DownloadError, match=f'the {key} ') as caught:
        read_index(model(**{key: name}))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('key', 'value'), [
    ('sha256', 'AB' * 32), ('sha256', 'ab'), ('sha256', 5), ('bytes', 0), ('bytes', -1),
    ('bytes', MAX_BYTES + 1), ('bytes', 1.5), ('bytes', True), ('bytes', '5'), ('height', 0),
    ('width', 1 << 15), ('classes', None), ('precision', 'fp64'), ('precision', []),
    ('licence', None), ('description', 3), ('top1_percent', 101), ('top1_percent', 'good'),
    ('top1_percent', float('nan'))])
def test_values_that_cannot_be_are_refused(key, value):
    with pytest.raises(DownloadError, match=f'{key} of the model lite0'):
        read_index(model(**{key: value}))


def test_missing_keys_are_named():
    with pytest.raises(DownloadError, match="'lite0' has no sha256, licence"):
        read_index(model(sha256='gone', licence='gone'))


@pytest.mark.parametrize('models', [None, {}, [5], [[]]])
def test_models_have_to_be_a_list_of_objects(models):
    with pytest.raises(DownloadError, match=r'no list of models|no object'):
        read_index(document(models=models))


def test_one_name_is_of_one_model():
    with pytest.raises(DownloadError, match='lite0 more than once'):
        read_index(index_text((ENTRY, ENTRY)).encode())


@pytest.mark.parametrize(('text', 'index', 'file'), [
    ('models', Path('models/index.json'), Path('models/a.onnx')),
    ('models/mine.json', Path('models/mine.json'), Path('models/a.onnx')),
    ('https://h/models', 'https://h/models/index.json', 'https://h/models/a.onnx'),
    ('https://h/models/', 'https://h/models/index.json', 'https://h/models/a.onnx'),
    ('http://h:8000', 'http://h:8000/index.json', 'http://h:8000/a.onnx'),
    ('https://h/m/mine.json?key=1#top', 'https://h/m/mine.json?key=1',
     'https://h/m/a.onnx?key=1')])
def test_a_place_is_a_folder_or_an_address(text, index, file):
    place = IndexPlace.of(text)
    assert place.index == index
    assert place.beside('a.onnx') == file


def test_a_home_folder_is_found_where_the_shell_does_not_look(monkeypatch):
    monkeypatch.setenv('HOME', '/home/robot')
    assert IndexPlace.of('~/models').index == Path('/home/robot/models/index.json')


def test_the_home_folder_of_an_unknown_user_is_refused():
    with pytest.raises(UsageError, match='write the path in full'):
        IndexPlace.of('~no_such_user/models')


@pytest.mark.parametrize('text', [
    'file:///etc/passwd', 'ftp://host/models', 'data://text', 'https://', 'http://host:port/x',
    'https://user:secret@host/models', 'https://host/a b', 'https://h\u00f6st/', 'http://[::1/'])
def test_other_addresses_are_refused(text):
    with pytest.raises(UsageError) as caught:
        IndexPlace.of(text)
    assert 'secret' not in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest():
    assert named((ENTRY,), 'lite0') is ENTRY
    with pytest.raises(UsageError, match=r'did you mean lite0\?'):
        named((ENTRY,), 'lite-0')
    with pytest.raises(UsageError, match='it has lite0'):
        named((ENTRY,), 'resnet50')
    with pytest.raises(UsageError, match='none at all'):
        named((), 'resnet50')


def test_the_cache_is_where_the_environment_puts_it(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/xdg')
    monkeypatch.setenv('RESNET_TRT_CACHE', '/own')
    assert cache_folder() == Path('/own')
    monkeypatch.delenv('RESNET_TRT_CACHE')
    assert cache_folder() == Path('/xdg/resnet_trt_node')
    monkeypatch.setenv('HOME', '/home/someone')
    monkeypatch.setenv('RESNET_TRT_CACHE', '~/own')
    assert cache_folder() == Path('/home/someone/own')
