"""Opening the results of a run: their version, what is missing, and rows in batches."""

from __future__ import annotations

from pathlib import Path

from fleets.fleet_results import change_manifest, damage, pa, pq, row, write_run
import numpy as np
import pytest

from resnet_trt_node.errors import DataError
from resnet_trt_node.fleet.results.files import element, first_classes, floats, Results

ROWS = [row('berlin', number, {'car': .9}) for number in range(10)] + [
    row('aachen', number) for number in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a run over two drives, one of them in three files."""
    return write_run(tmp_path / 'run', ROWS)


def unit(folder: Path, drive: str, number: int) -> Path:
    return folder / 'frames' / f'drive={drive}' / f'unit-{number:06d}.parquet'


def test_drives_rows_and_model(folder):
    results = Results(folder)
    assert results.drives == ('aachen', 'berlin')
    assert (results.rows, results.rows_of('berlin'), results.rows_of('none')) == (13, 10, 0)
    assert (results.model, results.model_sha256, results.software_version) == (
        'models/one.onnx', 'ab' * 32, '0.2.0')
    assert results.skipped == {'damaged': 3}
    assert (results.warnings, results.incomplete) == ([], {})


def test_rows_come_in_the_order_of_drives_and_files(folder):
    batches = list(Results(folder).batches(('frame', 'drive')))
    assert [batch.num_rows for batch in batches] == [3, 4, 4, 2]
    assert batches[0].schema.names == ['frame', 'drive']
    assert [value.as_py() for batch in batches for value in batch.column('frame')] == [
        *range(3), *range(10)]


def test_a_stretch_leaves_out_other_files_and_rows(folder):
    # What is not read need not be readable.
    damage(unit(folder, 'berlin', 0))
    results = Results(folder)
    table = results.table(('frame', 'drive'), 'berlin', range(5, 9))
    assert table.column('frame').to_pylist() == [5, 6, 7, 8]
    assert results.table(('frame',), 'berlin', range(100, 200)).num_rows == 0
    assert results.table(('frame',), 'nowhere', range(9)).schema.names == ['frame']
    with pytest.raises(DataError, match=r'unit-000000\.parquet .*--resume'):
        list(results.batches(('frame',), 'berlin'))


def test_last_frame(folder):
    assert Results(folder).last_frame('berlin') == 9


def test_files_of_another_version_are_refused(tmp_path):
    with pytest.raises(DataError, match=r'has version 2 of the results, and this .* reads 1'):
        Results(write_run(tmp_path, ROWS, schema='2'))


def test_other_files_are_refused(folder):
    path = unit(folder, 'berlin', 1)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns('scores'), path)
    with pytest.raises(DataError, match=r'unit-000001\.parquet has no column scores of list<'):
        Results(folder)
    pq.write_table(table.set_column(5, 'frame', table.column('frame').cast(pa.int32())), path)
    with pytest.raises(DataError, match='has no column frame of int64'):
        Results(folder)
    path.write_bytes(b'PAR1')
    with pytest.raises(DataError, match=r'cannot read .*unit-000001\.parquet'):
        Results(folder)


@pytest.mark.parametrize('content', ['nothing', 'frames', 'empty'])
def test_a_folder_without_results_is_refused(tmp_path, content):
    if content == 'frames':
        (tmp_path / 'frames').mkdir()
    if content == 'empty':
        write_run(tmp_path, ROWS[:1])
        path = unit(tmp_path, 'berlin', 0)
        pq.write_table(pq.read_table(path).slice(0, 0), path)
        (tmp_path / 'manifest.json').unlink()
    with pytest.raises(DataError, match='holds no frames of a fleet run'):
        Results(tmp_path)


def test_a_run_without_its_manifest_is_read(folder):
    (folder / 'manifest.json').unlink()
    results = Results(folder)
    assert results.rows == 13
    line, = results.warnings
    assert 'has no manifest.json' in line


def test_bags_that_failed_and_files_that_are_gone_are_told(folder):
    def fail(manifest):
        bag, = (one for one in manifest['bags'] if one['drive'] == 'aachen')
        bag['state'] = 'failed'
        bag['units'].append({'unit': 1, 'state': 'failed', 'in': 7, 'error': 'out of memory'})
        manifest['frames']['skipped']['unit_failed'] = 7
    change_manifest(folder, fail)
    unit(folder, 'berlin', 2).unlink()
    results = Results(folder)
    assert results.skipped == {'damaged': 3, 'unit_failed': 7}
    assert results.incomplete['/bags/aachen'] == 'out of memory'
    assert 'unit-000002.parquet is missing' in results.incomplete['/bags/berlin']
    line, = results.warnings
    assert 'of 2 bags frames are missing: /bags/berlin, /bags/aachen' in line


@pytest.mark.parametrize(('text', 'message'), [
    ('{', 'cannot read .*manifest'), ('[]', 'cannot read .*manifest'),
    ('{"schema": "1"}', 'cannot read .*manifest'),
    ('{"schema": "2"}', 'manifest.json has version 2')])
def test_a_damaged_manifest_is_refused(folder, text, message):
    (folder / 'manifest.json').write_text(text)
    with pytest.raises(DataError, match=message):
        Results(folder)


def test_elements_of_lists():
    lists = pa.array([['a', 'b'], [], None, ['c']])
    assert element(lists, 0).to_pylist() == ['a', None, None, 'c']
    assert element(lists, 1).to_pylist() == ['b', None, None, None]
    # A slice shares its values with the whole.
    assert element(lists.slice(1), 0).to_pylist() == [None, None, 'c']
    assert first_classes(lists).to_pylist() == ['a', '(no class)', '(no class)', 'c']
    np.testing.assert_array_equal(floats(pa.array([.5, None], pa.float32())), [.5, np.nan])
