"""
Make the folder that `resnet_trt fetch` gets models from: their files and an index.

    python tools/make_model_index.py resnet50.onnx -o models --licence BSD-3-Clause

The folder is served by any web server, attached to a release as it is, or copied onto a stick. A
second call adds models to it; one of the same name is replaced in the index.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import shutil
import sys
from typing import Optional, Sequence

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.contract.model_file import file_sha256, read_model_spec
from resnet_trt_node.downloads.index import INDEX_FILE, index_text, IndexEntry, read_index
from resnet_trt_node.downloads.models import MAX_INDEX_BYTES
from resnet_trt_node.errors import DownloadError, ResnetTrtError, UsageError
from resnet_trt_node.regular_file import read_regular


def entry_of(
        model: Path, name: str, licence: str, description: str = '', source: str = '',
        top1_percent: Optional[float] = None) -> IndexEntry:
    """
    Describe a deployable model for the index.

    :param source: where the weights are from; '' takes what the model says of itself.
    :raises ModelError: if it is not deployable.
    :raises DownloadError: for a name or figure that an index cannot hold.
    """
    spec, sha256 = read_model_spec(model), file_sha256(model)
    return IndexEntry(
        name=name, file=f'{name}-{sha256[:8]}.onnx', sha256=sha256, bytes=model.stat().st_size,
        precision=spec.precision, height=spec.height, width=spec.width,
        classes=spec.num_classes, licence=licence, description=description,
        source=source or spec.source, top1_percent=top1_percent)


def add_to_index(folder: Path, models: dict[Path, IndexEntry]) -> tuple[IndexEntry, ...]:
    """
    Copy models into a folder and write them into its index, made if there is none.

    :param models: file to what is to be said of it.
    :returns: all that the index has now, by name.
    :raises ResnetTrtError: if the folder's index is damaged, or it cannot be written to.
    """
    index = folder / INDEX_FILE
    entries = {entry.name: entry for entry in _present(index)}
    for model, entry in models.items():
        with whole_file(folder / entry.file) as temporary:
            shutil.copyfile(model, temporary)
        entries[entry.name] = entry
    found = tuple(entries[name] for name in sorted(entries))
    # Last: who reads it meanwhile finds the files that it names.
    with whole_file(index) as temporary:
        temporary.write_text(index_text(found), encoding='ascii')
    return found


def _present(index: Path) -> tuple[IndexEntry, ...]:
    try:
        return read_index(read_regular(index, MAX_INDEX_BYTES))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UsageError(f'cannot read {index}: {error.strerror or error}') from error
    except DownloadError as error:
        raise UsageError(f'{index} is there and cannot be added to: {error}') from error


def main(words: Optional[Sequence[str]] = None) -> int:
    """Run the tool; returns the exit code."""
    parser = argparse.ArgumentParser(
        description='Make files and index for `resnet_trt fetch` of deployable models.')
    parser.add_argument('models', nargs='+', type=Path, metavar='MODEL')
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='DIR')
    parser.add_argument(
        '--licence', required=True, help='of the weights of all MODELs, such as Apache-2.0')
    parser.add_argument('--name', help="of the only MODEL; not given: the file's")
    parser.add_argument('--description', default='', help='of the only MODEL, one line')
    parser.add_argument(
        '--source', default='', help="of the only MODEL's weights; not given: what it says itself")
    parser.add_argument(
        '--top1', type=float, metavar='PERCENT', help='published accuracy of the only MODEL')
    arguments = parser.parse_args(words)
    try:
        if len(arguments.models) > 1 and (
                arguments.name or arguments.description or arguments.source
                or arguments.top1 is not None):
            raise UsageError(
                '--name, --description, --source and --top1 are of one model: run this once for '
                'each')
        if len({model.stem for model in arguments.models}) < len(arguments.models):
            raise UsageError('two models have one name: run this once for each, with --name')
        entries = add_to_index(arguments.output, {
            model: entry_of(
                model, arguments.name or model.stem, arguments.licence, arguments.description,
                arguments.source, arguments.top1)
            for model in arguments.models})
    except ResnetTrtError as error:
        print(f'make_model_index: {error}', file=sys.stderr)
        return error.exit_code
    print(f'{arguments.output / INDEX_FILE}: {", ".join(entry.name for entry in entries)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
