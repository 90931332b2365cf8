"""Find the folder that `--model` names, or raise an error that describes what it found instead."""

import difflib
import errno
from pathlib import Path

from ..errors import UsageError, WeightsError
from ..i18n.message import msg

_PATH_PREFIXES = ("/", "./", "../", "~")
_GGUF = ".gguf"
_SHOWN = 100
"""How many characters of an invalid name an error repeats."""

SERVED = "a folder with config.json and *.safetensors, or a model of Hugging Face by its name"


def model_folder(model: str) -> Path | None:
    """Return the readable folder of this name; None if `model` is not a path.

    Raises UsageError for a path that does not exist, and WeightsError for one that is no folder or cannot be read.
    """
    if not model.strip():
        raise UsageError("The name of the model is empty.", "Give a profile, a folder or a Hugging Face name.")
    try:
        path = Path(model).expanduser()
    except RuntimeError:
        user = Path(model).parts[0].removeprefix("~")
        raise UsageError(
            msg("There is no folder {model}: this machine has no user {user}.", model=model, user=user)
        ) from None
    try:
        path.stat()
    except FileNotFoundError:
        if _is_path(model):
            raise UsageError(msg("There is no folder {model}.", model=model), _similar_folder(path)) from None
        return None
    except NotADirectoryError:
        raise UsageError(
            msg("There is no folder {model}: one of the folders on the way is a file.", model=model)
        ) from None
    except ValueError:
        raise UsageError("The name of the model has a NUL character.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(
                msg("There is no folder {model}: {reason}.", model=_shown(model), reason=error.strerror)
            ) from None
        raise _unreadable(path, error) from error
    if not path.is_dir():
        raise _not_a_folder(path)
    try:
        resolved = path.resolve()
        (resolved / "config.json").is_file()
        next(resolved.iterdir(), None)
    except OSError as error:
        raise _unreadable(path, error) from error
    return resolved


def holds_gguf(folder: Path) -> bool:
    """Whether the folder holds weights in GGUF, llama.cpp's format."""
    return any(file.suffix.lower() == _GGUF for file in folder.iterdir())


def _is_path(model: str) -> bool:
    """Whether this can only be a path: a Hugging Face name has one slash, and none of these prefixes."""
    return (
        model.startswith(_PATH_PREFIXES) or model in (".", "..") or model.count("/") > 1 or model.endswith(("/", _GGUF))
    )


def _similar_folder(path: Path) -> str:
    """A hint that suggests a folder with a similar name in the same place."""
    try:
        names = [each.name for each in path.parent.iterdir() if each.is_dir()]
    except OSError:
        return "Give the folder of a checkpoint."
    similar = difflib.get_close_matches(path.name, names, n=1)
    return msg("Did you mean {word}?", word=path.parent / similar[0]) if similar else "Give the folder of a checkpoint."


def _not_a_folder(path: Path) -> WeightsError:
    if path.suffix.lower() == _GGUF:
        return WeightsError(
            msg("{path} is a GGUF file, which is not served.", path=path),
            msg("What is served is {served}.", served=SERVED),
        )
    if (path.parent / "config.json").is_file():
        return WeightsError(
            msg("{path} is a file, not a folder.", path=path),
            msg("Give its folder: --model {parent}.", parent=path.parent),
        )
    return WeightsError(
        msg("{path} is a file, not a folder.", path=path), msg("What is served is {served}.", served=SERVED)
    )


def _unreadable(path: Path, error: OSError) -> WeightsError:
    return WeightsError(
        msg("The model {path} cannot be read: {reason}.", path=_shown(str(path)), reason=error.strerror)
    )


def _shown(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
