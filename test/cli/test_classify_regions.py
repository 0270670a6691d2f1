"""`resnet_trt classify --regions`: the boxes of a bag get the names of what they show."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from math import nan
from pathlib import Path

from detection_messages import at, detections_of
from image_bags import BagWriter
import numpy as np
from PIL import Image
import pytest

from resnet_trt_node.bag.message_types import DETECTIONS
from resnet_trt_node.bag.reader import BagReader
from resnet_trt_node.regions.region import Region
from tiny_model import COLOURS, write_blind_model

MS = 1_000_000
#: Where a scene shows what colour.
PLACES = {'red': (0, 0), 'green': (40, 0), 'blue': (0, 40), 'yellow': (40, 40)}


def scene(**shown: str) -> np.ndarray:
    """Return 80x80 pixels with a colour in each quarter, others where asked."""
    pixels = np.zeros((80, 80, 3), np.uint8)
    for name, (left, top) in PLACES.items():
        pixels[top:top + 40, left:left + 40] = COLOURS[shown.get(name, name)]
    return pixels


def patch(place: str, track_id: str = '', class_id: str = '') -> Region:
    """Return the region of a quarter."""
    return Region(at(*PLACES[place], 40, 40), track_id, class_id)


@pytest.fixture
def region_bag(tmp_path: Path) -> Path:
    """
    Return a bag of two cameras and their detectors.

    front at 1, 2, 3 and 4 s: two regions, none, two (one outside), and no detections; left at
    1 s, compressed, three regions, the detections first and 40 ms off; left is broken at 3 s.
    """
    path = tmp_path / 'regions'
    with BagWriter(path) as bag:
        def found(camera, stamp_s, log_s, *regions):
            message = detections_of(round(stamp_s * 1e9), *regions, frame_id=camera)
            bag.write(f'/{camera}/detections', DETECTIONS, message, round(log_s * 1e9))
        for stamp_s in (1, 2, 3, 4):
            bag.write_image('/front/image', scene(), stamp_s * 10**9, 'front', 'rgb8')
        found('front', 1, 1.1, patch('red', 'a'), patch('yellow'))
        found('front', 2, 2.1)
        found('front', 3, 3.1, Region(at(90, 0, 40, 40), 'b'), patch('green'))
        png = BytesIO()
        Image.fromarray(scene(red='cyan')).save(png, 'PNG')
        found('left', 1.04, 0.9, patch('red'), patch('blue'), patch('red'))
        bag.write_compressed('/left/image/compressed', png.getvalue(), 'png', 10**9, 'left')
        found('left', 3, 3, patch('red'))
        bag.write_compressed('/left/image/compressed', b'broken', 'png', 3 * 10**9, 'left')
    return path


def names(result) -> list:
    """Return of each region its best class, or what became of it."""
    return [region['predictions'][0]['label'] if region['predictions'] else region['outcome']
            for region in result['regions']]


FRONT = ('--regions', '/front/detections')
BOTH = ('--regions', '/front/detections', '--regions', 'left/detections',
        '--regions-slop-ms', 50)


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
            bag.write_image('/image', scene(), 10**9 + number * MS, 'camera', 'rgb8')
        bag.write('/boxes', DETECTIONS, detections_of(0, patch('red')), 10**9 + 5 * MS)
        bag.write(
            '/boxes', DETECTIONS, detections_of(10**9 + 4 * MS, patch('red')), 10**9 + 6 * MS)
    outcome = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/boxes', '--regions-queue', 2)
    assert '/image: 4 messages without detections of their stamp (1 end of the bag, 3 overflow)' \
        in outcome.err.splitlines()
    assert '/boxes: 1 message without an image of its stamp (1 no_stamp)' \
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
    assert 'give one --topic for each --regions, of /a, /b' in resnet_trt.refused(*words)
    assert '--topic is given 1 and --regions 2 times' in resnet_trt.refused(
        *words, '--topic', '/a')
    assert 'one detector in each camera' in resnet_trt.refused(
        *words, '--topic', '/a', '--topic', 'a')
    assert 'one detector in each camera' in resnet_trt.refused(
        *words[:-2], '--regions', 'y', '--topic', '/a', '--topic', '/b')
    assert 'is a sensor_msgs/msg/Image, not a Detection2DArray' in resnet_trt.refused(
        *words[:3], '--regions', '/a')


def test_the_only_images_go_with_the_only_detections(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_image('/camera/rgb', scene(), 10**9, 'camera', 'rgb8')
        bag.write('/boxes', DETECTIONS, detections_of(10**9, patch('blue')), 10**9)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/boxes', '--json').document
    assert [names(one) for one in document['results']] == [['blue']]


def test_output_holds_images_detections_and_the_answers(
        resnet_trt, colour_model, region_bag, tmp_path):
    out = tmp_path / 'out'
    assert resnet_trt(
        'classify', colour_model, region_bag, *BOTH, '--output', out, '--top-k', 1,
        '--batch-size', 3).code == 0
    read = ['/front/image', '/front/detections', '/left/image/compressed', '/left/detections']
    with BagReader(region_bag) as before, BagReader(out) as after:
        assert [(one.topic, one.log_time_ns, one.raw) for one in after.raw_messages(read)] == [
            (one.topic, one.log_time_ns, one.raw) for one in before.raw_messages(read)]
        assert set(after.topics) - set(read) == {
            '/front/classified_detections', '/left/classified_detections'}
        answers = [
            (one.topic, one.log_time_ns, one.stamp_ns, one.frame_id,
             [(found.id, [result.hypothesis.class_id for result in found.results])
              for found in one.message.detections])
            for one in after.detections([
                '/front/classified_detections', '/left/classified_detections'])]
    assert answers == [
        ('/left/classified_detections', 1_000_000_000, 1_040_000_000, 'left',
         [('', ['cyan']), ('', ['blue']), ('', ['cyan'])]),
        ('/front/classified_detections', 1_100_000_000, 10**9, 'front',
         [('a', ['red']), ('', ['yellow'])]),
        ('/front/classified_detections', 2_100_000_000, 2 * 10**9, 'front', []),
        ('/front/classified_detections', 3_100_000_000, 3 * 10**9, 'front',
         [('b', ['']), ('', ['green'])])]


def test_output_keeps_the_source_and_indices_where_asked(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_image('/image', scene(), 10**9, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(
            10**9, patch('red', class_id='light'), patch('blue', class_id='car')), 10**9)
    words = ('classify', colour_model, tmp_path / 'bag', '--regions', '/detections')
    assert resnet_trt(
        *words, '--output', tmp_path / 'out', '--region-classes', 'light', '--region-classes',
        'sign', '--keep-source-results', '--class-id-format', 'index', '--top-k', 1).code == 0
    with BagReader(tmp_path / 'out') as bag:
        [message] = bag.detections(['/classified_detections'])
        assert [[one.hypothesis.class_id for one in found.results]
                for found in message.message.detections] == [['light', '1'], ['car']]
    # And once more: they would be answered where they are.
    assert 'leave --output out' in resnet_trt.refused(
        'classify', colour_model, tmp_path / 'out', '--regions', '/classified_detections',
        '--output', tmp_path / 'again')


@pytest.mark.parametrize('batch_size', [1, 8])
def test_tracks_are_kept_as_in_a_node_that_keeps_up(
        resnet_trt, colour_model, tmp_path, batch_size):
    colours = ('red', 'green', 'blue', 'cyan', 'white')
    with BagWriter(tmp_path / 'bag') as bag:
        for number, colour in enumerate(colours):
            stamp_ns = 10**9 + number * 100 * MS
            bag.write_image('/image', scene(red=colour), stamp_ns, 'camera', 'rgb8')
            bag.write('/detections', DETECTIONS, detections_of(
                stamp_ns, patch('red', '7'), patch('red')), stamp_ns)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--json',
        '--track-cache', '--reinfer-interval-ms', 300, '--batch-size', batch_size).document
    assert [names(one) for one in document['results']] == [
        ['red', 'red'], ['red', 'green'], ['red', 'blue'], ['cyan', 'cyan'], ['cyan', 'white']]
    assert [one['regions'][0]['age_ms'] for one in document['results']] == [
        0.0, 100.0, 200.0, 0.0, 100.0]
    assert (document['outcomes']['answered'], document['outcomes']['cached']) == (7, 3)


def test_smoothing_sees_the_inferences_in_their_order(resnet_trt, colour_model, tmp_path):
    colours = ('red', 'red', 'green', 'red', 'green', 'green', 'green')
    with BagWriter(tmp_path / 'bag') as bag:
        for number, colour in enumerate(colours):
            stamp_ns = 10**9 + number * 100 * MS
            bag.write_image('/image', scene(red=colour), stamp_ns, 'camera', 'rgb8')
            bag.write('/detections', DETECTIONS, detections_of(
                stamp_ns, patch('red', '7')), stamp_ns)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--json',
        '--smoothing', 'majority', '--smoothing-window', 3).document
    assert [label for one in document['results'] for label in names(one)] == [
        'red', 'red', 'red', 'red', 'green', 'green', 'green']


def test_a_region_without_an_answer_fails_alone(resnet_trt, tmp_path):
    model = write_blind_model(tmp_path / 'blind.onnx')
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_image('/image', scene(green='white'), 10**9, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(
            10**9, patch('red'), patch('green'), replace(patch('blue'), box=at(nan, 0, 9, 9)),
            patch('blue')), 10**9)
    outcome = resnet_trt(
        'classify', model, tmp_path / 'bag', '--regions', '/detections', '--json')
    assert 'NaN' not in outcome.out
    [result] = outcome.document['results']
    assert names(result) == ['red', 'failed', 'not_finite', 'blue']
    assert result['regions'][2]['box']['center_x'] is None


def test_pictures_show_the_boxes(resnet_trt, colour_model, tmp_path):
    grey = np.full((400, 400, 3), 90, np.uint8)
    with BagWriter(tmp_path / 'bag') as bag:
        for number in (1, 2):
            bag.write_image('/image', grey, number * MS, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(
            MS, Region(at(100, 200, 150, 150))), MS)
        bag.write('/detections', DETECTIONS, detections_of(2 * MS), 2 * MS)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--annotate',
        tmp_path / 'drawn', '--json').document
    written = [Path(one['annotated']) for one in document['results']]
    assert [path.name for path in written] == ['bag_image_1000000.jpg', 'bag_image_2000000.jpg']
    boxed, plain = (np.asarray(Image.open(path)).astype(int) for path in written)
    assert np.abs(plain - 90).max() < 3
    # Its edges, and nothing in its middle.
    for edge in (boxed[200:350, 97:104], boxed[200:350, 247:254], boxed[347:354, 100:250]):
        assert np.abs(edge - 90).max() > 60
    assert np.abs(boxed[260:340, 110:240] - 90).max() < 12


def test_an_image_that_nobody_decoded_is_answered_and_not_drawn(
        resnet_trt, colour_model, tmp_path):
    large = np.zeros((700, 700, 3), np.uint8)
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write_image('/image', large, MS, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(MS, Region(at(900, 0, 9, 9))), MS)
        bag.write_image('/image', large, 2 * MS, 'camera', 'rgb8')
        bag.write('/detections', DETECTIONS, detections_of(
            2 * MS, Region(at(0, 0, 9, 9))), 2 * MS)
    outcome = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--annotate',
        tmp_path / 'drawn', '--max-image-mib', 1, '--json', '--backend', 'onnxruntime')
    [result] = outcome.document['results']
    assert (names(result), result['annotated']) == (['outside'], None)
    assert outcome.err.startswith('not drawn: /image 0.001000000: ')
    [failure] = outcome.document['failures']
    assert failure['stamp_ns'] == 2 * MS
    assert '2 MiB and 1 are allowed' in failure['error']


def test_many_frames_without_regions_do_not_pile_up(resnet_trt, colour_model, tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        for number in range(40):
            stamp_ns = 10**9 + number * MS
            bag.write_image('/image', scene(), stamp_ns, 'camera', 'rgb8')
            bag.write('/detections', DETECTIONS, detections_of(
                stamp_ns, *[patch('blue')] * (number % 20 == 0)), stamp_ns)
    document = resnet_trt(
        'classify', colour_model, tmp_path / 'bag', '--regions', '/detections', '--json').document
    assert [one['stamp_ns'] for one in document['results']] == [
        10**9 + number * MS for number in range(40)]
    assert [number for number, one in enumerate(document['results']) if names(one)] == [0, 20]


def test_options_without_their_meaning_are_refused(
        resnet_trt, colour_model, region_bag, pictures):
    words = ('classify', colour_model, region_bag)
    assert '--region-margin is about regions: give --regions too' in resnet_trt.refused(
        *words, '--region-margin', 0.1)
    assert '--region-classes is about regions' in resnet_trt.refused(
        *words, '--region-classes', 'light')
    assert 'give bags only' in resnet_trt.refused(*words, pictures, *FRONT)
    assert 'region_margin: 9.0 is out of range' in resnet_trt.refused(
        *words, *FRONT, '--region-margin', 9)
    assert 'no topic /rear' in resnet_trt.refused(*words, '--regions', '/rear')
