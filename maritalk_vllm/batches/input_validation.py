"""Validates an input file, line by line, as far as lines can make the whole batch fail.

A request that the API rejects, such as one for an unknown model, fails alone, when it is computed. The codes are those
of OpenAI's batches, as Azure's reference lists them: https://learn.microsoft.com/azure/ai-services/openai/how-to/batch
"""

import hashlib
import time
from pathlib import Path

import msgspec

from ..api.openai_dialect import CHAT, COMPLETIONS, RESPONSES
from ..api.request_parsing import reason_and_field
from .batch_records import LineError
from .input_limits import MAX_LINES
from .input_line import MAX_LINE_BYTES, InputLine, endpoint_of, raw_lines

ENDPOINTS = (CHAT, COMPLETIONS, RESPONSES, "/generate", "/chat/generate")
"""The routes that lines may be for."""

MAX_ID_CHARACTERS = 256
_MAX_ERRORS = 50
_PAUSE_BYTES = 128 * 1024
_PAUSE_SECONDS = 0.002


class InvalidInput(Exception):
    """The input file is not valid. `errors`: the first of the reasons."""

    def __init__(self, errors: list[LineError]) -> None:
        super().__init__()
        self.errors = errors


def count_lines(file: Path, endpoint: str) -> int:
    """Return how many requests a valid input file has. Raises InvalidInput, and OSError.

    To be called in a thread. It pauses often, so that the event loop of the server hardly waits for the interpreter.
    """
    validator = _Validator(endpoint)
    unpaused = 0
    for number, line in raw_lines(file):
        validator.check(number, line)
        if validator.is_hopeless:
            break
        unpaused += len(line) + 256
        if unpaused > _PAUSE_BYTES:
            unpaused = 0
            time.sleep(_PAUSE_SECONDS)
    if not validator.total and not validator.errors:
        validator.errors.append(LineError(code="empty_file", message="The input file has no request."))
    if validator.errors:
        raise InvalidInput(validator.errors)
    return validator.total


class _Validator:
    def __init__(self, endpoint: str) -> None:
        self.total = 0
        self.errors: list[LineError] = []
        self._endpoint = endpoint
        self._decoder = msgspec.json.Decoder(InputLine)
        # Digests: the ids of 50,000 lines may be long.
        self._ids: set[bytes] = set()

    @property
    def is_hopeless(self) -> bool:
        """Whether no further line has to be looked at."""
        return len(self.errors) >= _MAX_ERRORS or self.total > MAX_LINES

    def check(self, number: int, line: bytes) -> None:
        """Check one line."""
        self.total += 1
        if self.total > MAX_LINES:
            message = f"The input file has more than {MAX_LINES:,} requests, the limit of a batch. Split it."
            self.errors.append(LineError(code="too_many_tasks", message=message))
            return
        if len(line) > MAX_LINE_BYTES:
            self._add(number, "invalid_request", f"The line is longer than {MAX_LINE_BYTES:,} bytes.")
            return
        try:
            request = self._decoder.decode(line)
        except msgspec.ValidationError as error:
            reason, field = reason_and_field(error)
            self._add(number, "invalid_request", f"The line is no request: {reason}.", field or None)
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = str(error).removeprefix("JSON is malformed: ")
            self._add(number, "invalid_json_line", f"The line is not JSON: {reason}.")
            return
        self._check_request(number, request)

    def _check_request(self, number: int, request: InputLine) -> None:
        identity = hashlib.blake2b(request.custom_id.encode(), digest_size=16).digest()
        if not 0 < len(request.custom_id) <= MAX_ID_CHARACTERS:
            length = f"has {len(request.custom_id)} characters; 1 to {MAX_ID_CHARACTERS} are possible"
            self._add(number, "invalid_request", f"The custom_id {length}.", "custom_id")
        elif identity in self._ids:
            message = f"Another line has the custom_id {request.custom_id!r} too. Each has to be unique."
            self._add(number, "duplicate_custom_id", message, "custom_id")
        elif request.method.upper() != "POST":
            self._add(number, "invalid_request", "The method has to be POST.", "method")
        elif endpoint_of(request.url) != self._endpoint:
            message = f"The url {request.url[:100]!r} is not the endpoint of the batch, {self._endpoint}."
            self._add(number, "url_mismatch", message, "url")
        elif not bytes(request.body).lstrip().startswith(b"{"):
            self._add(number, "invalid_request", "The body has to be an object.", "body")
        self._ids.add(identity)

    def _add(self, number: int, code: str, message: str, param: str | None = None) -> None:
        self.errors.append(LineError(code=code, message=message, line=number, param=param))
