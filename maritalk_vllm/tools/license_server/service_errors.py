"""Error responses of the service: each has a message, an HTTP status, and a row in the audit log."""

from ...errors import MariTalkError


class ServiceError(MariTalkError):
    """A rejected request; `key` is the key's id and `model` the model, where known."""

    def __init__(self, message: str, *, key: int | None = None, model: str = "") -> None:
        super().__init__(message)
        self.key = key
        self.model = model


class Malformed(ServiceError):
    """An invalid request body."""

    http_status = 400


class UnknownKey(ServiceError):
    """A key that does not exist."""

    http_status = 401


class Forbidden(ServiceError):
    """A key or link that is expired, revoked, or not valid for this request."""

    http_status = 403


class NotHere(ServiceError):
    """Weights that this service does not have."""

    http_status = 404


class TooLong(ServiceError):
    """A body over the size limit."""

    http_status = 413


class Changed(ServiceError):
    """An archive whose file differs from the registered one."""

    http_status = 503
