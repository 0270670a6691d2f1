"""Jpegs decoded on the device, on a stand-in of nvImageCodec."""

from __future__ import annotations

import os
import sys
import weakref

import numpy as np
from pictures.jpegs import jpeg, turned
import pytest

from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.cuda.jpeg import DecodedOnDevice, ENGINES, JpegDecoder
from resnet_trt_node.errors import BackendUnavailable, UsageError
from resnet_trt_node.imaging.compressed.decode import decode_compressed
from resnet_trt_node.imaging.frame import to_rgb
from stand_ins.standin_cuda import StandInCuda
from stand_ins.standin_nvimgcodec import StandInNvImgCodec

STREAM = 4711


@pytest.fixture
def cuda(monkeypatch):
    standin = StandInCuda(('Card A', 'Card B', 'Card C')).install(monkeypatch)
    with CudaDevice(0):
        yield standin
    assert standin.nothing_held(), standin.held


@pytest.fixture
def codec(cuda, monkeypatch):
    return StandInNvImgCodec(cuda).install(monkeypatch)


def pixels(codec, decoded):
    """Return what is at the address of a picture."""
    assert decoded.pitch == 3 * decoded.width
    memory = codec.cuda.memory[decoded.address][:decoded.height * decoded.pitch]
    return memory.reshape(decoded.height, decoded.width, 3).copy()


def allocated(codec):
    """Return the bytes that are allocated on the device."""
    return sum(block.nbytes for block in codec.cuda.memory.values())


def on_the_cpu(data):
    frame = decode_compressed(data)
    return to_rgb(frame.pixels, frame.order)


def test_pictures_of_a_batch_come_in_order_and_others_are_named(codec):
    pictures = [jpeg(96, 64, seed=1), jpeg(mode='CMYK'), jpeg(33, 47, seed=2), b'',
                jpeg(96, 64, 'L', seed=3), jpeg()[:-2]]
    with JpegDecoder(1, STREAM) as decoder:
        first, inks, second, empty, grey, cut = decoder.decode(pictures)
        for decoded, data in zip((first, second, grey), pictures[::2]):
            assert isinstance(decoded, DecodedOnDevice)
            np.testing.assert_array_equal(pixels(codec, decoded), on_the_cpu(data))
        assert '4 components' in inks
        assert 'no picture' in empty
        assert 'cut off' in cut
    assert codec.streams == [STREAM, STREAM]


def test_how_the_decoder_is_opened(codec):
    with JpegDecoder(1, STREAM, threads=3, options='nvjpeg_cuda_decoder:a=0'):
        pass
    assert codec.opened == {
        'device_id': 1, 'max_num_cpu_threads': 3, 'backends': list(ENGINES),
        'options': ':fancy_upsampling=1 nvjpeg_cuda_decoder:a=0'}
    # Messages are not turned, as on the CPU.
    assert codec.params[0] == {'apply_exif_orientation': False, 'color_spec': 'SRGB'}


@pytest.mark.parametrize(('cores', 'threads'), [(None, 1), (1, 1), (2, 1), (4, 3), (64, 4)])
def test_threads_leave_a_core_to_the_caller(codec, monkeypatch, cores, threads):
    monkeypatch.setattr('os.cpu_count', lambda: cores)
    with JpegDecoder(0, STREAM):
        assert codec.opened['max_num_cpu_threads'] == threads


def test_memory_is_used_again_only_when_its_picture_is_gone(codec):
    data, other = jpeg(seed=1), jpeg(seed=2)
    with JpegDecoder(0, STREAM) as decoder:
        first, = decoder.decode([data])
        second, = decoder.decode([other])
        assert first.address != second.address
        np.testing.assert_array_equal(pixels(codec, first), on_the_cpu(data))
        address = first.address
        del first
        third, = decoder.decode([other])
        assert third.address == address
        assert decoder.device_bytes == 2 * 96 * 64 * 3 == allocated(codec)


def test_a_smaller_picture_takes_the_smallest_memory_that_holds_it(codec):
    with JpegDecoder(0, STREAM) as decoder:
        both = decoder.decode([jpeg(400, 300), jpeg(96, 64)])
        large, small = (decoded.address for decoded in both)
        del both
        one, two = decoder.decode([jpeg(90, 60), jpeg(400, 300)])
        assert (one.address, two.address) == (small, large)


def test_memory_that_got_too_small_is_given_up(codec):
    with JpegDecoder(0, STREAM) as decoder:
        for side in (100, 200, 300):
            assert decoder.decode([jpeg(side, side)])[0].height == side
        assert decoder.device_bytes == 300 * 300 * 3 == allocated(codec)


def test_memory_on_the_device_is_bounded(codec):
    small, large = jpeg(100, 100), jpeg(200, 200)
    with JpegDecoder(0, STREAM, max_device_bytes=5 * 30_000) as decoder:
        kept = decoder.decode([small, large, small])
        assert [isinstance(decoded, str) for decoded in kept] == [False, False, True]
        assert 'used up' in kept[2]
        assert decoder.device_bytes == 5 * 30_000
        # What is gone makes room for what does not fit into it.
        del kept[0]
        again = decoder.decode([small, small])
        assert isinstance(again[0], DecodedOnDevice)
        assert 'used up' in again[1]
        del kept, again
        assert isinstance(decoder.decode([jpeg(220, 220)])[0], DecodedOnDevice)
        assert allocated(codec) == decoder.device_bytes <= 5 * 30_000


def test_memory_stays_on_its_stream(codec):
    with JpegDecoder(0, STREAM) as decoder:
        address = decoder.decode([jpeg()])[0].address
        other, = decoder.decode([jpeg()], stream=STREAM + 1)
        assert other.address != address
        assert decoder.decode([jpeg()])[0].address == address
        assert codec.streams == [STREAM, STREAM, STREAM + 1, STREAM]


def test_idle_memory_of_another_stream_makes_room(codec):
    with JpegDecoder(0, STREAM, max_device_bytes=50_000) as decoder:
        assert decoder.decode([jpeg(100, 100)])[0].height == 100
        kept = decoder.decode([jpeg(100, 100)], stream=STREAM + 1)
        assert isinstance(kept[0], DecodedOnDevice)
        assert decoder.device_bytes == 30_000 == allocated(codec)
        assert 'used up' in decoder.decode([jpeg(100, 100)])[0]


def test_one_picture_is_bounded_by_its_header(codec):
    with JpegDecoder(0, STREAM, max_bytes=60_000) as decoder:
        fits, too_large = decoder.decode([jpeg(100, 100), jpeg(101, 100)])
        assert isinstance(fits, DecodedOnDevice)
        assert '101x100 jpeg: decoding takes' in too_large


def test_one_that_fails_on_the_device_leaves_its_neighbours_alone(codec):
    with JpegDecoder(0, STREAM) as decoder:
        codec.broken = {1}
        results = decoder.decode([jpeg(seed=1), jpeg(seed=2), jpeg(seed=3)])
        assert results[1] == 'nvJPEG cannot decode it'
        for place in (0, 2):
            np.testing.assert_array_equal(
                pixels(codec, results[place]), on_the_cpu(jpeg(seed=place + 1)))
        # What held the broken one is used again.
        assert isinstance(decoder.decode([jpeg()])[0], DecodedOnDevice)
        assert decoder.device_bytes == 3 * 96 * 64 * 3 == allocated(codec)


@pytest.mark.parametrize('what', ['reading', 'wrapping', 'decoding'])
@pytest.mark.parametrize('error', [RuntimeError('no'), ValueError('no'), MemoryError('no')])
def test_what_nvimgcodec_raises_becomes_words_for_each_picture(codec, what, error):
    with JpegDecoder(0, STREAM) as decoder:
        kept = decoder.decode([jpeg()])
        codec.failing = {what: error}
        results = decoder.decode([jpeg(), b'', jpeg()])
        assert ['nvimgcodec' in result for result in results] == [True, False, True]
        codec.failing = {}
        assert isinstance(decoder.decode([jpeg()])[0], DecodedOnDevice)
        np.testing.assert_array_equal(pixels(codec, kept[0]), on_the_cpu(jpeg()))


def test_another_size_than_the_header_says_is_not_handed_out(codec):
    with JpegDecoder(0, STREAM) as decoder:
        codec.extra_rows = 1
        assert decoder.decode([jpeg()]) == [
            'nvimgcodec takes it for (65, 96, 3), its header says 96x64 jpeg']


def test_what_was_selected_elsewhere_is_not_looked_at_again(codec):
    with JpegDecoder(0, STREAM) as decoder:
        data = jpeg()
        selected = [decoder.select(data), 'not this one']
        decoded, other = decoder.decode_selected([data, data], selected)
        assert (decoded.height, decoded.width, other) == (64, 96, 'not this one')


def test_files_that_are_turned_stay_on_the_cpu(codec):
    with JpegDecoder(0, STREAM, apply_orientation=True) as decoder:
        assert 'turned' in decoder.decode([turned(3)])[0]


def test_no_pictures_are_none(codec):
    with JpegDecoder(0, STREAM) as decoder:
        calls = len(codec.streams)
        assert decoder.decode([]) == []
        assert decoder.decode([b'']) == ['it is no picture']
        assert len(codec.streams) == calls


def test_memory_goes_to_another_stream_once_its_own_was_waited_for(codec):
    with JpegDecoder(0, STREAM, max_device_bytes=2 * 96 * 64 * 3) as decoder:
        places = {picture.address for picture in decoder.decode([jpeg(), jpeg()])}
        decoder.waited_for(STREAM)
        kept, = decoder.decode([jpeg(seed=1)], STREAM + 1)
        # Its stream is this one from now on.
        decoder.waited_for(STREAM)
        calls = codec.cuda.calls
        other, = decoder.decode([jpeg(seed=2)], STREAM + 2)
        assert {kept.address, other.address} == places
        assert codec.cuda.calls == calls
        assert isinstance(decoder.decode([jpeg()], STREAM)[0], str)
        np.testing.assert_array_equal(pixels(codec, kept), on_the_cpu(jpeg(seed=1)))


def test_a_gpu_without_memory_leaves_the_picture_to_the_cpu(codec):
    with JpegDecoder(0, STREAM) as decoder:
        kept, = decoder.decode([jpeg()])
        codec.cuda.fail_at = codec.cuda.calls + 1
        none, next_one = decoder.decode([jpeg(), jpeg()])
        assert isinstance(kept, DecodedOnDevice)
        assert isinstance(next_one, DecodedOnDevice)
        assert none.startswith('the GPU has no memory for it: CUDA_ERROR_OUT_OF_MEMORY')


def test_memory_that_cannot_be_freed_is_logged(codec):
    said = []
    with JpegDecoder(0, STREAM, log=said.append) as decoder:
        decoder.decode([jpeg()])
        codec.cuda.fail_at = codec.cuda.calls + 1
    assert said == ['could not free the memory of a picture: CUDA_ERROR_OUT_OF_MEMORY '
                    '(cuMemFree failed: out of memory)']
    # The stand-in still has what it did not free.
    codec.cuda.held.clear()


def test_closing_frees_the_decoder_then_its_memory_used_or_not(codec):
    decoder = JpegDecoder(0, STREAM)
    kept = decoder.decode([jpeg(), jpeg()])
    decoder.close()
    decoder.close()
    assert codec.closed == 1
    assert decoder.device_bytes == 0 == allocated(codec)
    assert len(kept) == 2
    with pytest.raises(UsageError, match='closed'):
        decoder.decode([jpeg()])


def test_an_error_while_closing_is_logged(codec):
    said = []
    decoder = JpegDecoder(0, STREAM, log=said.append)
    codec.failing = {'closing': RuntimeError('stuck')}
    decoder.close()
    assert said == ['could not close the jpeg decoder: stuck']


def test_a_picture_holds_no_decoder(codec):
    decoder = JpegDecoder(0, STREAM)
    kept, gone = decoder.decode([jpeg()])[0], weakref.ref(decoder)
    decoder.close()
    del decoder
    assert gone() is None
    assert kept.height == 64


def test_a_missing_package_is_refused_with_the_command_that_installs_it(cuda, monkeypatch):
    monkeypatch.setitem(sys.modules, 'nvidia', None)
    with pytest.raises(BackendUnavailable, match=r'pip install "nvidia-nvimgcodec-cu12\[nvjpeg\]'):
        JpegDecoder(0, STREAM)


def test_an_old_package_is_refused(cuda, monkeypatch):
    StandInNvImgCodec(cuda, version='0.6.0').install(monkeypatch)
    with pytest.raises(BackendUnavailable, match=r'0\.6\.0 is too old, 0\.7 is needed'):
        JpegDecoder(0, STREAM)


def test_a_device_that_cannot_be_opened_is_named(codec):
    codec.failing = {'opening': RuntimeError('Code: 8')}
    with pytest.raises(BackendUnavailable, match='cannot decode on GPU 2: Code: 8'):
        JpegDecoder(2, STREAM)


def test_a_missing_nvjpeg_is_noticed_when_it_is_opened(codec):
    codec.without_nvjpeg = True
    with pytest.raises(BackendUnavailable, match='is nvJPEG missing'):
        JpegDecoder(0, STREAM)
    assert codec.closed == 1


def test_it_does_not_write_to_stderr_for_each_broken_frame(codec, monkeypatch):
    monkeypatch.delenv('PYNVIMGCODEC_VERBOSITY', raising=False)
    with JpegDecoder(0, STREAM):
        assert os.environ['PYNVIMGCODEC_VERBOSITY'] == '0'
