"""`resnet_trt classify`: known pictures get known names, and every loss is reported."""

from __future__ import annotations

import re

from bags.image_bags import BagWriter
from models.tiny_model import colour_picture, write_blind_model
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.cli.support.classified_bag import answer_topic


def names(results) -> list[str]:
    """Return the best class of each result."""
    return [result['predictions'][0]['label'] for result in results]


def test_a_folder_gives_a_table_with_the_right_names(resnet_trt, colour_model, pictures):
    outcome = resnet_trt('classify', colour_model, pictures, '--top-k', 2)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0].split() == ['SOURCE', 'RANK', 'SCORE', 'CLASS']
    cells = [line.split() for line in lines[1:]]
    assert [(row[0], row[1], row[4]) for row in cells[::2]] == [
        (str(pictures / 'blue.jpg'), '1', 'blue'), (str(pictures / 'red.png'), '1', 'red'),
        (str(pictures / 'sub/red.jpg'), '1', 'cyan')]
    assert [row[0] for row in cells[1::2]] == ['2', '2', '2']
    # Columns are aligned: every score ends where the header's does.
    assert {line.index('%') for line in lines[1:]} == {lines[0].index('SCORE') + 4}
    assert re.search('3 pictures .*onnxruntime', outcome.err)


def test_columns_stay_aligned_with_wide_letters(resnet_trt, colour_model, pictures):
    (pictures / 'red.png').rename(pictures / '赤い.png')
    lines = resnet_trt('classify', colour_model, pictures, '--top-k', 1).out.splitlines()
    wide = next(line for line in lines if '赤い' in line)
    # Two letters that take two cells each: two letters fewer than cells before the column.
    assert wide.index('%') == lines[0].index('SCORE') + 4 - 2


def test_json_is_one_document_with_everything(resnet_trt, colour_model, pictures):
    outcome = resnet_trt(
        'classify', colour_model, pictures / 'red.png', '--json', '--top-k', 2,
        '--backend', 'onnxruntime')
    assert (outcome.code, outcome.err) == (0, '')
    document = outcome.document
    assert document['model'] == str(colour_model)
    assert document['backend']['name'] == 'onnxruntime'
    assert document['failures'] == []
    [result] = document['results']
    assert result['source'] == str(pictures / 'red.png')
    first, second = result['predictions']
    assert (first['index'], first['label']) == (1, 'red')
    assert first['score'] == pytest.approx(0.9926, abs=1e-3)
    assert first['score'] > second['score'] > 0


@pytest.mark.parametrize('batch_size', [1, 2, 7])
def test_the_batch_size_changes_no_answer(resnet_trt, colour_model, pictures, batch_size):
    document = resnet_trt(
        'classify', colour_model, pictures, '--json', '--batch-size', batch_size).document
    assert names(document['results']) == ['blue', 'red', 'cyan']


def test_the_threshold_leaves_classes_out(resnet_trt, colour_model, tmp_path):
    Image.fromarray(colour_picture('red') // 2).save(tmp_path / 'dim.png')
    words = ('classify', colour_model, tmp_path / 'dim.png', '--score-threshold')
    assert resnet_trt(*words, '0.9', '--json').document['results'][0]['predictions'] == []
    assert 'no class' in resnet_trt(*words, '0.9').out
    labels = [one['label'] for one in resnet_trt(
        *words, '0.4', '--json').document['results'][0]['predictions']]
    assert sorted(labels) == ['black', 'red']


def test_a_bag_is_classified_frame_by_frame_and_the_broken_one_reported(
        resnet_trt, colour_model, colour_bag):
    document = resnet_trt('classify', colour_model, colour_bag, '--json').document
    assert [(result['topic'], result['stamp_ns'], result['frame_id'])
            for result in document['results']] == [
        ('/front/image', 1_000_000_000, 'front_camera'),
        ('/left/image/compressed', 1_050_000_000, 'left_camera'),
        ('/front/image', 1_100_000_000, 'front_camera'),
        ('/front/image', 1_200_000_000, 'front_camera'),
        ('/left/image/compressed', 1_250_000_000, 'left_camera')]
    assert names(document['results']) == ['red', 'yellow', 'green', 'blue', 'magenta']
    [failure] = document['failures']
    assert (failure['topic'], failure['stamp_ns']) == ('/left/image/compressed', 1_150_000_000)
    assert 'not a picture' in failure['error']


def test_a_broken_frame_is_reported_and_counted_in_the_table_too(
        resnet_trt, colour_model, colour_bag):
    outcome = resnet_trt('classify', colour_model, colour_bag, '--top-k', 1)
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == 1 + 5
    assert 'skipped: /left/image/compressed 1.150000000: ' in outcome.err
    assert '1 picture could not' in outcome.err


def test_topics_are_chosen(resnet_trt, colour_model, colour_bag):
    document = resnet_trt(
        'classify', colour_model, colour_bag, '--topic', '/front/image', '--json').document
    assert names(document['results']) == ['red', 'green', 'blue']
    assert 'no topic /rear' in resnet_trt.refused(
        'classify', colour_model, colour_bag, '--topic', '/rear')


def test_pictures_and_bags_mix_in_the_order_given(resnet_trt, colour_model, colour_bag, pictures):
    document = resnet_trt(
        'classify', colour_model, pictures / 'blue.jpg', colour_bag, pictures / 'red.png',
        '--topic', 'front/image', '--json').document
    assert names(document['results']) == ['blue', 'red', 'green', 'blue', 'red']


def test_output_holds_the_images_and_their_classes(
        resnet_trt, colour_model, colour_bag, tmp_path):
    out = tmp_path / 'out'
    outcome = resnet_trt(
        'classify', colour_model, colour_bag, '--output', out, '--top-k', 2)
    assert outcome.code == 0
    assert str(out) in outcome.err
    with BagReader(colour_bag) as before, BagReader(out) as after:
        assert [(one.topic, one.log_time_ns, one.raw) for one in after.images()] == [
            (one.topic, one.log_time_ns, one.raw) for one in before.images()]
        answers = {}
        for topic in ('/front/classification', '/left/classification'):
            for raw in after.raw_messages([topic]):
                message = after.deserialize(raw)
                stamp = message.header.stamp
                answers[topic, stamp.sec * 10**9 + stamp.nanosec] = (
                    message.header.frame_id, [one.class_id for one in message.results])
                assert raw.log_time_ns == stamp.sec * 10**9 + stamp.nanosec
                scores = [one.score for one in message.results]
                assert 1 >= scores[0] > scores[1] > 0
    assert {key: (frame, classes[0]) for key, (frame, classes) in answers.items()} == {
        ('/front/classification', 1_000_000_000): ('front_camera', 'red'),
        ('/front/classification', 1_100_000_000): ('front_camera', 'green'),
        ('/front/classification', 1_200_000_000): ('front_camera', 'blue'),
        ('/left/classification', 1_050_000_000): ('left_camera', 'yellow'),
        ('/left/classification', 1_250_000_000): ('left_camera', 'magenta')}
    assert {len(classes) for _, classes in answers.values()} == {2}


def test_output_holds_indices_where_asked(resnet_trt, colour_model, colour_bag, tmp_path):
    resnet_trt(
        'classify', colour_model, colour_bag, '--topic', '/front/image', '--output',
        tmp_path / 'out', '--class-id-format', 'index', '--top-k', 1)
    with BagReader(tmp_path / 'out') as bag:
        found = [bag.deserialize(raw).results[0].class_id
                 for raw in bag.raw_messages(['/front/classification'])]
    assert found == ['1', '2', '4']


@pytest.mark.parametrize(('image_topic', 'answer'), [
    ('/image', '/classification'), ('/front/image', '/front/classification'),
    ('/front/image/compressed', '/front/classification'),
    ('/camera/color/image_raw/compressed', '/camera/color/classification')])
def test_answers_stand_where_the_node_would_publish_them(image_topic, answer):
    assert answer_topic(image_topic) == answer


def test_two_topics_with_one_answer_topic_need_a_choice(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        for topic in ('/image', '/image_raw'):
            bag.write_image(topic, colour_picture('red'), 10**9, 'camera', 'rgb8')
    words = ('classify', colour_model, tmp_path / 'bag', '--output', tmp_path / 'out')
    assert 'choose with --topic' in resnet_trt.refused(*words)
    assert not (tmp_path / 'out').exists()
    assert resnet_trt(*words, '--topic', '/image').code == 0


def test_annotated_names_never_collide_nor_overwrite(resnet_trt, colour_model, pictures):
    Image.fromarray(colour_picture('white')).save(pictures / 'red_classified.jpg')
    before = (pictures / 'red_classified.jpg').read_bytes()
    Image.fromarray(colour_picture('green')).save(pictures / 'RED.bmp')
    document = resnet_trt(
        'classify', colour_model, pictures, '--annotate', pictures, '--json').document
    assert (pictures / 'red_classified.jpg').read_bytes() == before
    written = [result['annotated'] for result in document['results']]
    assert len({path.lower() for path in written}) == 5
    for result in document['results']:
        drawn = np.asarray(Image.open(result['annotated']))
        source = np.asarray(Image.open(result['source']).convert('RGB'))
        assert drawn.shape == source.shape
        # The upper half is the picture's own, jpeg's rounding aside.
        half = drawn.shape[0] // 2 - 8
        assert np.abs(drawn[:half].astype(int) - source[:half]).max() < 6
        assert (drawn[half:] != source[half:]).any()


def test_annotated_frames_of_a_bag_have_topic_and_stamp_in_their_names(
        resnet_trt, colour_model, colour_bag, tmp_path):
    resnet_trt('classify', colour_model, colour_bag, '--annotate', tmp_path / 'new' / 'folder')
    assert sorted(path.name for path in (tmp_path / 'new' / 'folder').iterdir()) == [
        'colours_front_image_1000000000.jpg', 'colours_front_image_1100000000.jpg',
        'colours_front_image_1200000000.jpg', 'colours_left_image_compressed_1050000000.jpg',
        'colours_left_image_compressed_1250000000.jpg']


def test_a_file_that_is_no_picture_is_refused_before_any_work(
        resnet_trt, colour_model, pictures, tmp_path):
    (pictures / 'notes.png').write_text('not a picture')
    line = resnet_trt.refused(
        'classify', colour_model, pictures, '--annotate', tmp_path / 'annotated')
    assert 'notes.png' in line
    assert '--skip-bad' in line
    assert not (tmp_path / 'annotated').exists()


def test_a_picture_cut_off_is_an_error_or_skipped_as_asked(resnet_trt, colour_model, pictures):
    noise = np.random.default_rng(1).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(pictures / 'cut.jpg')
    (pictures / 'cut.jpg').write_bytes((pictures / 'cut.jpg').read_bytes()[:2000])
    outcome = resnet_trt('classify', colour_model, pictures)
    assert outcome.code == 2
    assert 'cut.jpg' in outcome.err
    outcome = resnet_trt('classify', colour_model, pictures, '--skip-bad', '--json')
    assert outcome.code == 0
    assert names(outcome.document['results']) == ['blue', 'red', 'cyan']
    assert [failure['source'] for failure in outcome.document['failures']] == [
        str(pictures / 'cut.jpg')]


def test_a_picture_without_an_answer_is_an_error_or_skipped_as_asked(
        resnet_trt, tmp_path, pictures):
    blind = write_blind_model(tmp_path / 'blind.onnx')
    white = pictures / 'white.png'
    Image.fromarray(colour_picture('white')).save(white)
    outcome = resnet_trt('classify', blind, pictures)
    assert outcome.code == 2
    assert re.search(f'{white}: .*NaN', outcome.err)
    document = resnet_trt('classify', blind, pictures, '--skip-bad', '--json').document
    assert names(document['results']) == ['blue', 'red', 'cyan']
    failure, = document['failures']
    assert failure['source'] == str(white)


def test_an_image_of_a_bag_without_an_answer_is_counted_and_named(
        resnet_trt, tmp_path):
    blind = write_blind_model(tmp_path / 'blind.onnx')
    with BagWriter(tmp_path / 'bag') as bag:
        for number, colour in enumerate(('red', 'white', 'blue')):
            bag.write_image('/image', colour_picture(colour), number * 10**9, 'camera', 'rgb8')
    outcome = resnet_trt('classify', blind, tmp_path / 'bag')
    assert outcome.code == 0
    assert re.search(r'skipped: /image 1\.0+: .*NaN', outcome.err)
    assert '1 picture could not' in outcome.err


def test_nothing_usable_is_an_error_even_when_skipping(resnet_trt, colour_model, tmp_path):
    (tmp_path / 'a.png').write_text('no')
    outcome = resnet_trt('classify', colour_model, tmp_path / 'a.png', '--skip-bad', '--json')
    assert outcome.code == 2
    assert 'none of 1 picture' in outcome.err


@pytest.mark.parametrize(('words', 'cause'), [
    (['missing.png'], 'no missing.png'),
    ([''], 'INPUT is empty'),
    (['EMPTY'], 'no pictures in'),
    (['PICTURE', '--top-k', '0'], '--top-k 0'),
    (['PICTURE', '--score-threshold', '1.5'], '--score-threshold 1.5'),
    (['PICTURE', '--score-threshold', 'nan'], '--score-threshold nan'),
    (['PICTURE', '--unknown-below', '1.5'], 'unknown_below is 1.5'),
    (['PICTURE', '--unknown-below', 'nan'], 'unknown_below is nan'),
    (['PICTURE', '--unknown-label', ''], "unknown_label is ''"),
    (['PICTURE', '--batch-size', '0'], 'batch_size is 0'),
    (['PICTURE', '--threads', '-1'], 'threads is -1'),
    (['PICTURE', '--topic', '/image'], '--topic'),
    (['PICTURE', '--output', 'out'], '--output'),
    (['PICTURE', '--annotate', 'PICTURE'], 'cannot create'),
])
def test_bad_input_is_refused_in_one_line(
        resnet_trt, colour_model, pictures, tmp_path, words, cause):
    (tmp_path / 'empty').mkdir()
    places = {'PICTURE': pictures / 'red.png', 'EMPTY': tmp_path / 'empty'}
    line = resnet_trt.refused('classify', colour_model, *[places.get(w, w) for w in words])
    assert cause in line


@pytest.mark.parametrize(('content', 'cause'), [
    (None, 'no model at'), (b'', 'not an ONNX file'), (b'garbage' * 50, 'not an ONNX file')])
def test_a_model_that_cannot_be_used_is_refused_in_one_line(
        resnet_trt, pictures, tmp_path, content, cause):
    model = tmp_path / 'model.onnx'
    if content is not None:
        model.write_bytes(content)
    assert cause in resnet_trt.refused('classify', model, pictures, '--json')


def test_an_output_that_exists_is_left_alone(resnet_trt, colour_model, colour_bag, tmp_path):
    (tmp_path / 'out').mkdir()
    line = resnet_trt.refused('classify', colour_model, colour_bag, '--output', tmp_path / 'out')
    assert 'exists already' in line
    assert list((tmp_path / 'out').iterdir()) == []


def test_an_error_on_the_way_leaves_no_bag(
        resnet_trt, colour_model, colour_bag, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    line = resnet_trt.refused(
        'classify', tmp_path / 'missing.onnx', colour_bag, '--output', out)
    assert 'no model' in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ['colours']
