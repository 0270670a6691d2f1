"""
Reading pickles of plain values without running them.

A pickle is a program for a stack machine, and Python's own `pickle` imports and calls whatever
that program names. Here only the opcodes are taken that build dicts, lists, tuples, strings and
numbers. A name stays a name, and what is made of a call or of a reference to something outside of
the pickle is up to the caller, who knows the few that may occur. Any other opcode is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
import pickletools
from typing import Any, BinaryIO, Callable, Optional

#: Opcodes that push their argument.
_ARGUMENTS = {'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINUNICODE'}
#: Opcodes that push a value of their own.
_VALUES: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None, 'NEWTRUE': lambda: True, 'NEWFALSE': lambda: False,
    'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple}
#: Steps of the longest pickle that is read: an object of each byte of a large file would not fit
#: into memory. That of EfficientNet-Lite0 takes 10,696.
_MOST_STEPS = 1 << 20
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


@dataclass(frozen=True)
class Name:
    """
    Something that the pickle names, such as a class; it is not imported.

    :param text: module and name, 'collections.OrderedDict'.
    """

    text: str


def read_pickle(
        file: BinaryIO, call: Callable[[Name, tuple[Any, ...]], Any],
        outside: Callable[[Any], Any]) -> Any:
    """
    Read one pickle; the file stands behind it then.

    :param file: in memory, such as a BytesIO: lengths in a damaged one may be of any size.
    :param call: gives what stands for the call of a name with arguments, or raises ValueError.
    :param outside: gives what stands for a persistent id, or raises ValueError.
    :returns: dicts with strings as keys, lists, tuples, strings, int, bool, None, `Name`, and
        what the two returned.
    :raises ValueError: if it is damaged or needs more than that, in words.
    """
    machine = _Machine(call, outside)
    try:
        for number, (opcode, argument, position) in enumerate(pickletools.genops(file)):
            if number == _MOST_STEPS:
                raise ValueError('a pickle in it has more steps than any state dict')
            machine.step(opcode.name, argument, position)
        return machine.pop()
    except (IndexError, KeyError) as error:
        raise ValueError('a pickle in it takes values that it has not made') from error


class _Machine:
    """The stack, its marks and the memo of one pickle."""

    def __init__(
            self, call: Callable[[Name, tuple[Any, ...]], Any],
            outside: Callable[[Any], Any]) -> None:
        self._call = call
        self._outside = outside
        self._stack: list[Any] = []
        #: What lay on the stack below each mark.
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[], None]] = {
            'MARK': self._mark, 'TUPLE': self._tuple, 'SETITEM': self._set_one,
            'SETITEMS': self._set_several, 'APPEND': self._append_one,
            'APPENDS': self._append_several, 'REDUCE': self._reduce, 'BINPERSID': self._refer,
            'BUILD': self._build}

    def pop(self) -> Any:
        """Take the topmost value."""
        return self._stack.pop()

    def step(self, opcode: str, argument: Any, position: Optional[int]) -> None:
        """Take one step of the program."""
        if opcode in _ARGUMENTS:
            self._stack.append(argument)
        elif opcode in _VALUES:
            self._stack.append(_VALUES[opcode]())
        elif opcode in ('BINPUT', 'LONG_BINPUT'):
            self._memo[argument] = self._stack[-1]
        elif opcode in ('BINGET', 'LONG_BINGET'):
            self._stack.append(self._memo[argument])
        elif opcode in _TUPLES:
            values = [self.pop() for _ in range(_TUPLES[opcode])]
            self._stack.append(tuple(reversed(values)))
        elif opcode == 'GLOBAL':
            self._stack.append(Name(argument.replace(' ', '.', 1)))
        elif opcode in self._steps:
            self._steps[opcode]()
        elif opcode not in ('PROTO', 'STOP'):
            raise ValueError(
                f'the opcode {opcode} at byte {position} is none that plain tensors need')

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _pop_to_mark(self) -> list[Any]:
        values = self._stack
        self._stack = self._below.pop()
        return values

    def _tuple(self) -> None:
        values = self._pop_to_mark()
        self._stack.append(tuple(values))

    def _set_one(self) -> None:
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def _set_several(self) -> None:
        self._set(self._pop_to_mark())

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        keys = values[::2]
        if not (isinstance(target, dict) and len(values) % 2 == 0
                and all(isinstance(key, str) for key in keys)):
            raise ValueError('a pickle in it fills something else than a dict by names')
        target.update(zip(keys, values[1::2]))

    def _append_one(self) -> None:
        self._append([self.pop()])

    def _append_several(self) -> None:
        self._append(self._pop_to_mark())

    def _append(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError('a pickle in it appends to something else than a list')
        self._stack[-1].extend(values)

    def _reduce(self) -> None:
        arguments, name = self.pop(), self.pop()
        if not (isinstance(name, Name) and isinstance(arguments, tuple)):
            raise ValueError('a pickle in it calls something without a name')
        self._stack.append(self._call(name, arguments))

    def _refer(self) -> None:
        self._stack.append(self._outside(self.pop()))

    def _build(self) -> None:
        # Attributes of a dict, such as the `_metadata` of a state dict: nobody here reads them.
        self.pop()
        if not isinstance(self._stack[-1], dict):
            raise ValueError('a pickle in it sets attributes of something else than a dict')
