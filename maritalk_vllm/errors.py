"""All errors that users can see: a message, a hint, an exit code and an HTTP status."""

import re

from .i18n.message import Message, msg, sentences


class MariTalkError(Exception):
    """Base of all errors shown to users: `message` says what is wrong and by how much, `hint` what to do."""

    exit_code = 1
    http_status = 500
    retry_after_seconds: int | None = None
    """Value of the `Retry-After` header; None for an error that a later attempt would get too."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return str(self.text).strip()

    @property
    def text(self) -> Message:
        """The message and the hint, to be rendered in the user's language."""
        return sentences(self.message, self.hint)

    @property
    def code(self) -> str:
        """Machine-readable error code, such as `does_not_fit`."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()


class UsageError(MariTalkError):
    """An invalid option, value or configuration file."""

    exit_code = 2


class LicenseError(MariTalkError):
    """A licence key that is missing, unknown, or not valid for the requested model."""

    exit_code = 3


class NoSuitableGPU(MariTalkError):
    """No GPU of this machine can serve the model."""

    exit_code = 4


class DoesNotFit(MariTalkError):
    """The GPUs or the host have too little memory for the requested model; `short` states the shortfall."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "", short: str = "") -> None:
        super().__init__(message, hint)
        self.short = short or message.rstrip(".")


class WeightsError(MariTalkError):
    """The model's weights are missing or incomplete, or do not fit on the disk."""

    exit_code = 6


class EngineError(MariTalkError):
    """vLLM is missing or of an unsupported version, failed to start, or died.

    `max_model_len` is the context in tokens with which a start would have had enough KV cache; None if that is unknown,
    or if another cause than a long context let it fail.
    """

    exit_code = 7

    def __init__(self, message: str, hint: str = "", *, max_model_len: int | None = None) -> None:
        super().__init__(message, hint)
        self.max_model_len = max_model_len


class PortError(MariTalkError):
    """The server cannot listen on the requested address and port; `is_in_use`: another program does, for now."""

    exit_code = 8

    def __init__(self, message: str, hint: str = "", *, is_in_use: bool = False) -> None:
        super().__init__(message, hint)
        self.is_in_use = is_in_use


class NotChecked(MariTalkError):
    """Whether a model fits is unknown: its size is, or a flag changes the size by an unknown amount."""

    exit_code = 9


class RequestError(MariTalkError):
    """An invalid request."""

    http_status = 400


def too_long(prompt_tokens: int, max_tokens: int, limit: int) -> RequestError:
    """The error for a prompt and max_tokens that together exceed the limit, in tokens."""
    return RequestError(
        msg(
            "The prompt has {prompt_tokens} tokens and max_tokens is {max_tokens}: together {max_tokens2}, over this "
            "model's limit of {limit}.",
            prompt_tokens=prompt_tokens,
            max_tokens=max_tokens,
            max_tokens2=prompt_tokens + max_tokens,
            limit=limit,
        ),
        "Shorten the prompt or lower max_tokens.",
    )


class NoSuchModel(RequestError):
    """A request for a model that is not served."""

    http_status = 404


class NoSuchRoute(RequestError):
    """A request for an unknown path."""

    http_status = 404


class NotFound(RequestError):
    """A request for a file or a batch that does not exist, or is another key's."""

    http_status = 404


class Conflict(RequestError):
    """A request that the state of a file or a batch does not permit."""

    http_status = 409


class MethodNotAllowed(RequestError):
    """A request with a method that its route does not have."""

    http_status = 405


class Unauthorized(RequestError):
    """A request with a missing or invalid API key."""

    http_status = 401


class Forbidden(RequestError):
    """A request that is rejected for its Host or Origin header, or for its key's scope."""

    http_status = 403


class HeadTooLarge(RequestError):
    """A request whose headers, chunk extensions or trailers exceed the limit."""

    http_status = 431


class BodyTooSlow(RequestError):
    """A request whose body did not arrive in time."""

    http_status = 408


class BodyTooLarge(RequestError):
    """A request whose body exceeds the size limit."""

    http_status = 413


class UnknownEncoding(RequestError):
    """A request whose body has an unsupported content encoding."""

    http_status = 415


class TooManyRequests(RequestError):
    """A request over a rate limit."""

    http_status = 429

    def __init__(self, message: str, hint: str = "", retry_after_seconds: int = 1) -> None:
        super().__init__(message, hint)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(MariTalkError):
    """The server cannot handle the request now; the same request may succeed later."""

    http_status = 503
    retry_after_seconds = 1


class NotOffered(MariTalkError):
    """A request for what this server was started without."""

    http_status = 501


class DiskFull(MariTalkError):
    """A request whose data does not fit on the server's disk."""

    http_status = 507
