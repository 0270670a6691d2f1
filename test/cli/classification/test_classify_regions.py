"""`resnet_trt classify --regions`: the boxes of a bag get the names of what they show."""

from __future__ import annotations

from bags.detection_messages import detections_of
from bags.image_bags import BagWriter
from bags.region_scenes import BOTH, FRONT, MS, names, patch, scene
import pytest
from repository import REPOSITORY
from resnet_trt_node.bag.message_types import DETECTIONS
from resnet_trt_node.cli.support.regions.options import REGION_OPTIONS
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields


@pytest.mark.parametrize('batch_size', [1, 2, 3, 8])
def test_regions_of_two_cameras_get_their_names_whatever_the_batch(
        resnet_trt, colour_model, region_bag, batch_size):
    outcome = resnet_trt(
        'classify', colour_model, region_bag, *BOTH, '--json', '--batch-size', batch_size,
        '--backend', 'onnxruntime')
    assert (outcome.code, outcome.err) == (0, '')
    document = outcome.document
    assert [(one['topic'], one['stamp_ns'], one['frame_id'], one['detections_stamp_ns'],
             names(one)) for one in document['results']] == [
        ('/left/image/compressed', 10**9, 'left', 1_040_000_000, ['cyan', 'blue', 'cyan']),
        ('/front/image', 10**9, 'front', 10**9, ['red', 'yellow']),
        ('/front/image', 2 * 10**9, 'front', 2 * 10**9, []),
        ('/front/image', 3 * 10**9, 'front', 3 * 10**9, ['outside', 'green'])]
    [failure] = document['failures']
    assert (failure['topic'], failure['stamp_ns']) == ('/left/image/compressed', 3 * 10**9)
    assert document['unmatched'] == [{
        'source': str(region_bag), 'kind': 'image', 'topic': '/front/image',
        'stamp_ns': 4 * 10**9, 'reason': 'end of the bag'}]
    assert {name: number for name, number in document['outcomes'].items() if number} == {
        'answered': 6, 'outside': 1}


def test_every_region_has_its_id_box_and_age(resnet_trt, colour_model, region_bag):
    document = resnet_trt(
        'classify', colour_model, region_bag, *FRONT, '--json', '--top-k', 1).document
    first, second = document['results'][0]['regions']
    score = second['predictions'][0].pop('score')
    assert score == pytest.approx(0.985, abs=0.01)
    assert second == {
        'region': 1, 'id': '', 'source_class': '',
        'box': {'center_x': 60.0, 'center_y': 60.0, 'width': 40.0, 'height': 40.0, 'theta': 0.0},
        'outcome': 'answered', 'inferred_stamp_ns': 10**9, 'age_ms': 0.0,
        'predictions': [{'index': 3, 'label': 'yellow'}]}
    assert first['id'] == 'a'
    outside = document['results'][2]['regions'][0]
    assert (outside['outcome'], outside['inferred_stamp_ns'], outside['age_ms'],
            outside['predictions']) == ('outside', None, None, [])


def test_the_table_tells_everything_too(resnet_trt, colour_model, region_bag):
    outcome = resnet_trt('classify', colour_model, region_bag, *BOTH, '--top-k', 1)
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[0] == ['SOURCE', 'REGION', 'ID', 'OUTCOME', 'RANK', 'SCORE', 'CLASS']
    assert [row[:1] + row[1:2] for row in rows[1:4]] == [
        ['/left/image/compressed', '1.000000000'], ['1', '-'], ['2', '-']]
    assert rows[4][:6] == ['/front/image', '1.000000000', '0', 'a', 'answered', '1']
    assert rows[4][-1] == 'red'
    assert rows[6] == ['/front/image', '2.000000000', '-', '-', '-', '-', '-', 'no', 'regions']
    assert rows[7] == ['/front/image', '3.000000000', '0', 'b', 'outside', '-', '-', '-']
    lines = outcome.err.splitlines()
    assert any(line.startswith('7 regions of 4 images by ') and line.endswith(
        ', 6 answered, 1 outside') for line in lines)
    assert '1 image could not be used and has no result' in lines
    assert '/front/image: 1 message without detections of its stamp (1 end of the bag)' in lines
    assert any(line.startswith('skipped: /left/image/compressed 3.000000000: ') for line in lines)


def test_without_slop_both_sides_are_told(resnet_trt, colour_model, region_bag):
    document = resnet_trt(
        'classify', colour_model, region_bag, *BOTH[:4], '--regions-wait-ms', 500,
        '--json').document
    assert {(one['kind'], one['topic'], one['stamp_ns'], one['reason'])
            for one in document['unmatched']} == {
        ('detections', '/left/detections', 1_040_000_000, 'expired'),
        ('image', '/left/image/compressed', 10**9, 'expired'),
        ('image', '/front/image', 4 * 10**9, 'end of the bag')}


def test_what_waits_in_vain_is_counted_by_its_reason(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        for number in range(5):
            bag.write_image('/front/image', scene(), 10**9 + number * MS, 'camera', 'rgb8')
        bag.write('/front/boxes', DETECTIONS, detections_of(0, patch('red')), 10**9 + 5 * MS)
        found = detections_of(10**9 + 4 * MS, patch('red'))
        bag.write('/front/boxes', DETECTIONS, found, 10**9 + 6 * MS)
    outcome = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/front/boxes',
        '--regions-queue', 2)
    line = '/front/image: 4 messages without detections of their stamp ' \
        '(1 end of the bag, 3 overflow)'
    assert line in outcome.err.splitlines()
    assert line in (REPOSITORY / 'docs' / 'how-to' / 'regions.md').read_text(encoding='utf-8')
    assert '/front/boxes: 1 message without an image of its stamp (1 no_stamp)' \
        in outcome.err.splitlines()


def test_nothing_matched_is_an_error_that_says_why(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_image('/image', scene(), 10**9, 'camera', 'rgb8')
        bag.write('/boxes', DETECTIONS, detections_of(2 * 10**9, patch('red')), 10**9)
    outcome = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/boxes', '--output',
        tmp_path / 'out', '--json')
    assert (outcome.code, outcome.out) == (2, '')
    assert '/boxes: 1 message without an image of its stamp (1 end of the bag)' in outcome.err
    assert 'raise --regions-slop-ms' in outcome.err
    assert not (tmp_path / 'out').exists()


def test_topics_of_other_names_are_paired_in_order(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        for topic, boxes, shown in (('/a', '/x', 'cyan'), ('/b', '/y', 'white')):
            bag.write_image(topic, scene(red=shown), 10**9, 'camera', 'rgb8')
            bag.write(boxes, DETECTIONS, detections_of(10**9, patch('red')), 10**9)
    words = ('classify', colour_model, tmp_path / 'bag', '--regions', '/y', '--regions', '/x')
    document = resnet_trt(*words, '--topic', '/b', '--topic', 'a', '--json').document
    assert {one['topic']: (one['detections_topic'], names(one))
            for one in document['results']} == {'/a': ('/x', ['cyan']), '/b': ('/y', ['white'])}
    assert '/a and /b has the images of its camera by the names' in resnet_trt.refused(*words)
    assert '--topic is given 1 and --regions 2 times' in resnet_trt.refused(
        *words, '--topic', '/a')
    assert 'one detector in each camera' in resnet_trt.refused(
        *words, '--topic', '/a', '--topic', 'a')
    assert 'one detector in each camera' in resnet_trt.refused(
        *words[:-2], '--regions', 'y', '--topic', '/a', '--topic', '/b')
    assert 'is a sensor_msgs/msg/Image, not a Detection2DArray' in resnet_trt.refused(
        *words[:3], '--regions', '/a')


@pytest.mark.parametrize(('images', 'detections', 'chosen'), [
    (('/rgb/pixels',), '/boxes', '/rgb/pixels'),
    (('/front/image_raw', '/left/image_raw'), '/left/boxes', '/left/image_raw'),
    (('/front/image', '/front/depth'), '/front/detections', '/front/image'),
    (('/front/image', '/front/image_raw'), '/yolo/detections', None),
    (('/front/a', '/front/b'), '/front/detections', None)])
def test_images_are_found_by_their_names(
        resnet_trt, colour_model, tmp_path, images, detections, chosen):
    with BagWriter(tmp_path / 'bag') as bag:
        for topic in images:
            bag.write_image(topic, scene(), 10**9, 'camera', 'rgb8')
        bag.write(detections, DETECTIONS, detections_of(10**9, patch('blue')), 10**9)
    words = ('classify', colour_model, tmp_path / 'bag', '--regions', detections, '--json')
    if chosen is None:
        assert f'give one --topic for each --regions, of {", ".join(images)}' in (
            resnet_trt.refused(*words))
        words = (*words, '--topic', images[0])
    document = resnet_trt(*words).document
    assert [(one['topic'], names(one)) for one in document['results']] == [
        (chosen or images[0], ['blue'])]


def test_every_parameter_of_regions_is_an_option():
    names = list(parameter_fields())
    start, end = names.index('regions_slop_ms'), names.index('top_k')
    assert names[start:end] == list(REGION_OPTIONS)
