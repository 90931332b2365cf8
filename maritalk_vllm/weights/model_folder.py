"""The folder that `--model` names: found, or a sentence with what is there instead."""

import difflib
import errno
from pathlib import Path

from ..errors import UsageError, WeightsError

_BEGINNINGS = ("/", "./", "../", "~")
_GGUF = ".gguf"
_SHOWN = 100
"""How many characters of a name that cannot be one are repeated."""

SERVED = "a folder with config.json and *.safetensors, or a model of Hugging Face by its name"


def model_folder(model: str) -> Path | None:
    """The folder of this name, which can be read; None where `model` is a name of something else.

    Raises UsageError for a path that is not there, and WeightsError for one that is no folder or cannot be read.
    """
    if not model.strip():
        raise UsageError("The name of the model is empty.", "Give a profile, a folder or a Hugging Face name.")
    try:
        path = Path(model).expanduser()
    except RuntimeError:
        user = Path(model).parts[0].removeprefix("~")
        raise UsageError(f"There is no folder {model}: this machine has no user {user}.") from None
    try:
        path.stat()
    except FileNotFoundError:
        if _is_path(model):
            raise UsageError(f"There is no folder {model}.", _neighbour(path)) from None
        return None
    except NotADirectoryError:
        raise UsageError(f"There is no folder {model}: one of the folders on the way is a file.") from None
    except ValueError:
        raise UsageError("The name of the model has a NUL character.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"There is no folder {_shown(model)}: {error.strerror}.") from None
        raise _unreadable(path, error) from error
    if not path.is_dir():
        raise _no_folder(path)
    try:
        resolved = path.resolve()
        (resolved / "config.json").is_file()
        next(resolved.iterdir(), None)
    except OSError as error:
        raise _unreadable(path, error) from error
    return resolved


def holds_gguf(folder: Path) -> bool:
    """Whether its weights are in llama.cpp's form."""
    return any(file.suffix.lower() == _GGUF for file in folder.iterdir())


def _is_path(model: str) -> bool:
    """Whether this can be nothing but a path: a Hugging Face name has one slash, and does not begin so."""
    return model.startswith(_BEGINNINGS) or model in (".", "..") or model.count("/") > 1 or model.endswith(("/", _GGUF))


def _neighbour(path: Path) -> str:
    """A hint with the folder beside it that has nearly this name."""
    try:
        names = [each.name for each in path.parent.iterdir() if each.is_dir()]
    except OSError:
        return "Give the folder of a checkpoint."
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"Did you mean {path.parent / close[0]}?" if close else "Give the folder of a checkpoint."


def _no_folder(path: Path) -> WeightsError:
    if path.suffix.lower() == _GGUF:
        return WeightsError(f"{path} is a GGUF file, which is not served.", f"What is served is {SERVED}.")
    if (path.parent / "config.json").is_file():
        return WeightsError(f"{path} is a file, and no folder.", f"Give its folder: --model {path.parent}.")
    return WeightsError(f"{path} is a file, and no folder.", f"What is served is {SERVED}.")


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(f"The model {_shown(str(path))} cannot be read: {error.strerror}.")


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
