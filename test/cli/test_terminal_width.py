"""On a terminal of 80 columns no line is wider, no word is broken, and no name commands it."""

from __future__ import annotations

from collections.abc import Callable
import io
import os
from pathlib import Path
import pty
import re
import shutil
import subprocess
import sys
import unicodedata

from bags.image_bags import BagWriter
from bags.region_scenes import write_region_bag
from bags.sample_bags import write_bag
from commands.train_command import TINY
from make_model_index import main as make_model_index
from models.classifiers import write_classifier
from models.tiny_model import colour_picture, COLOURS, write_tiny_model
import onnx
from pictures.calibration_pictures import clouds, write_pictures
from PIL import Image
import pytest
from resnet_trt_node.cli.main import main
from rich.cells import cell_len

pytestmark = pytest.mark.slow

WIDTH = 80
EVIL = 'a\x1b[2J\nb\u202ec\x9b31m'
LONG = 'Long_name_of_a_class_or_file_' * 5
WIDE = '猫の写真' * 15
LABELS = [f'{EVIL}, {LONG}', LONG, WIDE, 'green apple of an old kind ' * 6, EVIL, 'x', 'y', 'z']
ON_CPU = ('--backend', 'onnxruntime', '--threads', '1')


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    encoding = 'utf-8'

    def isatty(self) -> bool:
        return True


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an evil folder with a long path: a model, pictures, a bag and class folders."""
    folder = tmp_path / f'{EVIL} {LONG[:60]}' / LONG
    folder.mkdir(parents=True)
    model = onnx.load(str(write_tiny_model(folder / f'{EVIL}model.onnx', labels=LABELS)))
    # Layers are named by whoever made the file.
    for node in model.graph.node:
        node.name = f'{EVIL}/{LONG}/{node.op_type}'
    onnx.save(model, str(folder / f'{EVIL}model.onnx'))
    return folder


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run a command on a terminal of 80 columns; return exit code, output and error stream."""
    def run(*words: object, terminal: bool = True) -> tuple[int, str, str]:
        out, err = (Terminal() if terminal else io.StringIO() for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setenv('COLUMNS', str(WIDTH))
            patch.setattr(sys, 'stdout', out)
            patch.setattr(sys, 'stderr', err)
            code = main(list(map(str, words)))
        return code, out.getvalue(), err.getvalue()
    return run


def check(*texts: str, copied: str = '$^') -> None:
    """Check each line; those that match `copied` are commands, which stay whole."""
    for text in texts:
        # A bar begins its line anew.
        for line in re.split('[\r\n]', text):
            assert cell_len(line) <= WIDTH or re.search(copied, line), line
            assert not [letter for letter in line if unicodedata.category(letter) in ('Cc', 'Cs')
                        or letter == '\u202e'], ascii(line)


def compare_words(text: str, piped: str) -> None:
    """Check that every word of letters is one that was written, none of them a part of one."""
    words = set(re.findall(r'\S+', piped))
    assert not [word for word in re.findall(r'\S+', text) if word.isalpha() and word not in words]


def both(shown: Callable[..., tuple[int, str, str]], words: Callable[[int], list[object]],
         code: int = 0, copied: str = '$^') -> str:
    """Run a command on a terminal and into pipes; check what is shown, and return it."""
    found = []
    for turn, terminal in enumerate((True, False)):
        done = shown(*words(turn), terminal=terminal)
        assert done[0] == code, done
        found.append(done)
    (_, out, err), (_, whole, log) = found
    check(out, err, copied=copied)
    compare_words(out, whole)
    compare_words(re.sub(r'\r[^\r\n]*\r', '', err), log)
    # Into pipes every name goes whole, and still on one line.
    assert '…' not in whole + log
    assert not re.search('[\x1b\x9b\u202e]', whole + log)
    return out


def pictures(folder: Path) -> Path:
    """Return a folder of pictures with long and evil names."""
    for colour in COLOURS:
        # The name of a file has at most 255 bytes.
        name = f'{EVIL}{colour}{LONG}.png'
        (folder / 'pictures').mkdir(exist_ok=True)
        Image.fromarray(colour_picture(colour)).save(folder / 'pictures' / name)
    return folder / 'pictures'


def test_classify(shown, place):
    model, images = place / f'{EVIL}model.onnx', pictures(place)
    (images / f'{EVIL}broken.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    out = both(shown, lambda turn: [
        'classify', model, images, '--skip-bad', '--annotate', place / 'drawn', *ON_CPU])
    lines = out.splitlines()
    assert all(re.match(r'\S+ {2,}\d  +\d+\.\d %  \S', line)
               for line in lines[1:] if line[0] != ' ')
    assert any('…' in line for line in lines)


def test_classify_a_bag_and_regions(shown, place):
    model = place / f'{EVIL}model.onnx'
    with BagWriter(place / 'bag') as bag:
        for number, colour in enumerate(('red', 'blue')):
            bag.write_image(
                f'/{LONG}/image', colour_picture(colour), 10**18 + number, EVIL, 'rgb8')
    both(shown, lambda turn: ['classify', model, place / 'bag', *ON_CPU])
    regions = write_region_bag(place / 'regions')
    both(shown, lambda turn: [
        'classify', model, regions, '--topic', '/front/image', '--regions', '/front/detections',
        *ON_CPU])


def test_evaluate_and_compare_models(shown, place):
    model, images = place / f'{EVIL}model.onnx', pictures(place)
    other = place / f'{LONG}other.onnx'
    shutil.copy(model, other)
    table = place / f'{EVIL}.tsv'
    # A table cannot name a file with a line break.
    for number, path in enumerate(sorted(images.iterdir())):
        path.rename(images / f'{number} {LONG}.png')
    table.write_text(''.join(f'{number} {LONG}.png\t{number % 5}\n' for number in range(8)))
    both(shown, lambda turn: [
        'evaluate', model, '--images', images, '--labels', table, '--compare', other, *ON_CPU])


def test_compare(shown, place):
    model, other = place / f'{EVIL}model.onnx', place / f'{LONG}other.onnx'
    shutil.copy(model, other)
    out = both(shown, lambda turn: [
        'compare', model, other, '--backends', 'onnxruntime', '--iterations', 3, '--rounds', 3,
        '--warm-up', 1, '--limit', 2, '-o', place / f'out{turn}'])
    assert re.search(r'^ +1  \S*…\S* ', out, re.MULTILINE)


def test_inspect_check_and_prepare(shown, place):
    model = place / f'{EVIL}model.onnx'
    both(shown, lambda turn: ['inspect', model, '--all-labels'])
    both(shown, lambda turn: ['check', model])
    foreign = write_classifier(place / f'{LONG}.onnx')
    both(shown, lambda turn: ['check', foreign], 1, '^  resnet_trt prepare')
    table = place / 'names.txt'
    table.write_text(''.join(f'{number} {LONG}\n' for number in range(6)))
    both(shown, lambda turn: [
        'prepare', foreign, '-o', place / f'{EVIL}{turn}.onnx', '--mean', '0', '--std', '1',
        '--scale', '255', '--labels', table])


def test_quantize(shown, place):
    model = place / f'{EVIL}model.onnx'
    images = write_pictures(place / 'many', clouds())
    both(shown, lambda turn: [
        'quantize', model, '-o', place / f'{EVIL}{LONG}{turn}.onnx', '--images', images,
        '--sensitivity', place / 'layers.json'])


def test_calibrate(shown, place):
    images = place / 'many'
    images.mkdir()
    lines = []
    for number in range(104):
        index = number % 8
        picture = colour_picture(list(COLOURS)[index])
        Image.fromarray(picture).save(images / f'{number} {LONG}.png')
        lines.append(f'{number} {LONG}.png\t{index ^ 1 if number % 5 == 0 else index}\n')
    (images / 'labels.tsv').write_text(''.join(lines))
    both(shown, lambda turn: [
        'calibrate', place / f'{EVIL}model.onnx', '--images', images, '-o',
        place / f'{LONG}{turn}.onnx', *ON_CPU])


def test_fetch(shown, place, monkeypatch):
    monkeypatch.setenv('RESNET_TRT_CACHE', str(place / 'cache'))
    folder = place / 'index'
    assert make_model_index([
        str(place / f'{EVIL}model.onnx'), '-o', str(folder), '--name', f'a-{LONG[:60]}',
        '--licence', EVIL, '--description', f'{LONG} of {WIDE}']) == 0
    both(shown, lambda turn: ['fetch', '--index', folder])
    both(shown, lambda turn: [
        'fetch', f'a-{LONG[:60]}', '--index', folder, '-o', place / f'{EVIL}{turn}.onnx'], 0,
        '^  ros2 launch')


def test_doctor(shown):
    code, out, err = shown('doctor')
    assert code in (0, 1)
    check(out, err, copied=r'^ +\$ ')


def test_train_export_and_prune(shown, place):
    data = place / 'data'
    for number, colour in enumerate(('red', 'blue')):
        (data / f'{number}{EVIL}{LONG}').mkdir(parents=True)
        for copy in range(6):
            Image.fromarray(colour_picture(colour)).save(
                data / f'{number}{EVIL}{LONG}' / f'{copy}.png')
    both(shown, lambda turn: [
        'train', '--images', data, '-o', place / f'run{EVIL}{turn}', *TINY, '--epochs', 1], 0,
        '^next: ')
    best = place / f'run{EVIL}0' / 'best.pth'
    both(shown, lambda turn: ['export', '--weights', best, '-o', place / f'{EVIL}{turn}.onnx'])
    both(shown, lambda turn: ['prune', best, '-o', place / f'{EVIL}{turn}.pth'])


def test_errors(shown, place):
    for words in (
            ['classify', place / f'{LONG}no.onnx', place], ['inspect', place / f'{EVIL}{LONG}'],
            ['evaluate', place / f'{EVIL}model.onnx', '--images', place / EVIL]):
        code, out, err = shown(*words)
        assert (code, out) == (2, '')
        check(err)
        whole = shown(*words, terminal=False)[2]
        assert len(whole.splitlines()) == 1
        compare_words(err, whole)


def test_a_wrong_option(monkeypatch, place):
    monkeypatch.setenv('COLUMNS', str(WIDTH))
    monkeypatch.setattr(sys, 'stderr', Terminal())
    with pytest.raises(SystemExit):
        main(['inspect', str(place / 'model.onnx'), f'--{EVIL}{LONG}', 'word ' * 30])
    check(sys.stderr.getvalue())
    assert 'unknown option' in sys.stderr.getvalue()


def test_replay(place):
    bag = write_bag(place / f'{EVIL}bag')
    process_shown(['replay', bag, '--rate', '100', '--wait', '0'])


def process_shown(words: list[object]) -> str:
    """Run a command on a pseudo-terminal of 80 columns; check and return what it shows."""
    main_end, terminal = pty.openpty()
    import fcntl
    import struct
    import termios
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, WIDTH, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != 'COLUMNS'}
    with subprocess.Popen(
            [sys.executable, '-m', 'resnet_trt_node.cli.main', *map(str, words)],
            stdout=terminal, stderr=terminal, env={**environment, 'TERM': 'xterm'}) as process:
        os.close(terminal)
        found = b''
        try:
            while more := os.read(main_end, 4096):
                found += more
        except OSError:
            # How Linux reports that the other end is closed.
            pass
    os.close(main_end)
    assert process.returncode == 0, found
    text = found.decode()
    check(text)
    return text


def test_the_width_is_that_of_the_terminal(place):
    text = process_shown(['inspect', place / f'{EVIL}model.onnx'])
    assert '…' in text
    lines = text.splitlines()
    assert lines[0].startswith('file        /')
    # What does not fit goes on below its beginning.
    assert [line for line in lines if line.startswith(' ' * 12)]
