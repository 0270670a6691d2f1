"""`resnet_trt classify` of what is none of the classes."""

from __future__ import annotations

from models.tiny_model import colour_picture
from PIL import Image
import pytest
from resnet_trt_node.bag.reader import BagReader


def test_an_unsure_answer_is_unknown(resnet_trt, colour_model, pictures, tmp_path):
    Image.fromarray(colour_picture('red') // 2).save(tmp_path / 'dim.png')
    words = ('classify', colour_model, tmp_path / 'dim.png', pictures / 'red.png',
             '--unknown-below', '0.9', '--unknown-label', 'none of these', '--top-k', '1')
    dim, red = (one['predictions'] for one in resnet_trt(*words, '--json').document['results'])
    assert dim == [{
        'index': -1, 'label': 'none of these', 'score': pytest.approx(0.497, abs=0.01)}]
    assert (red[0]['index'], red[0]['label']) == (1, 'red')
    assert 'none of these' in resnet_trt(*words).out
    # Two classes are equally probable, and six others hardly: e^-H is a little below a half.
    for limit, index in ((0.49, -1), (0.48, 0)):
        document = resnet_trt(
            'classify', colour_model, tmp_path / 'dim.png', '--unknown-below', limit,
            '--unknown-criterion', 'entropy', '--top-k', '1', '--json').document
        assert document['results'][0]['predictions'][0]['index'] == index


@pytest.mark.parametrize(('class_id_format', 'expected'), [('index', '-1'), ('label', 'none')])
def test_output_names_what_is_unknown(
        resnet_trt, colour_model, colour_bag, tmp_path, class_id_format, expected):
    resnet_trt(
        'classify', colour_model, colour_bag, '--topic', '/front/image', '--output',
        tmp_path / 'out', '--class-id-format', class_id_format, '--unknown-below', 1,
        '--unknown-label', 'none')
    with BagReader(tmp_path / 'out') as bag:
        found = [[one.class_id for one in bag.deserialize(raw).results]
                 for raw in bag.raw_messages(['/front/classification'])]
    assert found == [[expected]] * 3
