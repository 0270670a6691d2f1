"""
What new users write wrong, each with the whole answer, in one file: `mistakes.txt`.

After a change run `GOLDEN=write python -m pytest test/golden`, and read the answers that changed
as a newcomer would.
"""

from __future__ import annotations

import os
from pathlib import Path
import shlex

from bags.sample_bags import write_bag
import cv2
from models.tiny_model import colour_picture, write_tiny_model
import pytest
from resnet_trt_node.cli.main import COMMANDS, main

ANSWERS = Path(__file__).with_name('mistakes.txt')

#: Command lines without `resnet_trt`, those of one kind together.
MISTAKES = [
    # Commands that there are not.
    'clasify model.onnx cat.jpg', 'quantise model.onnx', 'run model.onnx', 'bake', 'help',
    '--verison',
    # Options that there are not, or no longer.
    'classify model.onnx cat.jpg --bakend onnxruntime', 'classify model.onnx cat.jpg --topk 3',
    'classify model.onnx cat.jpg --thread 2', 'classify model.onnx cat.jpg -output out',
    'classify model.onnx --images photos', 'build model.onnx --max-batch 4',
    'build model.onnx -o model.engine', 'train --data photos', 'train --images photos --out runs',
    'quantize model.onnx --calibration photos -o int8.onnx', 'inspect model.onnx --labels',
    'prepare model.onnx --output-file out.onnx --mean 0 --std 1',
    'prepare model.onnx -o out.onnx --output probabilities --mean 0 --std 1',
    'compare model.onnx --backend onnxruntime', 'evaluate model.onnx --images photos -o out.json',
    'fetch resnet50 --out resnet50.onnx', 'classify --model model.onnx cat.jpg',
    'classify model.onnx cat.jpg --gpu 0', 'build model.onnx --fp16',
    'classify model.onnx cat.jpg --labels names.txt', 'train --dataset photos',
    'classify model.onnx cat.jpg --verbose',
    # What is for nodes of ROS.
    'replay bag -p image_topic:=/image', 'replay bag -r /front/image:=/image',
    'top --ros-args -r __ns:=/car', 'classify model.onnx bag --ros-args -p top_k:=3',
    # Values that cannot be.
    'classify model.onnx cat.jpg --backend tensort', 'classify model.onnx cat.jpg --top-k five',
    'classify model.onnx cat.jpg --device cpu', 'build model.onnx --target-sm sm89',
    'compare model.onnx --backends onnx',
    'compare model.onnx --backends onnxruntime --batch-size 1;8',
    'export --arch resnet5', 'export --precision int8', 'train --images photos --device gpu',
    # Words that are missing, too many or in another order.
    'classify model.onnx', 'inspect', 'quantize model.onnx --images photos',
    'export resnet50', 'evaluate model.onnx photos', 'classify cat.jpg model.onnx',
    'classify photos model.onnx', 'classify model.onnx model.onnx',
    # Files of another kind.
    'classify cat.jpg photos', 'classify net.pth cat.jpg', 'build model.engine',
    'inspect model.engine', 'export -o model.engine', 'export -o net.pth',
    'classify resnet50 cat.jpg', 'classify model.onnx cat.txt', 'replay photos', 'check cat.jpg',
    'quantize model.onnx --images model.onnx -o int8.onnx', 'prune model.onnx -o net.pth',
    # What makes no sense.
    'evaluate model.onnx --images photos --compare-backend simulated',
    'classify model.onnx cat.jpg --topic /image', 'classify model.onnx photos -o out',
    'fleet model.onnx bag', 'fleet-report photos', 'fleet-pick photos -o out',
    'classify model.onnx cat.jpg --region-margin 0.1', 'fetch resnet50',
    'prepare model.onnx -o out.onnx --mean 0 --std 1',
    'quantize model.onnx --images photos -o int8.onnx',
]

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change into a folder with the files that the command lines name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('RESNET_TRT_INDEX', raising=False)
    write_tiny_model(tmp_path / 'model.onnx')
    (tmp_path / 'photos').mkdir()
    for colour in ('red', 'cyan'):
        cv2.imwrite(str(tmp_path / 'photos' / f'{colour}.png'), colour_picture(colour))
    (tmp_path / 'photos' / 'labels.tsv').write_text('red.png\t0\ncyan.png\t3\n')
    cv2.imwrite(str(tmp_path / 'cat.jpg'), colour_picture('red'))
    for name in ('cat.txt', 'net.pth', 'model.engine'):
        (tmp_path / name).write_text('something else')
    write_bag(tmp_path / 'bag')
    return tmp_path


def answer(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str, int]:
    try:
        code = main(shlex.split(line, comments=False))
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return captured.out, captured.err, code


def test_each_mistake_is_answered(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for line in MISTAKES:
        out, err, code = answer(line, capsys)
        assert (out, code) == ('', 2), (line, out, err)
        assert 'Traceback' not in err
        found.append(f'$ resnet_trt {line}\n{err}[exit code {code}]\n')
    text = '\n'.join(found).replace(str(folder), 'FOLDER')
    if os.environ.get('GOLDEN') == 'write':
        ANSWERS.write_text(text)
    assert ANSWERS.read_text() == text


def test_they_are_many_and_of_all_commands() -> None:
    assert len(MISTAKES) >= 20
    named = {line.split()[0] for line in MISTAKES}
    assert set(COMMANDS) - named <= {'calibrate', 'doctor'}
