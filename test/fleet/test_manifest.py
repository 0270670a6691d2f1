"""The folder of a run: what is resumed, what is refused, and what crashes leave behind."""

from __future__ import annotations

from dataclasses import replace
import json
from types import SimpleNamespace

from fleets.fleet_units import content_of, open_run, units_of
import pytest

from resnet_trt_node.errors import AnswerError, DamagedPictureError, DataError, FrameError
from resnet_trt_node.errors import KeyFrameMissing, UsageError
from resnet_trt_node.fleet.extra import needs_fleet_extra

Bag = pytest.importorskip('resnet_trt_node.fleet.bags', exc_type=Exception).Bag
manifest = pytest.importorskip('resnet_trt_node.fleet.manifest', exc_type=Exception)


def test_what_has_a_file_is_done_and_what_has_none_is_left(tmp_path):
    run = open_run(tmp_path, 'city')
    run.save()
    [record] = run.bags
    left = run.planned(record, units_of('city', 2, 2, 2))
    assert [one.unit.number for one in left] == [0, 1, 2]
    run.write(left[1], content_of(left[1].unit))
    # Ended here without a word; a file that was being written stays.
    half = tmp_path / 'frames' / 'drive=city' / '.12ab.tmp'
    half.touch()
    again = open_run(tmp_path, 'city', 'forest', resume=True)
    with manifest.locked(tmp_path):
        assert not half.exists()
        city, forest = again.bags
        assert [one.unit.number for one in again.planned(city, units_of('city', 2, 2, 2))] == [
            0, 2]
        assert len(again.planned(forest, units_of('forest', 2))) == 1
        again.save()
    document = json.loads((tmp_path / 'manifest.json').read_text())
    assert document['frames'] == {
        'in': 8, 'answered': 1, 'skipped': {'not_sampled': 1, 'planned': 6}, 'regions': {}}
    assert [one['state'] for one in document['bags']] == ['planned', 'planned']


def test_a_bag_that_is_not_named_again_stays_in_the_manifest(tmp_path):
    open_run(tmp_path, 'city').save()
    again = open_run(tmp_path, 'forest', resume=True)
    assert again.drives == {'/bags/city': 'city'}
    assert [one['drive'] for one in again.document()['bags']] == ['city', 'forest']


def test_a_run_that_has_relative_names_is_resumed_with_absolute_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = open_run(tmp_path / 'run')
    unit = replace(units_of('city', 2)[0], bag='bags/city')
    [record] = run.take([Bag(unit.bag, 'city')])
    left, = run.planned(record, [unit])
    run.write(left, content_of(unit))
    run.save()
    again = open_run(tmp_path / 'run', resume=True)
    name = str(tmp_path / 'bags' / 'city')
    assert again.drives == {name: 'city'}
    [record] = again.take([Bag(name, 'city')])
    assert again.planned(record, [replace(unit, bag=name)]) == []
    bag, = again.document()['bags']
    assert (bag['bag'], bag['state']) == (name, 'done')


def test_a_bag_stays_as_it_was_until_it_is_planned_again(tmp_path):
    run = open_run(tmp_path, 'city')
    left = run.planned(run.bags[0], units_of('city', 2, 2))
    run.write(left[0], content_of(left[0].unit))
    run.save()
    earlier = json.loads((tmp_path / 'manifest.json').read_text())
    again = open_run(tmp_path, 'city', resume=True)
    again.save()
    assert json.loads((tmp_path / 'manifest.json').read_text()) == earlier
    assert earlier['frames']['answered'] == 1
    again.bags[0].error = 'the disk is away'
    failed, = again.document()['bags']
    assert failed == {**earlier['bags'][0], 'state': 'failed', 'error': 'the disk is away'}


@pytest.mark.slow
@pytest.mark.parametrize('broken', [False, True])
def test_the_manifest_is_saved_every_few_seconds(tmp_path, monkeypatch, broken):
    from resnet_trt_node.fleet import run
    saved = []

    def save():
        saved.append(clock[0])
        clock[0] += 1
        if broken:
            raise OSError(28, 'No space left on device')
    clock = [100.0]
    monkeypatch.setattr(run, 'monotonic', lambda: clock[0])
    one = run.Run(SimpleNamespace(save=save), None, 1, 1.0, print, print, print)  # type: ignore
    while clock[0] < 145:
        one._save()
        clock[0] += 1
    # Saving takes a second, of which twenty pass until the next time.
    assert saved == [100, 121, 142]


@pytest.mark.parametrize(('head', 'text'), [
    ({'options': {'top_k': 3, 'topic': None}}, 'top_k was 5, and is 3 now'),
    ({'options': {'top_k': 5, 'topic': ['/b']}}, r"topic was None, and is \['/b'\] now"),
    ({'model_sha256': '13'}, r'the model was a\.onnx of another content')])
def test_another_run_is_not_resumed(tmp_path, head, text):
    open_run(tmp_path, 'city').save()
    with pytest.raises(UsageError, match=text):
        open_run(tmp_path, 'city', resume=True, **head)


@pytest.mark.parametrize('counts', [(2, 3), (2,)])
def test_a_bag_that_changed_is_not_resumed(tmp_path, counts):
    run = open_run(tmp_path, 'city')
    run.save()
    left = run.planned(run.bags[0], units_of('city', 2, 2))
    run.write(left[1], content_of(left[1].unit))
    again = open_run(tmp_path, 'city', resume=True)
    with pytest.raises(DataError, match='has changed since'):
        again.planned(again.bags[0], units_of('city', *counts))


def test_a_run_is_not_overwritten(tmp_path):
    open_run(tmp_path, 'city').save()
    with pytest.raises(UsageError, match='has a run already: give --resume'):
        open_run(tmp_path, 'city')


def test_files_without_a_manifest_are_not_taken_for_a_run(tmp_path):
    (tmp_path / 'frames').mkdir()
    with pytest.raises(UsageError, match=r'no manifest\.json'):
        open_run(tmp_path, 'city', resume=True)


def test_a_damaged_manifest_or_file_is_an_error(tmp_path):
    run = open_run(tmp_path, 'city')
    run.save()
    left = run.planned(run.bags[0], units_of('city', 2))
    run.write(left[0], content_of(left[0].unit))
    (tmp_path / left[0].file).write_bytes(b'PAR1')
    with pytest.raises(DataError, match='is no file of a fleet run'):
        run.planned(run.bags[0], units_of('city', 2))
    (tmp_path / 'manifest.json').write_text('{')
    with pytest.raises(DataError, match='is damaged'):
        open_run(tmp_path, 'city', resume=True)


@pytest.mark.parametrize('damage', [
    lambda bag: bag.pop('bag'), lambda bag: bag.pop('drive'), lambda bag: bag.pop('state'),
    lambda bag: bag['frames'].pop('in'), lambda bag: bag['frames'].update(skipped=None),
    lambda bag: bag['frames'].update(answered='2'), lambda bag: bag.update(drive=3),
    lambda bag: bag.pop('warnings')])
def test_a_manifest_that_is_json_and_lacks_something_is_an_error(tmp_path, damage):
    open_run(tmp_path, 'city').save()
    file = tmp_path / 'manifest.json'
    document = json.loads(file.read_text())
    damage(document['bags'][0])
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r'is damaged .*: choose another folder'):
        open_run(tmp_path, 'city', resume=True)


def test_what_was_written_is_not_read_back(tmp_path, monkeypatch):
    run = open_run(tmp_path, 'city')
    left, = run.planned(run.bags[0], units_of('city', 2))
    monkeypatch.setattr(manifest.Path, 'write_bytes', lambda path, content: path.touch())
    run.write(left, content_of(left.unit))
    assert (left.state, left.counts['in'], left.counts['answered']) == ('done', 2, 1)


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    with manifest.locked(tmp_path / 'run'), \
            pytest.raises(UsageError, match='another process writes'), \
            manifest.locked(tmp_path / 'run'):
        pass


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / 'run').touch()
    with pytest.raises(UsageError, match=r'cannot write to .*choose another --output'), \
            manifest.locked(tmp_path / 'run'):
        pass


def test_the_file_has_its_columns_and_its_version(tmp_path):
    from pyarrow import BufferReader, parquet
    from resnet_trt_node.fleet.table import COLUMNS
    unit, = units_of('city', 2)
    content = content_of(unit)
    file = parquet.ParquetFile(BufferReader(content))
    assert file.schema_arrow.equals(COLUMNS)
    assert file.metadata.metadata[b'resnet_trt.schema'] == b'1'
    assert file.read().to_pylist() == [{
        'drive': 'city', 'bag': '/bags/city', 'topic': '/a', 'stamp_ns': 5, 'log_time_ns': 6,
        'frame': 3, 'region_id': None, 'outcome': 'answered', 'classes': ['cat'],
        'class_indices': [1], 'scores': [0.75], 'entropy': 0.5, 'model': 'a.onnx',
        'model_sha256': '12', 'software_version': '1'}]


@pytest.mark.parametrize(('error', 'reason'), [
    (FrameError('x'), 'bad_frame'), (AnswerError('x'), 'no_answer'),
    (DamagedPictureError('x'), 'damaged'), (KeyFrameMissing('x'), 'no_key_frame')])
def test_each_error_has_its_outcome(error, reason):
    from resnet_trt_node.fleet.table import reason_of
    assert reason_of(error) == reason


def test_what_is_missing_is_said_with_the_line_for_pip():
    with pytest.raises(UsageError, match='pip install ray pyarrow fsspec'), needs_fleet_extra():
        raise ModuleNotFoundError("No module named 'ray'")
