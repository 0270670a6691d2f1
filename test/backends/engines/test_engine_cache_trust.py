"""The cache of engines: what is damaged or refused by the runtime is quarantined."""

from __future__ import annotations

from dataclasses import replace
import hashlib
import json
import os
from pathlib import Path

from models.engine_builds import Builder, KEY, PLAN, SPEC
import pytest

from resnet_trt_node.backends.engines.cache import BuiltEngine, EngineCache
from resnet_trt_node.backends.engines.files import folder_lock
from resnet_trt_node.errors import BackendError


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_altered(path):
    path.write_bytes(b'\x01' + path.read_bytes()[1:])


def damage_writable(path):
    path.chmod(0o666)


def damage_link(path):
    path.rename(path.with_suffix('.elsewhere'))
    path.symlink_to(path.with_suffix('.elsewhere'))


def damage_side(path):
    path.with_suffix('.json').write_text('{"format": 2}')


def damage_side_of_earlier_days(path):
    path.with_suffix('.json').write_text('{"format": 1}')


def alter_side(path, change, sign=False):
    """Change the content of the side file; with a sign that fits, as whoever can write it may."""
    file = path.with_suffix('.json')
    side = json.loads(file.read_text())
    change(side)
    if sign:
        del side['sha256']
        side['sha256'] = hashlib.sha256(json.dumps(side, sort_keys=True).encode()).hexdigest()
    file.write_text(json.dumps(side))


def damage_side_of_another(path):
    alter_side(path, lambda side: side['key'].update(version='9.9'), sign=True)


def damage_owner(path):
    alter_side(
        path, lambda side: side['plan'].update(owner_uid=side['plan']['owner_uid'] + 1), sign=True)


def damage_labels(path):
    file = path.with_suffix('.json')
    text = file.read_text()
    assert text.count('cat') == 1
    file.write_text(text.replace('cat', 'dog'))


def damage_labels_and_sign(path):
    alter_side(path, lambda side: side['spec'].update({'resnet_trt.labels': '["dog"'}), sign=True)


def damage_time(path):
    alter_side(path, lambda side: side.update(build_s=1e300))


def damage_vast(path):
    with path.with_suffix('.json').open('r+b') as file:
        file.truncate(1 << 40)


def damage_plan_vast(path):
    with path.open('r+b') as file:
        file.truncate(1 << 40)


def write_side(content):
    def damage(path):
        path.with_suffix('.json').write_bytes(content)
    return damage


#: Side files that end a program which takes JSON as Python reads it.
WILD = {
    'an infinity': b'{"format": 2, "build_s": Infinity}', 'no number': b'{"format": NaN}',
    'an overflow': b'{"format": 2, "build_s": 1e999}',
    'many digits': b'{"format": ' + b'9' * 5000 + b'}',
    'nesting': b'[' * 100_000, 'nesting of objects': b'{"format":' * 5000 + b'1' + b'}' * 5000,
    'no object': b'7', 'a list': b'[]', 'nothing': b'', 'other bytes': b'\xff\xfe\x00',
    'another kind': b'{"format": {}, "key": []}', 'half a character': b'{"format": "\\ud800"}',
}


@pytest.mark.parametrize(('damage', 'words'), [
    (damage_cut, 'cut off'), (damage_altered, 'altered'), (damage_writable, 'chmod go-w'),
    (damage_link, 'symbolic link'), (damage_side, 'malformed'),
    (damage_side_of_another, 'another engine'), (damage_owner, 'wrote it'),
    (damage_side_of_earlier_days, 'format 1'), (damage_labels, 'altered'),
    (damage_labels_and_sign, 'malformed'), (damage_time, 'altered'),
    (damage_vast, '1099511627776 bytes'), (damage_plan_vast, '1099511627776 bytes'),
    *((write_side(content), 'side file') for content in WILD.values())])
def test_an_engine_that_is_not_as_stored_is_quarantined_and_rebuilt(cache, said, damage, words):
    path = cache.get(KEY, Builder(b'first')).path
    damage(path)
    engine = cache.get(KEY, Builder(b'second'))
    assert engine.plan == b'second'
    assert 'quarantined' in engine.reason
    assert words in engine.reason
    assert any(words in line and 'quarantined' in line for line in said), said
    assert path.with_name(path.name + '.bad').exists()
    assert cache.get(KEY, Builder(b'third')).plan == b'second'


def test_an_engine_that_the_runtime_refuses_is_quarantined(cache, said):
    engine = cache.get(KEY, Builder())
    cache.reject(KEY, engine, 'magic tag does not match')
    assert not engine.path.exists()
    assert 'magic tag' in said[-1]
    build = Builder()
    reason = cache.get(KEY, build).reason
    assert 'quarantined' in reason
    assert 'magic tag' in reason
    # Its timings would have led to it again.
    assert build.timings == [b'']


def test_an_engine_without_timings_is_quarantined_like_any_other(cache, said):
    engine = cache.get(KEY, lambda timing: BuiltEngine(PLAN, SPEC))
    cache.reject(KEY, engine, 'magic tag does not match')
    assert not engine.path.exists()
    assert '.engine.bad' in said[-1]
    assert 'magic tag' in said[-1]


def test_what_was_built_instead_meanwhile_is_not_quarantined(cache, tmp_path):
    other = EngineCache(cache.folder, print)
    refused = cache.get(KEY, Builder(b'refused'))
    assert other.get(KEY, Builder()).plan == b'refused'
    other.reject(KEY, refused, 'no context')
    # Already moved by the other process.
    cache.reject(KEY, refused, 'no context')
    assert other.get(KEY, Builder(b'better')).plan == b'better'
    cache.reject(KEY, refused, 'no context')
    assert cache.get(KEY, Builder(b'third')).plan == b'better'


def test_an_engine_in_memory_only_is_rejected_without_a_word(cache, said, monkeypatch):
    engine = replace(cache.get(KEY, Builder()), path=None)
    said.clear()
    cache.reject(KEY, engine, 'no context')
    assert not said


def test_an_engine_that_cannot_be_quarantined_is_passed_over(cache, said, monkeypatch):
    engine = cache.get(KEY, Builder(b'refused'))

    def refuse(*arguments):
        raise PermissionError(13, 'Permission denied')
    monkeypatch.setattr(os, 'replace', refuse)
    cache.reject(KEY, engine, 'magic tag does not match')
    assert 'nor quarantined (Permission denied)' in said[-1]
    another = cache.get(KEY, Builder(b'better'))
    assert (another.plan, another.path) == (b'better', None)
    assert engine.path.read_bytes() == b'refused'


def test_an_engine_of_root_that_others_cannot_read_is_reported(cache, said, monkeypatch):
    cache.get(KEY, Builder(b'stored'))
    said.clear()

    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))
    # What `exists` raises below a folder of mode 0700.
    monkeypatch.setattr(Path, 'exists', refuse)
    assert cache.get(KEY, Builder(b'built')).plan == b'built'
    assert f'chmod -R go+rX {cache.folder}' in said[0]


def test_a_plan_without_its_side_file_is_not_used(cache):
    path = cache.get(KEY, Builder(b'first')).path
    path.with_suffix('.json').unlink()
    assert cache.get(KEY, Builder(b'second')).plan == b'second'


def test_a_damaged_engine_is_moved_by_none_but_the_holder_of_the_lock(cache, said):
    # Without it, an engine can look damaged that is just being replaced.
    path = cache.get(KEY, Builder()).path
    damage_cut(path)
    with folder_lock(cache.folder, said.append, timeout_s=0), \
            pytest.raises(BackendError, match='held'):
        EngineCache(cache.folder, said.append, lock_timeout_s=0).get(KEY, Builder())
    assert path.exists()


def test_a_move_explains_the_next_build_alone(cache):
    damage_cut(cache.get(KEY, Builder()).path)
    assert 'quarantined' in cache.get(KEY, Builder()).reason
    other = replace(KEY, version='10.3.0')
    assert cache.get(other, Builder()).reason == 'TensorRT 8.6.0 -> 10.3.0'


@pytest.mark.parametrize('wild', WILD.values(), ids=list(WILD))
def test_a_wild_side_file_harms_no_other_model(cache, said, wild):
    path = cache.get(KEY, Builder()).path
    write_side(wild)(path)
    (cache.folder / 'foreign.json').write_bytes(wild)
    os.mkfifo(cache.folder / 'pipe.json')
    (cache.folder / 'folder.json').mkdir()
    other = replace(KEY, model_sha256='b' * 64)
    found = cache.get(other, Builder(b'other'))
    assert found.plan == b'other'
    assert 'first engine' in found.reason
    assert cache.get(other, Builder(b'no more')).reason == ''


def test_the_contract_comes_back_as_it_was_stored(cache):
    key = replace(KEY, stem='no utf-8 \udcff')
    cache.get(key, Builder())
    found = cache.get(key, Builder())
    assert (found.spec, found.reason) == (SPEC, '')
