"""Weights of the library timm: their files, and the preprocessing that belongs to them."""

from __future__ import annotations

import json
import math
from pathlib import Path
import re
from typing import Any, Mapping, Optional, Union

from resnet_trt_node.errors import LabelsError, ModelError, UsageError
from resnet_trt_node.labels.names import check_labels, tell_apart
from resnet_trt_node.onnx_tools.normalisation import Normalisation
from resnet_trt_node.regular_file import read_regular
from resnet_trt_node.training.checkpoints.declared import DeclaredWeights
from resnet_trt_node.training.checkpoints.published import TIMM_FILES, TIMM_RULES
from resnet_trt_node.training.checkpoints.state_dict import OTHER_WAY
from resnet_trt_node.training.networks.architectures import ARCHITECTURES

CONFIG = 'config.json'
#: What timm looks for in a folder, the first that is there.
_FILES = ('model.safetensors', 'pytorch_model.bin', 'pytorch_model.pth', 'model.pth')
#: A name at a hub, or one of timm's own: owner/name, hf-hub:owner/name, resnet50.a1_in1k.
_HUB = re.compile(r'(?:hf[-_]hub:|timm/|[\w-]+/[\w-]+\.\w+_in\d+k$|resnet\w+\.\w+$)')
_MAX_BYTES = 16 << 20
#: Arguments of a network with what they are without being given.
_DEFAULTS = {'global_pool': 'avg', 'output_stride': 32}
#: Arguments that change nothing of what a network computes, or that its weights show.
_HARMLESS = ('num_classes', 'drop_rate', 'drop_path_rate', 'drop_block_rate', 'in_chans')


def weights_path(weights: Union[str, Path]) -> Path:
    """
    Return the file that is meant: itself, or the weights in a folder as timm saves them.

    :raises ModelError: if a folder has none, or it is a name at a hub, which is not asked.
    """
    path = Path(weights)
    if path.is_dir():
        found = next((path / name for name in _FILES if (path / name).is_file()), None)
        if found is None:
            raise ModelError(
                f'{path} is a folder without {" or ".join(_FILES[:2])}: pass the file of the '
                'weights')
        return found
    name = str(weights)
    if not path.exists() and path.suffix not in ('.pth', '.pt', '.bin', '.safetensors') and (
            _HUB.match(name)):
        repository = re.sub('^hf[-_]hub:', '', name)
        repository = repository if '/' in repository else f'timm/{repository}'
        raise ModelError(
            f'there is no {name}, and hubs are not asked for weights: download it with '
            f'`hf download {repository} --local-dir DIR`, and pass --weights DIR')
    return path


def published_by_timm(sha256: str) -> Optional[DeclaredWeights]:
    """
    Return what timm knows of a file that it or others published, None for another file.

    :param sha256: hex digest of the file; its first eight digits are in the published name.
    """
    name, rule = TIMM_FILES.get(sha256[:8], ('', ''))
    if not name:
        return None
    interpolation, size, crop, test_size, test_crop = TIMM_RULES[rule]
    return DeclaredWeights(
        size, math.floor(size / crop), interpolation, source=f'timm {name}',
        test=(test_size, math.floor(test_size / test_crop)), arch=name.split('.')[0])


def read_config(path: Path) -> Optional[DeclaredWeights]:
    """
    Return what timm's `config.json` beside weights says of them.

    :param path: the file of the weights.
    :returns: None if there is no such file, or it is another program's.
    :raises ModelError: if it is malformed, or of a network or of preprocessing that is not known
        here.
    """
    file = path.with_name(CONFIG)
    if not file.is_file():
        return None
    try:
        content = json.loads(read_regular(file, _MAX_BYTES).decode('utf-8-sig'))
    except OSError as error:
        raise ModelError(f'cannot read {file}: {error.strerror or error}') from error
    except (ValueError, RecursionError):
        # Any program may call its settings so.
        return None
    if not isinstance(content, dict) or 'architecture' not in content:
        return None
    # Older files have no part of their own for it.
    details = content.get('pretrained_cfg', content)
    try:
        return _declared(content, {**details}, file)
    except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
        raise ModelError(
            f'{file} is not as timm writes it ({error}): download it again, or move it away and '
            'pass --mean, --std, --interpolation and --resize') from error


def _declared(
        content: Mapping[str, Any], details: Mapping[str, Any], file: Path) -> DeclaredWeights:
    arch = str(content['architecture']).split('.')[0]
    if arch not in ARCHITECTURES:
        raise ModelError(
            f'{file} says that the network is {arch}, none of {", ".join(ARCHITECTURES)}: '
            f'{OTHER_WAY}')
    arguments = [('global_pool', content.get('global_pool')),
                 *dict(content.get('model_args') or {}).items()]
    changed = [name for name, value in arguments if name not in _HARMLESS
               and value not in (None, _DEFAULTS.get(name))]
    if changed:
        raise ModelError(
            f'{file} says that {", ".join(changed)} of {arch} was changed: {OTHER_WAY}')
    size = _side(details['input_size'])
    tag = details.get('tag')
    tests = details.get('test_input_size')
    share = float(details.get('crop_pct') or 0.875)
    return DeclaredWeights(
        size, _short_side(size, share, details, file),
        str(details.get('interpolation') or 'bilinear'),
        Normalisation(
            tuple(map(float, details['mean'])), tuple(map(float, details['std']))),
        f'{CONFIG} (timm {arch}{f".{tag}" if tag else ""})',
        None if not tests or _side(tests) == size else (
            _side(tests),
            math.floor(_side(tests) / float(details.get('test_crop_pct') or share))),
        _labels(content.get('label_names') or details.get('label_names'), file), arch)


def _side(shape: Any) -> int:
    channels, height, width = map(int, shape)
    if channels != 3 or height != width:
        raise ValueError(f'an input of {channels}x{height}x{width}, where 3 channels of a square '
                         'are needed')
    return height


def _short_side(size: int, share: float, details: Mapping[str, Any], file: Path) -> Optional[int]:
    """Return the short side before the crop as timm computes it, None to stretch."""
    if not 0 < share <= 1:
        raise ValueError(f'a crop_pct of {share:g}')
    mode = str(details.get('crop_mode') or 'center')
    if mode == 'squash' and math.floor(size / share) == size:
        return None
    if mode != 'center':
        raise ModelError(
            f'{file} says crop_mode {mode}, which no resize rule here follows: move it away and '
            'pass --mean, --std, --interpolation and --resize')
    return math.floor(size / share)


def _labels(names: Any, file: Path) -> Optional[tuple[str, ...]]:
    if not names:
        return None
    if isinstance(names, Mapping):
        numbered = {int(key): value for key, value in names.items()}
        if sorted(numbered) != list(range(len(numbered))):
            raise LabelsError(
                f'the label_names of {file} are not numbered from 0 to {len(numbered) - 1}: pass '
                '--labels FILE')
        names = [numbered[index] for index in range(len(numbered))]
    return check_labels(tell_apart([str(name) for name in names]), f'the label_names of {file}')
