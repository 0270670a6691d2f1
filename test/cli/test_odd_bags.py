"""Bags of other tools and killed recorders on the command line: all images, or a warning."""

from __future__ import annotations

import os
from pathlib import Path
import sqlite3

from bags.foxglove_bags import as_protobuf, write_messages
from bags.image_bags import BagWriter
from bags.odd_bags import image, images, read, write_database, write_mcap, write_metadata
from models.tiny_model import colour_picture
import numpy as np
import pytest
from resnet_trt_node.bag.message_types import COMPRESSED_IMAGE, IMAGE
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.cli.support.example_frames import read_frames
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.errors import DataError

COLOURS = ('red', 'green', 'blue', 'white')


def rows(*colours: str, topic: str = '/front/image', first: int = 0):
    return [(topic, first + place, image(place, one)) for place, one in enumerate(colours)]


def qos_emptied(folder: Path) -> Path:
    write_mcap(folder / 'a.mcap', rows(*COLOURS), qos='[{depth: 3}]')
    return write_metadata(folder, ['a.mcap'], {'/front/image': 4}, qos=True)


def killed(folder: Path) -> Path:
    write_database(folder / 'a.db3', rows(*COLOURS[:2]), rows(*COLOURS[2:], first=2))
    return write_metadata(folder, ['a.db3'], {'/front/image': 4}, storage_identifier='sqlite3')


def split(folder: Path) -> Path:
    write_mcap(folder / 'run_2.mcap', rows(*COLOURS[:2]))
    write_mcap(folder / 'run_10.mcap', rows(*COLOURS[2:], first=2))
    return write_metadata(folder, ['run_10.mcap', 'run_2.mcap'], {'/front/image': 4})


def foreign(folder: Path) -> Path:
    return write_mcap(
        folder / 'a.mcap', [('/note', 0, b'{}'), *rows(*COLOURS)], profile='',
        types={'/note': ('note', 'jsonschema', 'json')})


def without_metadata(folder: Path) -> Path:
    write_mcap(folder / 'a_0.mcap', rows(*COLOURS[:2]))
    write_mcap(folder / 'a_1.mcap', rows(*COLOURS[2:], first=2))
    return folder


def unfinished(folder: Path) -> Path:
    path = write_mcap(folder / 'a.mcap', rows(*COLOURS, 'black'), use_chunking=False)
    data = path.read_bytes()
    # Within the last image, in front of the record that ends all messages.
    path.write_bytes(data[:data.rindex(b'\x0f' + (4).to_bytes(8, 'little')) - 7])
    return path


def foxglove(folder: Path) -> Path:
    return write_messages(folder / 'a.mcap', [
        ('/front/image', 'RawImage', place, as_protobuf(
            'RawImage', place, data=colour_picture(colour).tobytes(), encoding='RGB8',
            height=colour_picture(colour).shape[0], width=colour_picture(colour).shape[1],
            step=colour_picture(colour).shape[1] * 3))
        for place, colour in enumerate(COLOURS)], 'protobuf')


def unordered(folder: Path) -> Path:
    found = rows(*COLOURS)
    found[1:3] = found[2:0:-1]
    return write_mcap(folder / 'run#1?.mcap', found, use_chunking=False)


@pytest.fixture(params=[qos_emptied, killed, split, foreign, unordered, foxglove])
def odd_bag(request, tmp_path: Path) -> Path:
    """Return a bag of four images, in the order of `COLOURS`."""
    return request.param(tmp_path / 'odd bag')


def test_all_images_are_classified_and_copied(resnet_trt, colour_model, odd_bag, tmp_path):
    document = resnet_trt(
        'classify', colour_model, odd_bag, '--json', '--output', tmp_path / 'out').document
    assert [one['predictions'][0]['label'] for one in document['results']] == list(COLOURS)
    assert (document['failures'], document['warnings']) == ([], [])
    with BagReader(odd_bag) as before, BagReader(tmp_path / 'out') as after:
        assert [one.raw for one in after.images()] == [one.raw for one in before.images()]
        answers = [after.deserialize(one) for one in after.raw_messages(['/front/classification'])]
    assert [one.results[0].class_id for one in answers] == list(COLOURS)
    outcome = resnet_trt('classify', colour_model, odd_bag, '--top-k', 1)
    assert outcome.code == 0
    assert [line.split()[-1] for line in outcome.out.splitlines()[1:]] == list(COLOURS)
    assert 'warning' not in outcome.err


def test_all_images_are_calibrated_and_compared_on(colour_model, odd_bag):
    frames, said = read_frames(str(odd_bag), None, read_model_spec(colour_model), 99, 0)
    assert [tuple(frame[16, 16]) for frame in frames] == [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    assert said == f'4 of {odd_bag.name}'


def test_a_difference_is_reported_in_one_line_and_in_the_document(
        resnet_trt, colour_model, capsys, tmp_path):
    path = qos_emptied(tmp_path / 'bag')
    write_metadata(path, ['a.mcap', 'b.mcap'], {'/front/image': 9})
    outcome = resnet_trt('classify', colour_model, path, '--json')
    lines = outcome.document['warnings']
    missing, differing = lines
    assert f'{path}: ' in missing
    assert 'b.mcap is missing' in missing
    assert '/front/image: 4 images' in differing
    assert len(outcome.document['results']) == 4
    outcome = resnet_trt('classify', colour_model, path)
    assert outcome.code == 0
    assert [line for line in outcome.err.splitlines() if 'warning' in line] == [
        f'warning: {line}' for line in lines]
    _, said = read_frames(str(path), None, read_model_spec(colour_model), 2, 0)
    assert said == '; '.join(['2 of bag', *lines])
    assert capsys.readouterr().err.splitlines() == [f'warning: {line}' for line in lines]


def test_the_assumed_range_of_floats_is_said_once(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        for place, colour in enumerate(COLOURS):
            # Blue comes first.
            pixels = colour_picture(colour)[..., ::-1] / np.float32(255)
            bag.write_image('/front/image', pixels, place, '', ('32FC3', '32fc3')[place % 2])
        bag.write_image('/front/image', pixels * 255, 9, '', '32FC3')
    document = resnet_trt('classify', colour_model, tmp_path / 'bag', '--json').document
    assert [one['predictions'][0]['label'] for one in document['results']] == list(COLOURS)
    line, = document['warnings']
    assert '/front/image: 32FC3 ' in line
    assert 'from 0 to 1 are assumed' in line
    failure, = document['failures']
    assert failure['stamp_ns'] == 9
    assert 'above 1, up to 255' in failure['error']


@pytest.mark.parametrize(('write', 'words'), [
    (without_metadata, 'it has no metadata.yaml, the topics are read from the files'),
    (unfinished, 'its first 4 messages are complete')])
def test_what_a_recorder_did_not_finish_is_read_and_named(
        resnet_trt, colour_model, tmp_path, write, words):
    path = write(tmp_path / 'drive')
    document = resnet_trt(
        'classify', colour_model, path, '--json', '--output', tmp_path / 'out').document
    assert [one['predictions'][0]['label'] for one in document['results']] == list(COLOURS)
    line, = document['warnings']
    assert words in line
    with BagReader(path, lambda _: None) as before, BagReader(tmp_path / 'out') as after:
        assert [one.raw for one in after.images()] == [one.raw for one in before.images()]
        assert after.warnings == []
    outcome = resnet_trt('classify', colour_model, path)
    assert outcome.code == 0
    assert f'warning: {line}' in outcome.err.splitlines()
    _, said = read_frames(str(path), None, read_model_spec(colour_model), 9, 0)
    assert said == f'4 of {path.name}; {line}'


@pytest.mark.parametrize('json', [[], ['--json']])
def test_no_image_at_all_is_refused_in_one_line(resnet_trt, colour_model, tmp_path, json):
    path = tmp_path / 'a.mcap'
    write_mcap(path, [('/note', 0, b'{}')], types={'/note': ('note', 'jsonschema', 'json')})
    assert '/note (note' in resnet_trt.refused(
        'classify', colour_model, path, *json)
    write_mcap(path, [('/front/image', 0, b'\0')])
    outcome = resnet_trt('classify', colour_model, path, *json)
    assert outcome.code == 2
    assert 'readable sensor_msgs/msg/Image' in outcome.err.splitlines()[-1]
    write_database(tmp_path / 'b.db3', [*rows('red', topic='/a'), *rows('red', topic='/b')])
    with sqlite3.connect(tmp_path / 'b.db3') as database:
        database.execute('DELETE FROM messages WHERE topic_id = 1')
    database.close()
    assert '/a (sensor_msgs/msg/Image, 0)' in resnet_trt.refused(
        'classify', colour_model, tmp_path / 'b.db3', '--topic', '/a', *json)


def test_a_bag_that_yields_nothing_of_what_it_counts(
        resnet_trt, colour_model, tmp_path, monkeypatch):
    path = write_mcap(tmp_path / 'a.mcap', rows('red'))
    monkeypatch.setattr('resnet_trt_node.bag.storage.mcap_file._chunk', lambda *_: iter(()))
    outcome = resnet_trt('classify', colour_model, path)
    assert outcome.code == 2
    assert '/front/image: 0 images' in outcome.err.splitlines()[-1]
    with pytest.raises(DataError, match='no picture'):
        read_frames(str(path), None, read_model_spec(colour_model), 2, 0)


def test_evaluate_names_the_command_for_bags(resnet_trt, colour_model, odd_bag, tmp_path):
    words = [] if odd_bag.is_dir() else ['--labels', tmp_path / 'labels.tsv']
    for more in ([], words):
        line = resnet_trt.refused('evaluate', colour_model, '--images', odd_bag, *more)
        assert f'{odd_bag} is a bag' in line
        assert '`resnet_trt compare --images`' in line


@pytest.mark.slow
@pytest.mark.parametrize('command', ['classify', 'replay', 'evaluate', 'quantize', 'compare'])
def test_pipes_and_devices_are_refused_at_once(resnet_trt, colour_model, tmp_path, command):
    os.mkfifo(tmp_path / 'pipe.mcap')
    (tmp_path / 'zero.db3').symlink_to('/dev/zero')
    for path in (tmp_path / 'pipe.mcap', tmp_path / 'zero.db3'):
        words = {
            'classify': [colour_model, path], 'replay': [path],
            'evaluate': [colour_model, '--images', path],
            'quantize': [colour_model, '--images', path, '-o', tmp_path / 'q.onnx'],
            'compare': [colour_model, '--backends', 'onnxruntime', '--images', path]}[command]
        line = resnet_trt.refused(command, *words)
        assert 'ordinary file' in line or 'is a bag' in line


def test_an_output_cannot_have_two_types_on_a_topic(resnet_trt, colour_model, tmp_path):
    path = tmp_path / 'bag'
    write_mcap(path / '0.mcap', rows('red'))
    write_mcap(
        path / '1.mcap', rows('red'), types={'/front/image': (COMPRESSED_IMAGE, 'ros2msg', 'cdr')})
    write_metadata(path, ['0.mcap', '1.mcap'], {'/front/image': 2})
    line = resnet_trt.refused('classify', colour_model, path, '--output', tmp_path / 'out')
    assert f'/front/image has {COMPRESSED_IMAGE} and {IMAGE}' in line
    with BagWriter(tmp_path / 'mean') as bag:
        for topic in ('/front/image', '/front/classification'):
            bag.write_image(topic, colour_picture('red'), 1, '', 'rgb8')
    line = resnet_trt.refused(
        'classify', colour_model, tmp_path / 'mean', '--output', tmp_path / 'out')
    assert 'answered on /front/classification' in line
    assert not (tmp_path / 'out').exists()


def test_times_before_1970_are_copied_and_warned_of(resnet_trt, colour_model, tmp_path):
    path = write_database(
        tmp_path / 'a.db3', images('/front/image', -7, 5))
    outcome = resnet_trt('classify', colour_model, path, '--output', tmp_path / 'out')
    assert outcome.code == 0
    assert f'{tmp_path / "out"}: 2 messages logged before 1970' in outcome.err
    assert read(tmp_path / 'out') == ([('/front/image', 0, 0), ('/front/image', 5, 1)], [])
