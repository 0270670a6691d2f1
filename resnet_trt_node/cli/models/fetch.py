"""`resnet_trt fetch`: gets a ready model from an index."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import shlex

from resnet_trt_node.cli.support.console import (
    count_of, log, print_json, print_table, Progress, write)
from resnet_trt_node.downloads.index import IndexEntry
from resnet_trt_node.downloads.models import (
    default_path, fetch_model, INDEX_VARIABLE, IndexPlace, models_at, named)
from resnet_trt_node.errors import UsageError


def run(arguments: argparse.Namespace) -> int:
    """List the models, or fetch one and print where it is."""
    index = arguments.index or os.environ.get(INDEX_VARIABLE)
    if not index:
        raise UsageError(
            'no release has published an index of models yet: pass --index URL|DIR or set '
            f'{INDEX_VARIABLE}; tools/make_model_index.py makes an index, and `resnet_trt export` '
            'a model without one')
    place = IndexPlace.of(index)
    if arguments.name is None or arguments.list:
        _refuse_for_list(arguments)
        _list(place, models_at(place, log), arguments.json)
        return 0
    entry = named(models_at(place, log), arguments.name)
    path = (arguments.output or default_path(entry)).absolute()
    with Progress(entry.bytes, 'B', arguments.json, scaled=True) as progress:
        how = fetch_model(place, entry, path, progress.advance)
    if arguments.json:
        print_json('fetch', {
            'index': str(place.index), 'path': str(path), 'how': how, **entry.to_dict()})
    elif arguments.print_path:
        write(str(path), whole=True)
    else:
        _report(entry, path, how)
    return 0


def _refuse_for_list(arguments: argparse.Namespace) -> None:
    if arguments.name is not None:
        raise UsageError('give NAME to fetch that model, or --list to list all: not both')
    for option, value in (('--output', arguments.output), ('--print-path', arguments.print_path)):
        if value:
            raise UsageError(f'{option} is for fetching a model: give its NAME')


def _list(place: IndexPlace, entries: tuple[IndexEntry, ...], as_json: bool) -> None:
    if as_json:
        print_json('fetch_list', {
            'index': str(place.index), 'models': [entry.to_dict() for entry in entries]})
        return
    print_table(
        ('name', 'precision', 'input', 'classes', 'top-1', 'MB', 'licence', 'description'),
        [(entry.name, entry.precision, f'{entry.width}x{entry.height}', str(entry.classes),
          '-' if entry.top1_percent is None else f'{entry.top1_percent:g} %',
          f'{entry.bytes / 1e6:.1f}', entry.licence or 'not stated', entry.description)
         for entry in entries], 'llrrrrl')
    write(f'{count_of(len(entries), "model")} in {place.index}')


def _report(entry: IndexEntry, path: Path, how: str) -> None:
    write(f'{path}: {how}, {entry.bytes / 1e6:.1f} MB, sha256 as in the index')
    write(f'  {entry.precision}, {entry.width}x{entry.height}, '
          f'{count_of(entry.classes, "class")}, licence: {entry.licence or "not stated"}')
    command = ['ros2', 'launch', 'resnet_trt_node', 'classify.launch.py', f'model_path:={path}']
    write(f'  {shlex.join(command)}', whole=True)
