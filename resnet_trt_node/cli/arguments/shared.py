"""Options that several commands share."""

from __future__ import annotations

from argparse import Action, ArgumentError, ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any, Optional, Sequence, Tuple, Union

from resnet_trt_node.cli.support.parser import CommandParser
from resnet_trt_node.cli.support.regions.options import CROP_OPTIONS
from resnet_trt_node.datasets.names import TABLE_NAME
from resnet_trt_node.imaging.limits import MAX_FILE_IMAGE_BYTES
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields
from resnet_trt_node.text.printable import printable

#: What is said of one word too many where pictures are an option.
IMAGES_SURPLUS = 'give the pictures with --images'
#: What stands for pictures that are made up.
GENERATED = 'generated'
#: Columns of a table of crops, in any order.
CROP_COLUMNS = ('file', 'center_x', 'center_y', 'width', 'height', 'class')
#: What pictures with their classes may be, for the help of their argument.
LABELLED_HELP = (
    'pictures in a folder, a zip file or a folder inside a zip file (pictures.zip/test): with a '
    "table of classes, or in one folder per class, named like the model's labels")
_LABELS_HELP = (
    'class names: one per line in the order of the outputs, or numbered from 0 in a text, CSV, '
    "JSON or YAML file, such as Hugging Face's config.json")
#: Upper bound of --max-image-mib: 1 TiB.
_MAX_MEBIBYTES = 1 << 20
#: More letters would not fit beside an option in 80 columns.
_LONGEST_CHOICES = 50
_ENGINES = ('.engine', '.plan', '.trt')
_CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.safetensors')


class _Once(Action):
    """Stores the one file that is written; `const` is what else a second one may be meant for."""

    def __call__(
            self, parser: ArgumentParser, namespace: Namespace,
            values: Union[str, Sequence[Any], None], option_string: Optional[str] = None) -> None:
        """Store the value, and refuse a second one."""
        if getattr(namespace, self.dest) != self.default:
            raise ArgumentError(
                self, f'given twice, but there is only one output; {self.const}')
        setattr(namespace, self.dest, values)


def add_model(parser: CommandParser) -> None:
    """Add MODEL, a deployable one."""
    parser.add_argument_group('model').add_argument(
        'model', metavar='MODEL',
        help='deployable ONNX model, made by `resnet_trt export` or `resnet_trt prepare`')


def add_output(
        parser: CommandParser, metavar: str, text: str, *, kind: Any = Path,
        default: Any = None, required: bool = False, elsewhere: str = '') -> None:
    """
    Add -o and --output.

    :param metavar: what it is, such as OUT.onnx.
    :param text: its help.
    :param kind: type of the value, or a function of its text.
    :param elsewhere: what else a second one may be meant for, which is an error then; without
        it the last one counts.
    """
    once: dict[str, Any] = {'action': _Once, 'const': elsewhere} if elsewhere else {}
    parser.add_argument_group('output').add_argument(
        '-o', '--output', type=kind, default=default, required=required, metavar=metavar,
        help=text, **once)


def onnx_file(text: str) -> Path:
    """Return the path of a model that is written, for the parser of an option."""
    path = Path(text)
    if path.suffix.lower() in _ENGINES:
        model = printable(path.with_suffix('.onnx'))
        raise ArgumentTypeError(
            f'{printable(text)} would be an engine, and this writes ONNX: write -o {model}, '
            f'then `resnet_trt build {model}`')
    if path.suffix.lower() in _CHECKPOINTS:
        raise ArgumentTypeError(
            f'{printable(text)} would be a checkpoint, and this writes ONNX: write '
            f'-o {printable(path.with_suffix(".onnx"))}')
    return path


def add_json(parser: CommandParser, text: str = 'print the report as JSON') -> None:
    """Add --json."""
    parser.add_argument_group('output').add_argument('--json', action='store_true', help=text)


def add_class_names(parser: CommandParser, otherwise: str) -> None:
    """Add --labels of a model that is made; `otherwise` says which names it gets without."""
    parser.add_argument_group('model').add_argument(
        '--labels', type=Path, metavar='FILE', help=f'{_LABELS_HELP}; {otherwise}')


def batch_sizes(text: str) -> Tuple[int, ...]:
    """Parse batch sizes such as '1,64', for the parser of an option."""
    try:
        return tuple(int(part) for part in text.split(','))
    except ValueError as error:
        raise ArgumentTypeError(
            f'{printable(repr(text))}: write numbers with commas, such as 1,64') from error


def add_opt_batch_size(group: Any, usual: str = 'the largest') -> None:
    """Add --opt-batch-size to a group; `usual` is what the help says of its default."""
    group.add_argument(
        '--opt-batch-size', type=batch_sizes, metavar='N[,N...]',
        help='batch sizes that the engine is optimised for, such as 1,64; each adds one build; '
        f'default: {usual}')


def add_backend(parser: CommandParser, device: bool = True) -> None:
    """Add the options of the backend and of resizing; without a `device`, others choose it."""
    group = parser.add_argument_group('inference')
    add_node_options(group, 'backend')
    group.add_argument(
        '--batch-size', type=int, default=8, metavar='N',
        help='maximum number of pictures per batch')
    add_node_options(
        group, *(('device',) if device else ()), 'threads', 'sparse_weights',
        'version_compatible', 'engine_host_code', 'engine_dir', 'optimization_level',
        'preprocess', 'resize_method')
    add_opt_batch_size(group)


#: What an option's help adds to the description of the node's parameter.
_OPTION_NOTES = {
    'resize_method': 'exact gives the answers of a node that preprocesses on the GPU; without '
    'effect on what is preprocessed there'}


def add_node_options(group: Any, *names: str) -> None:
    """
    Add options that mean what the node's parameters of these names do.

    That of a list is given once for each of its values, and is None where it is not given.

    :param group: a parser or a group of its arguments.
    """
    for name in names:
        parameter = parameter_fields()[name]
        kind: Any = type(parameter.default)
        choices = parameter.metadata['choices']
        text = '; '.join(filter(None, (
            parameter.metadata['description'].rstrip('.'), _OPTION_NOTES.get(name))))
        listed = ', '.join(choices)
        is_long = len(listed) > _LONGEST_CHOICES
        if is_long:
            text += f'; one of {listed}'
        taken: dict[str, Any] = {'action': 'store_true'} if kind is bool else {
            'action': 'append', 'metavar': 'NAME'} if kind is tuple else {
            'type': _gpu if name == 'device' else kind, 'choices': choices or None,
            'default': parameter.default,
            'metavar': None if choices and not is_long else 'N' if kind is not str else
            'DIR' if name.endswith('_dir') else 'NAME'}
        group.add_argument(
            f'--{name.replace("_", "-")}', dest=name,
            help=text[0].lower() + text[1:] + '; repeatable' * (kind is tuple),
            **taken)


def _gpu(text: str) -> int:
    """Parse 1 or cuda:1, for the parser of an option; train has names of devices too."""
    index = text.removeprefix('cuda:')
    if not (index.isascii() and index.removeprefix('-').isdigit()):
        raise ArgumentTypeError(
            f'{printable(repr(text))}: write the index of a GPU, such as 0; --backend chooses '
            'what runs on the CPU')
    return int(index)


def add_labelled_pictures(parser: CommandParser, text: str = LABELLED_HELP) -> None:
    """Add --images with classes, and which of them count."""
    parser.surplus = IMAGES_SURPLUS
    group = parser.add_argument_group('input')
    group.add_argument('--images', required=True, metavar='DIR|ZIP', help=text)
    group.add_argument(
        '--labels', metavar='TABLE',
        help='table of file and class, with tabs, commas or spaces between them; a class is an '
        f'index, a name or a WordNet id; default: {TABLE_NAME} in the folder of the pictures, '
        'otherwise class folders')
    group.add_argument(
        '--crops', metavar='TSV',
        help='evaluate boxes instead of whole pictures: a table whose first line names the '
        f'columns {", ".join(CROP_COLUMNS)} and, for rotated boxes, theta; class is a name or '
        'an index')
    group.add_argument(
        '--limit', type=int, metavar='N',
        help='use only N pictures or crops, evenly spaced over the table')
    add_node_options(parser.add_argument_group('cropping'), *CROP_OPTIONS)


def add_topics(parser: CommandParser, usual: str = '') -> None:
    """Add --topic of bags; `usual` is what the help says of its default."""
    parser.add_argument_group('input').add_argument(
        '--topic', action='append', metavar='TOPIC',
        help=f'image topic in the bag; repeatable{usual}')


def add_skip_bad(parser: CommandParser, constant: Optional[bool] = False) -> None:
    """
    Add --skip-bad.

    :param constant: its value where it is not given; None if the command has to know that.
    """
    parser.add_argument_group('input').add_argument(
        '--skip-bad', action='store_const', const=True, default=constant,
        help='list and skip pictures that cannot be read; default: the first one is an error')


def add_picture_memory(
        parser: CommandParser, default: Optional[int] = MAX_FILE_IMAGE_BYTES >> 20) -> None:
    """
    Add --max-image-mib.

    :param default: None if the command has to know whether the option was given.
    """
    parser.add_argument_group('input').add_argument(
        '--max-image-mib', type=_mebibytes, metavar='MIB', default=default,
        help='maximum memory for decoding a picture, in MiB'
        + (f'; default: {MAX_FILE_IMAGE_BYTES >> 20}' if default is None else ''))


def _mebibytes(text: str) -> int:
    """Parse a number of MiB, for the parser of an option."""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:12]) <= _MAX_MEBIBYTES:
        raise ArgumentTypeError(
            f'{printable(repr(text), 40)}: write a number of MiB, 1 to {_MAX_MEBIBYTES}')
    return int(text)
