"""Every way in which the service says no: one sentence, an HTTP status, and a row of the audit."""

from ...errors import MariTalkError


class ServiceError(MariTalkError):
    """A request that is refused; `key` is the id of the key that it was about, and `model` its model, where known."""

    def __init__(self, message: str, *, key: int | None = None, model: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.model = model


class Malformed(ServiceError):
    """A body that is no request."""

    http_status = 400


class UnknownKey(ServiceError):
    """A key that was never given out."""

    http_status = 401


class Forbidden(ServiceError):
    """A key or a link that is good no more, or not for this."""

    http_status = 403


class NotHere(ServiceError):
    """Weights that this service has not."""

    http_status = 404


class TooLong(ServiceError):
    """A body that is longer than any request."""

    http_status = 413


class Changed(ServiceError):
    """An archive on the disk that is not what was registered."""

    http_status = 503
