"""Every error that a person can meet: one sentence, what to do next, an exit code and an HTTP status."""

import re
from collections.abc import Iterator


class MariTalkError(Exception):
    """An error told to a person: `message` says what was wrong and by how much, `hint` what to do next."""

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    @property
    def code(self) -> str:
        """The kind of error, for programs: `does_not_fit`."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()


class UsageError(MariTalkError):
    """An option, a value or a configuration file that cannot be used."""

    exit_code = 2


class LicenseError(MariTalkError):
    """A licence key that is missing, unknown, or not for the model that was asked for."""

    exit_code = 3


class NoSuitableGPU(MariTalkError):
    """No GPU of this machine can serve the model."""

    exit_code = 4


class DoesNotFit(MariTalkError):
    """The GPUs, or the host's memory, are too small for the model as it was asked for; `short`: by how much."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "", short: str = "") -> None:
        super().__init__(message, hint)
        self.short = short or message.rstrip(".")


class WeightsError(MariTalkError):
    """The weights of the model are not here, not whole, or do not fit on the disk."""

    exit_code = 6


class EngineError(MariTalkError):
    """vLLM is missing, of an unknown version, failed to start, or died."""

    exit_code = 7


class PortError(MariTalkError):
    """The server cannot listen where it was told to."""

    exit_code = 8


class NotChecked(MariTalkError):
    """Nobody can say whether a model fits: its size is unknown, or a flag changes it by nobody knows how much."""

    exit_code = 9


class RequestError(MariTalkError):
    """A request that cannot be answered as it was sent."""

    http_status = 400


def too_long(prompt_tokens: int, max_tokens: int, limit: int) -> RequestError:
    """A prompt and the longest answer asked for that are too long together, in tokens."""
    return RequestError(
        f"The prompt has {prompt_tokens} tokens and max_tokens is {max_tokens}: "
        f"together {prompt_tokens + max_tokens}, over this model's limit of {limit}.",
        "Shorten the prompt or lower max_tokens.",
    )


class NoSuchModel(RequestError):
    """A request for a model that is not served."""

    http_status = 404


class NoSuchRoute(RequestError):
    """A request for a path that the server does not know."""

    http_status = 404


class MethodNotAllowed(RequestError):
    """A request by another method than its route's."""

    http_status = 405


class Unauthorized(RequestError):
    """A request without a key, where one is needed, or with a wrong one."""

    http_status = 401


class Forbidden(RequestError):
    """A request that the server does not answer, for its Host, its page or its key's scope."""

    http_status = 403


class HeadTooLarge(RequestError):
    """A request with more headers, chunks' extensions or trailers than the server takes."""

    http_status = 431


class BodyTooSlow(RequestError):
    """A request whose body did not arrive in time."""

    http_status = 408


class BodyTooLarge(RequestError):
    """A request whose body is longer than the server takes."""

    http_status = 413


class UnknownEncoding(RequestError):
    """A request whose body is encoded in a way that the server does not decode."""

    http_status = 415


class TooManyRequests(RequestError):
    """A request of somebody who has asked for as much as they may for now."""

    http_status = 429


class Unavailable(MariTalkError):
    """The server cannot take the request now; the same request may succeed later."""

    http_status = 503


def to_message(error: MariTalkError) -> dict[str, str]:
    """The error as plain data, to be told to another process."""
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint}


def from_message(message: dict[str, str]) -> MariTalkError:
    """The error that `to_message` of another process described."""
    kinds = {kind.__name__: kind for kind in _kinds(MariTalkError)}
    return kinds.get(message["error"], MariTalkError)(message["message"], message["hint"])


def _kinds(kind: type[MariTalkError]) -> Iterator[type[MariTalkError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)
