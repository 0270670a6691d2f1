"""Every command reports in one line what it did not read of a folder or zip file."""

from __future__ import annotations

import os
from pathlib import Path
import re
from zipfile import ZipFile

from models.tiny_model import write_tiny_model
from PIL import Image
import pytest
from resnet_trt_node.datasets.listing import describe_several

COUNTS = '4 files .*: 2 .svg, 1 .txt, 1 hidden'


def lay_out(root: Path, *classes: str) -> Path:
    """Write some pictures of every class, and other files."""
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(4):
            Image.new('RGB', (16, 16), (60 * number, 200, 9)).save(root / name / f'{number}.gif')
    folder = root / classes[0]
    for name in ('a.svg', 'b.svg', 'notes.txt', '._0.gif'):
        (folder / name).write_bytes(b'no picture')
    return root


def reports(outcome, counts: str = COUNTS) -> bool:
    """Return whether one line counts the files that were not read, and counts these."""
    line, = (line for line in outcome.err.splitlines() if 'not read' in line)
    return re.fullmatch(counts, line) is not None


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a deployable model of the classes red, green and blue."""
    return write_tiny_model(tmp_path / 'model.onnx')


def zipped(folder: Path) -> Path:
    """Return a zip file of a folder."""
    path = folder.with_suffix('.zip')
    with ZipFile(path, 'w') as archive:
        for file in sorted(folder.rglob('*')):
            archive.write(file, file.relative_to(folder))
    return path


def test_classify_reads_all_that_pillow_reads(resnet_trt, model, tmp_path):
    lay_out(tmp_path / 'data', 'red')
    outcome = resnet_trt('classify', model, tmp_path / 'data', '--json')
    assert outcome.code == 0, outcome.err
    assert len(outcome.document['results']) == 4
    assert reports(outcome)
    # Several folders, and still one line.
    lay_out(tmp_path / 'more', 'red')
    outcome = resnet_trt('classify', model, tmp_path / 'data', tmp_path / 'more', '--json')
    assert reports(outcome, '8 files .*: 4 .svg, 2 .txt, 2 hidden')


@pytest.mark.parametrize('pack', [Path, zipped])
def test_evaluate_counts_what_it_does_not_read(resnet_trt, model, tmp_path, pack):
    data = pack(lay_out(tmp_path / 'data', 'red', 'green'))
    outcome = resnet_trt('evaluate', model, '--images', data, '--json')
    assert outcome.code == 0, outcome.err
    assert outcome.document['count'] == 8
    assert reports(outcome)


@pytest.mark.parametrize('pack', [Path, zipped])
def test_a_table_of_classes_is_read_and_so_not_counted(resnet_trt, model, tmp_path, pack):
    folder = lay_out(tmp_path / 'data', 'red')
    (folder / 'labels.tsv').write_text('red/0.gif\t0\nred/1.gif\t1\n')
    outcome = resnet_trt('evaluate', model, '--images', pack(folder), '--json')
    assert outcome.code == 0, outcome.err
    assert reports(outcome)
    assert outcome.document['unlabelled'] == 2
    outcome = resnet_trt(
        'evaluate', model, '--images', folder, '--labels', folder / 'labels.tsv', '--json')
    assert reports(outcome)


# Polygraphy imports PyTorch where that is installed.
@pytest.mark.slow
@pytest.mark.parametrize('pack', [Path, zipped])
def test_compare_counts_what_it_does_not_read(resnet_trt, model, tmp_path, pack):
    data = pack(lay_out(tmp_path / 'data', 'red'))
    outcome = resnet_trt(
        'compare', model, '--backends', 'onnxruntime', '--images', data, '--iterations', '3',
        '--rounds', '3', '--warm-up', '1', '--json')
    assert reports(outcome)
    assert outcome.document['source'] == f'4 of {data.name}'


def test_quantize_counts_what_it_does_not_read(resnet_trt, model, tmp_path):
    data = lay_out(tmp_path / 'data', 'red')
    outcome = resnet_trt(
        'quantize', model, '-o', tmp_path / 'int8.onnx', '--images', data,
        '--min-pictures', '100')
    # Too few to calibrate with, and why.
    assert reports(outcome)


def test_what_can_be_decoded_can_be_limited_and_allowed(resnet_trt, model, tmp_path):
    path = tmp_path / 'large.png'
    Image.new('L', (1500, 1000)).save(path)
    outcome = resnet_trt('classify', model, path, '--max-image-mib', '2')
    assert outcome.code == 2
    assert re.search('1500x1000 png: .* 3 MiB .*--max-image-mib', outcome.err)
    assert resnet_trt('classify', model, path, '--max-image-mib', '3').code == 0
    for wrong in ('0', '-1', '1.5', 'x', '9' * 5000):
        assert 'number of MiB' in resnet_trt(
            'classify', model, path, '--max-image-mib', wrong).err


@pytest.mark.parametrize('skip', [[], ['--skip-bad']])
def test_pipes_and_devices_are_refused_at_once(resnet_trt, model, tmp_path, skip):
    os.mkfifo(tmp_path / 'pipe.png')
    for path, kind in ((tmp_path / 'pipe.png', 'a named pipe'), (Path('/dev/zero'), 'a device')):
        outcome = resnet_trt('classify', model, path, *skip)
        assert outcome.code == 2
        assert f'it is {kind}' in outcome.err
        line = resnet_trt.refused('evaluate', model, '--images', path)
        assert 'zip file' in line
    Image.new('RGB', (9, 9)).save(tmp_path / 'a.png')
    for path, kind in ((tmp_path / 'pipe.png', 'a named pipe'), (Path('/dev/zero'), 'a device')):
        line = resnet_trt.refused('evaluate', model, '--images', tmp_path, '--labels', path)
        assert f'{path}: it is {kind}' in line


def test_another_format_by_another_name_is_no_picture(resnet_trt, model, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n')
    assert 'not start like' in resnet_trt.refused('classify', model, tmp_path)


def test_frames_behind_the_first_are_told_of(resnet_trt, model, tmp_path):
    folder = lay_out(tmp_path / 'data', 'red')
    first, second = (Image.new('RGB', (8, 8), colour) for colour in ('red', 'lime'))
    first.save(folder / 'red' / 'moving.gif', save_all=True, append_images=[second])
    line = describe_several(1)
    outcome = resnet_trt('classify', model, folder / 'red')
    assert line in outcome.err
    outcome = resnet_trt('classify', model, folder / 'red', '--json')
    assert outcome.document['warnings'] == [line]
    # A table in another form is told of, too.
    (folder / 'val.txt').write_text('red/moving.gif red\n')
    outcome = resnet_trt('evaluate', model, '--images', folder, '--labels', folder / 'val.txt')
    assert outcome.code == 0, outcome.err
    assert line in outcome.err
    assert 'val.txt was read as cells separated by spaces, classes given by name' in outcome.err


def test_folders_called_by_index_are_told_of(resnet_trt, model, tmp_path):
    folder = lay_out(tmp_path / 'data', '0', '2')
    outcome = resnet_trt('evaluate', model, '--images', folder)
    assert outcome.code == 0, outcome.err
    assert "were read as classes by index: 2 is 'green'" in outcome.err
