"""`resnet_trt fleet` on one Ray: the answers of `classify`, every frame once, whatever fails."""

from __future__ import annotations

import os
from pathlib import Path

from bags.region_scenes import BOTH, write_region_bag
from fleets.fleet_drives import (
    damage, FaultyWork, manifest_of, rows_of, write_drive, write_raw_drive)
import pytest
from resnet_trt_node.contract.model_file import file_sha256
import zstandard

pytestmark = pytest.mark.slow
RUN = ('--backend', 'onnxruntime', '--batch-size', 8, '--unit-frames', 20)


@pytest.fixture(scope='module')
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a bag of each storage, 75 frames each, one of them broken."""
    folder = tmp_path_factory.mktemp('bags') / 'drives'
    write_drive(folder / 'city', 50, 'mcap', broken=[7], seed=1)
    write_drive(folder / 'nested' / 'forest', 50, 'sqlite3', broken=[33], seed=2)
    return folder


@pytest.fixture(scope='module')
def whole(
        one_ray: None, drives: Path, colour_model: Path,
        tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run over these bags in which nothing fails."""
    from resnet_trt_node.cli.main import main
    folder = tmp_path_factory.mktemp('runs') / 'whole'
    assert main([str(word) for word in (
        'fleet', colour_model, drives, '-o', folder, *RUN, '--json')]) == 0
    return folder


def test_answers_are_those_of_classify(resnet_trt, whole, drives, colour_model):
    rows = rows_of(whole)
    for drive, bag in (('city', drives / 'city'), ('forest', drives / 'nested' / 'forest')):
        document = resnet_trt(
            'classify', colour_model, bag, '--json', '--backend', 'onnxruntime',
            '--batch-size', 8).document
        wanted = {(one['topic'], one['stamp_ns']): [
            (part['label'], part['index'], part['score']) for part in one['predictions']]
            for one in document['results']}
        found = {(row['topic'], row['stamp_ns']): list(zip(
            row['classes'], row['class_indices'], row['scores']))
            for row in rows if row['drive'] == drive and row['outcome'] == 'answered'}
        assert len(found) == 74
        assert found == wanted
        [broken] = [row for row in rows if row['drive'] == drive and row['outcome'] != 'answered']
        [failure] = document['failures']
        assert (broken['outcome'], broken['topic'], broken['stamp_ns'], broken['classes'],
                broken['entropy']) == (
            'bad_frame', failure['topic'], failure['stamp_ns'], [], None)


def test_each_row_says_where_it_is_from(whole, drives, colour_model):
    rows = [row for row in rows_of(whole) if row['drive'] == 'forest']
    assert [row['frame'] for row in rows] == [*range(50), *range(25)]
    for row in rows:
        assert row['bag'] == str(drives / 'nested' / 'forest')
        assert (row['region_id'], row['model'], row['model_sha256']) == (
            None, 'colours.onnx', file_sha256(colour_model))
        assert row['log_time_ns'] == row['stamp_ns']
        if row['outcome'] == 'answered':
            # Of eight classes, in nats.
            assert 0 < row['entropy'] < 2.08
            assert row['scores'] == sorted(row['scores'], reverse=True)


def test_the_manifest_counts_every_frame(whole):
    document = manifest_of(whole)
    assert (document['schema'], document['options']['unit_frames']) == ('1', 20)
    assert document['frames'] == {
        'in': 150, 'answered': 148, 'skipped': {'bad_frame': 2}, 'regions': {}}
    for bag in document['bags']:
        assert bag['state'] == 'done'
        assert bag['frames'] == {
            'in': 75, 'answered': 74, 'skipped': {'bad_frame': 1}, 'regions': {}}
        assert [unit['state'] for unit in bag['units']] == ['done'] * len(bag['units'])
        assert len(bag['units']) > 2
        assert sum(unit['in'] for unit in bag['units']) == 75
        assert {unit['file'] for unit in bag['units']} == {
            str(path.relative_to(whole)) for path in whole.glob(
                f'frames/drive={bag["drive"]}/*')}
    [error] = [line for bag in document['bags'] if bag['drive'] == 'city'
               for unit in bag['units'] for line in unit['errors']]
    assert error.startswith('/front/image/compressed 7: ')


@pytest.fixture
def faulty(one_ray, tmp_path, monkeypatch):
    """Return what makes the work of the next runs go wrong."""
    from resnet_trt_node.cli.classification import fleet
    plain = fleet._work
    (tmp_path / 'happened').mkdir()

    def make(faults):
        work = FaultyWork(None, tmp_path / 'happened', faults)
        monkeypatch.setattr(fleet, '_work', lambda arguments: work.doing(plain(arguments)))
        return work
    return make


def test_what_fails_once_is_done_again_and_what_fails_always_is_listed_for_resume(
        resnet_trt, whole, drives, colour_model, faulty, tmp_path):
    work = faulty({
        ('city', 0): ('kill_actor', 1), ('city', 1): ('kill', -1), ('city', 2): ('kill', 1),
        ('forest', 0): ('fail', -1), ('forest', 1): ('fail', 2)})
    words = ('fleet', colour_model, drives, '-o', tmp_path / 'run', *RUN)
    outcome = resnet_trt(*words)
    assert outcome.code == 1
    assert len([line for line in outcome.err.splitlines() if line.startswith('failed: ')]) == 2
    assert 'unit 1 of ' in outcome.err
    # What fails always is tried four times.
    assert work.happened == 1 + 4 + 1 + 4 + 2
    document = manifest_of(tmp_path / 'run')
    units = {(bag['drive'], unit['unit']): unit
             for bag in document['bags'] for unit in bag['units']}
    bad = {key: unit for key, unit in units.items() if unit['state'] != 'done'}
    assert {key: unit['state'] for key, unit in bad.items()} == {
        ('city', 1): 'failed', ('forest', 0): 'failed'}
    assert 'its process ended 4 times' in bad['city', 1]['error']
    assert 'Input/output error' in bad['forest', 0]['error']
    assert document['frames']['skipped']['unit_failed'] == sum(
        unit['in'] for unit in bad.values())
    assert document['frames']['in'] == 150 == document['frames']['answered'] + sum(
        document['frames']['skipped'].values())
    files = {path: path.stat().st_mtime_ns
             for path in (tmp_path / 'run').glob('frames/*/*.parquet')}
    faulty({})
    refused = resnet_trt(*words)
    assert refused.code == 2
    assert 'has a run already: give --resume' in refused.err
    assert resnet_trt(*words, '--resume').code == 0
    after = {path: path.stat().st_mtime_ns
             for path in (tmp_path / 'run').glob('frames/*/*.parquet')}
    assert {path: after[path] for path in files} == files
    assert len(after) == len(files) + 2
    assert rows_of(tmp_path / 'run') == rows_of(whole)
    assert manifest_of(tmp_path / 'run')['bags'] == manifest_of(whole)['bags']


def test_other_options_are_refused_for_resume(resnet_trt, whole, drives, colour_model):
    outcome = resnet_trt(
        'fleet', colour_model, drives, '-o', whole, *RUN, '--top-k', 2, '--resume')
    assert (outcome.code, outcome.out) == (2, '')
    assert 'top_k was 5, and is 2 now' in outcome.err


def test_the_folder_is_locked_before_its_manifest_is_read(
        resnet_trt, drives, colour_model, tmp_path):
    from resnet_trt_node.fleet.manifest import locked
    with locked(tmp_path / 'run'):
        (tmp_path / 'run' / 'manifest.json').write_text('{')
        outcome = resnet_trt('fleet', colour_model, drives, '-o', tmp_path / 'run', *RUN)
    assert outcome.code == 2
    assert 'another process writes' in outcome.err


def test_more_threads_than_cores(
        resnet_trt, one_ray, drives, colour_model, monkeypatch, tmp_path):
    from resnet_trt_node.fleet import cluster, run
    for module in (cluster, run):
        monkeypatch.setattr(module, 'PATIENCE_S', 0)
    outcome = resnet_trt(
        'fleet', colour_model, drives / 'city', '-o', tmp_path / 'run', *RUN, '--threads', 16)
    assert outcome.code == 0
    assert manifest_of(tmp_path / 'run')['frames']['answered'] == 74
    assert 'waiting for 1 of 1 model actors: each needs 0.75 cores, and opens' in outcome.err
    assert 'no room for a reader, which needs 0.25 cores; ' in outcome.err


def test_a_damaged_chunk_costs_its_unit_alone(resnet_trt, one_ray, colour_model, tmp_path):
    damage(write_raw_drive(tmp_path / 'drives' / 'city', 12), 5)
    (tmp_path / 'drives' / 'cut.mcap').write_bytes(b'nothing')
    outcome = resnet_trt(
        'fleet', colour_model, tmp_path / 'drives', '-o', tmp_path / 'run', *RUN[:-1], 4)
    assert outcome.code == 1
    bags = {bag['drive']: bag for bag in manifest_of(tmp_path / 'run')['bags']}
    assert (bags['cut']['state'], bags['cut']['units']) == ('failed', [])
    assert 'is not a bag' in bags['cut']['error']
    assert [unit['state'] for unit in bags['city']['units']] == ['done', 'failed', 'done']
    assert 'it is damaged' in bags['city']['units'][1]['error']
    assert bags['city']['frames'] == {
        'in': 12, 'answered': 8, 'skipped': {'unit_failed': 4}, 'regions': {}}
    assert [row['frame'] for row in rows_of(tmp_path / 'run')] == [0, 1, 2, 3, 8, 9, 10, 11]


def test_an_unpacked_bag_is_removed_at_the_end(
        resnet_trt, one_ray, drives, colour_model, tmp_path):
    file, = (drives / 'city').glob('*.mcap')
    packed = tmp_path / 'city.mcap.zstd'
    packed.write_bytes(zstandard.compress(file.read_bytes()))
    outcome = resnet_trt('fleet', colour_model, packed, '-o', tmp_path / 'run', *RUN)
    assert outcome.code == 0
    assert manifest_of(tmp_path / 'run')['frames']['answered'] == 74
    folder = Path(os.environ['TMPDIR'])
    assert [*folder.glob('fleet.*'), *folder.glob('bag.*')] == []


def test_one_frame_of_each_interval(resnet_trt, one_ray, drives, colour_model, tmp_path):
    outcome = resnet_trt(
        'fleet', colour_model, drives / 'city', '-o', tmp_path / 'run', *RUN[:-1], 9,
        '--every-ms', 500, '--topic', '/front/image/compressed', '--json')
    assert outcome.code == 0
    [bag] = outcome.document['bags']
    assert bag['frames'] == {
        'in': 50, 'answered': 10, 'skipped': {'not_sampled': 40}, 'regions': {}}
    assert [row['frame'] for row in rows_of(tmp_path / 'run')] == list(range(0, 50, 5))


def test_regions_are_those_of_classify(resnet_trt, one_ray, colour_model, tmp_path):
    bag = write_region_bag(tmp_path / 'regions')
    document = resnet_trt(
        'classify', colour_model, bag, *BOTH, '--json', '--backend', 'onnxruntime').document
    outcome = resnet_trt('fleet', colour_model, bag, *BOTH, '-o', tmp_path / 'run', *RUN)
    assert outcome.code == 0
    wanted = {
        (one['topic'], one['stamp_ns'], region['id'] or f'#{region["region"]}'): (
            region['outcome'], [part['label'] for part in region['predictions']])
        for one in document['results'] for region in one['regions']}
    rows = rows_of(tmp_path / 'run')
    assert {(row['topic'], row['stamp_ns'], row['region_id']): (row['outcome'], row['classes'])
            for row in rows if row['region_id'] is not None} == wanted
    assert len(wanted) == 7
    assert {(row['topic'], row['frame'], row['outcome']) for row in rows
            if row['region_id'] is None} == {
        ('/front/image', 3, 'no_detections_end_of_the_bag'),
        ('/left/image/compressed', 1, 'bad_frame')}
    assert manifest_of(tmp_path / 'run')['frames'] == {
        'in': 6, 'answered': 4,
        'skipped': {'bad_frame': 1, 'no_detections_end_of_the_bag': 1},
        'regions': {'answered': 6, 'outside': 1}}
    assert all(row['entropy'] is not None for row in rows if row['outcome'] == 'answered')


def test_bags_in_a_store_give_the_same(resnet_trt, whole, drives, store, colour_model, tmp_path):
    import fsspec
    files = fsspec.filesystem('s3')
    files.put(str(drives), 'fleet/drives', recursive=True)
    (tmp_path / 'list.txt').write_text(f'# two drives\n{store}/drives/city\n\n'
                                       f'{store}/drives/nested\n')
    for number, words in enumerate(([f'{store}/drives'], ['@' + str(tmp_path / 'list.txt')])):
        run = tmp_path / str(number)
        outcome = resnet_trt('fleet', colour_model, *words, '-o', run, *RUN, '--json')
        assert (outcome.code, outcome.err) == (0, '')
        assert [one['bag'] for one in outcome.document['bags']] == [
            f'{store}/drives/city', f'{store}/drives/nested/forest']
        assert [{**row, 'bag': ''} for row in rows_of(run)] == [
            {**row, 'bag': ''} for row in rows_of(whole)]


def test_a_store_that_is_lost_is_an_error(resnet_trt, store, colour_model, tmp_path):
    outcome = resnet_trt('fleet', colour_model, f'{store}/nothing', '-o', tmp_path / 'run', *RUN)
    assert outcome.code == 2
    assert f'there are no bags at {store}/nothing' in outcome.err
