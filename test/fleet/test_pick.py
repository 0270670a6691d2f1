"""`resnet_trt fleet-pick`: which frames it writes, how, and what it refuses."""

from __future__ import annotations

import csv
from io import BytesIO
import json
from pathlib import Path

from documentation.json_schemas import checked
from fleets.fleet_results import FRONT, jpeg_of, LEFT, row, write_drive, write_run
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.cli.main import main

#: Score of the best of two classes, by the number of the frame; others are surer.
UNSURE = {3: .52, 4: .51, 8: .6, 12: .55}
FRAMES = 16


def rows_of(bag: Path, best: str = 'car', other: str = 'bus', **changes):
    """Return a frame each half second, of the jpeg topic for every fourth."""
    for number in range(FRAMES):
        score = UNSURE.get(number, .9 + number / 1000)
        yield row('drive', number, {best: score, other: 1 - score}, bag=str(bag),
                  topic=FRONT if number % 4 else LEFT, **changes)


@pytest.fixture
def bag(tmp_path):
    return write_drive(tmp_path / 'drive', FRAMES)


@pytest.fixture
def run(bag, tmp_path):
    return write_run(tmp_path / 'run', [*rows_of(bag), row('drive', 99, None, bag=str(bag))])


@pytest.fixture
def pick(capsys, tmp_path):
    """Return a function that runs the command, and returns its table and what it printed."""
    def pick(*words, code=0, folder=None):
        folder = folder or tmp_path / 'picked'
        capsys.readouterr()
        assert main(['fleet-pick', *map(str, words), '-o', str(folder)]) == code
        captured = capsys.readouterr()
        table = folder / 'frames.csv'
        if code and not table.exists():
            return [], captured
        with open(table, newline='', encoding='utf-8') as file:
            return list(csv.DictReader(file)), captured
    return pick


def test_uncertain_frames_are_apart(pick, run, tmp_path):
    rows, captured = pick(run, '--uncertain', '-n', 3)
    # 3 and 4 are half a second apart, but on different topics.
    assert [one['frame'] for one in rows] == ['4', '3', '12']
    first = rows[0]
    assert (first['topic'], first['region_id'], first['error']) == (LEFT, '', '')
    assert json.loads(first['classes']) == ['car', 'bus']
    assert json.loads(first['scores']) == [.51, .49]
    assert float(first['entropy']) == pytest.approx(.6929, abs=1e-4)
    assert first['file'].startswith('0001_drive_left_image_compressed_')
    assert (tmp_path / 'picked' / first['file']).read_bytes() == jpeg_of(4)
    shown = np.asarray(Image.open(BytesIO((tmp_path / 'picked' / rows[1]['file']).read_bytes())))
    assert (rows[1]['file'][-4:], shown[0, 0].tolist()) == ('.png', [3, 3, 3])
    assert {path.name for path in (tmp_path / 'picked').iterdir()} == {
        'frames.csv', *(one['file'] for one in rows)}
    assert captured.out == f'3 frames, 3 pictures: {tmp_path / "picked"}\n'


def test_frames_of_a_topic_are_apart_as_told(pick, run, tmp_path):
    rows, _ = pick(run, '--uncertain', 'margin', '-n', 4, '--apart', 5)
    assert [one['frame'] for one in rows] == ['4', '3']
    rows, _ = pick(run, '--uncertain', '-n', 99, '--apart', 0, folder=tmp_path / 'all')
    assert len(rows) == FRAMES


def test_the_margin_is_of_the_two_best(pick, tmp_path, bag):
    answers = [{'a': .4, 'b': .1}, {'a': .9, 'b': .85}, {'a': .5}]
    run = write_run(tmp_path / 'multi', [
        row('drive', 2 * number, answer, bag=str(bag), entropy=None)
        for number, answer in enumerate(answers)])
    rows, _ = pick(run, '--uncertain', 'margin')
    assert [one['frame'] for one in rows] == ['2', '0']
    assert rows[0]['entropy'] == ''
    _, captured = pick(run, '--uncertain', code=2, folder=tmp_path / 'none')
    assert captured.err.endswith('choose --uncertain margin\n')


def test_frames_of_a_class(pick, tmp_path, bag):
    run = write_run(tmp_path / 'run', [
        row('drive', 0, {'tram': .7, 'car': .3}, bag=str(bag)),
        row('drive', 4, {'tram': .9, 'car': .1}, bag=str(bag)),
        row('drive', 8, {'car': .6, 'tram': .4}, bag=str(bag))])
    rows, captured = pick(run, '--class', 'tram', '--json')
    assert [one['frame'] for one in rows] == ['4', '0']
    assert checked(captured.out)['pictures'] == 2
    _, captured = pick(run, '--class', 'trams', code=2, folder=tmp_path / 'none')
    assert captured.err.endswith("answered with 'trams': did you mean tram?\n")


def test_frames_on_which_two_runs_differ(pick, run, tmp_path, bag):
    other = [*rows_of(bag)]
    for number, score in ((2, .6), (9, .95), (10, .97)):
        other[number] = row('drive', number, {'tram': score}, bag=str(bag))
    rows, _ = pick(run, '--disagreeing', write_run(tmp_path / 'other', other))
    # Of 9 and 10 the second one is surer in both runs.
    assert [one['frame'] for one in rows] == ['10', '2']
    assert (json.loads(rows[0]['classes'])[0], json.loads(rows[0]['other_classes'])) == (
        'car', ['tram'])
    assert json.loads(rows[0]['other_scores']) == [.97]
    _, captured = pick(run, '--disagreeing', run, code=2, folder=tmp_path / 'none')
    assert 'the same best class on every frame' in captured.err
    far = write_run(tmp_path / 'far', [row('elsewhere', 0, {'car': .9})])
    _, captured = pick(run, '--disagreeing', far, code=2, folder=tmp_path / 'none')
    assert 'no frame in common' in captured.err


def test_it_is_deterministic(pick, run, tmp_path):
    tables = []
    for name in ('one', 'two'):
        pick(run, '--uncertain', folder=tmp_path / name)
        tables.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert tables[0] == tables[1]


def test_a_folder_with_files_is_left_alone_unless_told(pick, run, tmp_path):
    folder = tmp_path / 'picked'
    pick(run, '--uncertain', '-n', 3)
    mine = {'notes.txt', '0001_mask.png', '2026_notes.png'}
    for name in mine:
        (folder / name).write_text('mine')
    before = sorted(folder.iterdir())
    _, captured = pick(run, '--class', 'car', code=2)
    assert 'picked is not empty: name another folder, or write into it with --ov' in captured.err
    assert sorted(folder.iterdir()) == before
    rows, _ = pick(run, '--class', 'car', '-n', 1, '--overwrite')
    assert {path.name for path in folder.iterdir()} == {'frames.csv', *mine, rows[0]['file']}


@pytest.mark.parametrize('table', [
    b'file,drive\n../../notes.txt,a\nnotes.txt,a\n,\n', b'a\nb,c,d\n', b'\xff\n', b'"\0'])
def test_a_table_of_others_removes_nothing(pick, run, tmp_path, table):
    folder = tmp_path / 'a' / 'picked'
    folder.mkdir(parents=True)
    for place in (folder, tmp_path):
        (place / 'notes.txt').touch()
    (folder / 'frames.csv').write_bytes(table)
    pick(run, '--uncertain', '-n', 1, '--overwrite', folder=folder)
    assert (folder / 'notes.txt').exists()
    assert (tmp_path / 'notes.txt').exists()


def test_bags_that_are_gone_are_told_and_the_rest_goes_on(pick, run, tmp_path, bag):
    lost = [row('lost', number, {'car': .5, 'bus': .5}, bag='/gone/lost') for number in range(9)]
    both = write_run(tmp_path / 'both', [*rows_of(bag), *lost])
    rows, captured = pick(both, '--uncertain', '-n', 6, '--json')
    assert [bool(one['file']) for one in rows] == [False] * 5 + [True]
    assert rows[0]['error'].startswith('there is no bag at /gone/lost: ')
    assert captured.err.startswith('warning: 5 frames without a picture: there is no bag at')
    document = checked(captured.out)
    assert (document['frames'], document['pictures']) == (6, 1)
    assert list(document['without_picture'].values()) == [5]
    bag.rename(tmp_path / 'lost')
    _, captured = pick(both, '--uncertain', '-n', 2, code=2, folder=tmp_path / 'none')
    assert 'no picture was written' in captured.err
    rows, _ = pick(both, '--uncertain', '--bags', tmp_path, '-n', 2, folder=tmp_path / 'found')
    assert all(one['file'] for one in rows)


def test_names_of_others_make_no_paths(pick, tmp_path):
    bag = write_drive(tmp_path / 'bag', 1)
    answer = {'=1+1", <b>\n': .9}
    run = write_run(tmp_path / 'run', [row('x y%..', 0, answer, bag=str(bag))])
    rows, _ = pick(run, '--class', *answer)
    assert rows[0]['file'].startswith('0001_x_y_.._front_image_')
    assert json.loads(rows[0]['classes']) == list(answer)
    assert (tmp_path / 'picked' / rows[0]['file']).is_file()


@pytest.mark.parametrize(('words', 'message'), [
    (['--uncertain', '-n', '0'], '--limit 0: choose at least 1'),
    (['--uncertain', '--apart', '-1'], '--apart -1.0: give seconds, 0 or more'),
    (['--uncertain', '--apart', 'nan'], '--apart nan: give seconds'),
    (['--uncertain', '--cache-gib', 'nan'], '--cache-gib nan: give GiB, 0 or more')])
def test_values_out_of_range_are_refused(pick, run, words, message):
    assert message in pick(run, *words, code=2)[1].err
