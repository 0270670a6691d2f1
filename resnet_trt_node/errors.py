"""
The errors this package raises on purpose.

Every message names the cause and what to do next, so that command lines and the node can show it
as it is, without a traceback:

    ResnetTrtError              exit code 2
    +-- UsageError              an argument or parameter that cannot be used
    +-- ModelError              a model file that is missing, unreadable or not deployable
    |   +-- LabelsError         class names of the wrong count or form
    +-- BackendError            a runtime that cannot be opened
    |   +-- BackendUnavailable  not installed, or its device is not there
    |   +-- DeviceLost          it can be opened in another process only
    |   +-- InferenceError      it failed while running
    +-- FrameError              one camera frame or picture that cannot be used
    |   +-- AnswerError         what the model returned for it is no answer
    |   +-- DamagedPictureError cut off or damaged on its way
    |   +-- KeyFrameMissing     a video packet that needs a key frame before it
    +-- BagError                a bag that is missing, empty, unindexed or of other types
    +-- DataError               a folder or table of pictures that cannot be used
    +-- DownloadError           an address that cannot be reached, or sends something else
"""

from __future__ import annotations

from resnet_trt_node.text.printable import LINE_LIMIT, printable


class ResnetTrtError(Exception):
    """
    Base of every error that this package raises on purpose.

    Its text can be shown anywhere: it is one line, what it quotes of files, messages and libraries
    is escaped, and it is cut where it is no sentence any more.
    """

    exit_code = 2

    def __str__(self) -> str:
        """Return the message."""
        return printable(super().__str__(), LINE_LIMIT)


class UsageError(ResnetTrtError):
    """An argument or parameter that cannot be used."""


class ModelError(ResnetTrtError):
    """A model file that is missing, unreadable or not deployable."""


class LabelsError(ModelError):
    """Class names of the wrong count or form."""


class BackendError(ResnetTrtError):
    """A runtime that cannot be opened."""


class BackendUnavailable(BackendError):
    """A runtime that is not installed, or whose device is not there."""


class DeviceLost(BackendError):
    """A device that this process cannot use any more, while another process may."""


class InferenceError(BackendError):
    """A runtime that failed while running; it can be closed and opened again."""


class FrameError(ResnetTrtError):
    """One camera frame or picture that cannot be used; the next one can."""


class AnswerError(FrameError):
    """What a model returned for one frame is no class probabilities; the next may be."""


class DamagedPictureError(FrameError):
    """A picture that was cut off or damaged on its way; where it is from decides the advice."""


class KeyFrameMissing(FrameError):
    """A video packet that needs a key frame before it, which was not sent or got lost."""


class BagError(ResnetTrtError):
    """A bag that is missing, empty, unindexed or whose topics are of other types."""


class DataError(ResnetTrtError):
    """A folder or table of pictures that cannot be used."""


class DownloadError(ResnetTrtError):
    """An address that cannot be reached, or that sends something else than it should."""


def check_choice(
        what: str, value: object, choices: tuple[str, ...],
        error: type[ResnetTrtError] = UsageError) -> None:
    """
    Refuse a value that is none of the choices.

    :param what: its name in the message.
    :param value: what was given.
    :param choices: what is legal.
    :param error: the type to raise.
    :raises ResnetTrtError: of the given type, with the choices.
    """
    if value not in choices:
        raise error(f'unknown {what} {value!r}: choose one of {", ".join(choices)}')


def frame_error_text(error: Exception) -> str:
    """
    Return what is said of a frame that could not be decoded.

    :param error: a `FrameError`, or whatever else OpenCV or Pillow raised for it.
    """
    return str(error) if isinstance(error, FrameError) else repr(error)


def without_traceback(error: Exception) -> Exception:
    """Return an error that is to be kept, but not what the functions that raised it worked on."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error
