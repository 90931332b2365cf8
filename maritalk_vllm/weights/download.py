"""Download a large file over an unreliable network: resume where it stopped, if the file is still the same."""

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from ..errors import WeightsError
from ..i18n.message import Number, msg, pluralized
from ..licensing.http_address import connection_failure
from ..models.atomic_install import check_space
from ..models.catalogue import RECOMMENDED
from ..text_format import gigabytes
from .archive import HEAD_BYTES, looks_like_archive
from .download_progress import Progress
from .file_request import UnusableLink, open_response
from .partial_file import Identity, Link, PartialFile


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Timeout of a silent server and the pauses before each retry, all in seconds.

    Progress resets the sequence of pauses; when it is exhausted, the download fails.
    """

    silence: float = 30
    pauses: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 60)


MAX_STARTS = 5
"""How often a download starts from zero because the file changes, or because the server cannot resume."""

_HINT = "Tell the licence's issuer."


class _Retryable(Exception):
    """An error worth a retry, after at least `pause` seconds."""

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


class _LinkExpired(Exception):
    """The link does not lead to the file, or no longer."""


_MAX_DIGITS = 20
"""Most digits of a number in a header: no file has more bytes."""


class Download:
    """The download of one file into `part`. After a crash, a new download with the same part resumes it."""

    def __init__(
        self,
        part: PartialFile,
        get_link: Callable[[], Link],
        what: str,
        progress: Progress,
        retry_policy: RetryPolicy | None = None,
        max_bytes: int | None = None,
    ) -> None:
        """`get_link` returns a link to the file `what`; it is called again when the link has expired.

        `max_bytes` limits the size if the link does not give one. So does half of the free disk space, because the file
        is unpacked afterwards.
        """
        self._part = part
        self._get_link = get_link
        self._what = what
        self._progress = progress
        self._retry_policy = retry_policy or RetryPolicy()
        self._max_bytes = max_bytes
        self._starts = 0

    def run(self) -> Link:
        """Download the whole file, and return the link that worked.

        Raises WeightsError; the partial file is then kept, unless it is unusable.
        """
        link, link_is_new, retries = self._get_link(), True, 0
        while True:
            size_before = self._part.size
            try:
                asyncio.run(self._request_rest(link))
                return link
            except UnusableLink as error:
                raise WeightsError(
                    msg("{what} cannot be fetched: {error}.", what=self._what, error=error), _HINT
                ) from error
            except _LinkExpired as error:
                if link_is_new:
                    raise WeightsError(
                        msg("{what} cannot be fetched: {error}.", what=self._what, error=error), _HINT
                    ) from error
                link, link_is_new = self._get_link(), True
                continue
            except (_Retryable, httpx.TransportError) as error:
                failure = error if isinstance(error, _Retryable) else _Retryable(self._reason(error))
            link_is_new = False
            retries = 0 if self._part.size > size_before else retries
            if retries == len(self._retry_policy.pauses):
                raise WeightsError(
                    msg(
                        "The download of {what} broke off {times} in a row: {broken}. {size} are here and kept.",
                        what=self._what,
                        times=pluralized(retries + 1, "{number} time", "{number} times"),
                        broken=failure,
                        size=gigabytes(self._part.size),
                    ),
                    "Run it again to resume.",
                ) from failure
            pause = max(self._retry_policy.pauses[retries], failure.pause)
            retries += 1
            self._progress(
                msg("Trying again in {pause} s: {broken}", pause=Number(pause, ".0f"), broken=failure),
                self._part.size,
                link.size,
            )
            time.sleep(pause)

    async def _request_rest(self, link: Link) -> None:
        """Request the missing bytes, and receive them to the end."""
        identity = self._part.identity()
        if identity is None or not identity.matches(link) or not identity.is_resumable:
            identity = None
            self._part.discard()
        offset = self._part.size
        if identity and offset and offset == identity.size:
            return
        headers: dict[str, str] = {}
        if identity and offset:
            headers["Range"] = f"bytes={offset}-"
            if identity.validator:
                headers["If-Range"] = identity.validator
        async with open_response(link.url, headers, self._retry_policy.silence) as response:
            self._check_status(response, resuming="Range" in headers)
            if response.status_code == httpx.codes.OK:
                identity = self._start_over(response, link)
            elif identity is None or not _continues(response, identity, offset):
                self._part.discard()
                raise _Retryable("the file on the server has changed")
            await self._receive(response, identity)

    def _check_status(self, response: httpx.Response, *, resuming: bool) -> None:
        status = response.status_code
        if status == httpx.codes.OK or (resuming and status in (206, 416)):
            return
        reason = msg("its server answers {status}", status=status)
        if status in (408, 425, 429) or status >= 500:
            raise _Retryable(
                reason, min(_number(response.headers.get("retry-after", "")) or 0, max(self._retry_policy.pauses))
            )
        raise _LinkExpired(reason)

    def _start_over(self, response: httpx.Response, link: Link) -> Identity:
        """Start from zero: the response has the whole file, because it is another file or the server cannot resume."""
        self._starts += 1
        if self._starts > MAX_STARTS:
            self._part.discard()
            raise WeightsError(
                msg(
                    "The download of {what} was started {most_starts} times and never completed: its server changes "
                    "the file, or breaks off and cannot resume.",
                    what=self._what,
                    most_starts=MAX_STARTS,
                ),
                _HINT,
            )
        stated = _number(response.headers.get("content-length", ""))
        size = link.size if stated is None else stated
        if link.size is not None and stated is not None and stated != link.size:
            self._part.discard()
            raise WeightsError(
                msg(
                    "{what} should have {size} bytes, and its server has {stated}.",
                    what=self._what,
                    size=Number(link.size),
                    stated=Number(stated),
                ),
                _HINT,
            )
        limit = self._max_bytes
        if link.size is None and size is not None and limit is not None and size > limit:
            self._part.discard()
            raise WeightsError(
                msg(
                    "{what} has at most {size}, and its server would send {size2}.",
                    what=self._what,
                    size=gigabytes(limit),
                    size2=gigabytes(size),
                ),
                _HINT,
            )
        identity = Identity(size, _validator(response), link.sha256)
        self._part.start(identity)
        return identity

    async def _receive(self, response: httpx.Response, identity: Identity) -> None:
        step, size, done = msg("Downloading {what}", what=self._what), identity.size, self._part.size
        if size is not None:
            # Space for the rest of the archive, and for its unpacked files.
            check_space(self._part.file.parent, 2 * size - done, self._what)
        limit = self._byte_limit(size, done)
        self._progress(step, done, size)
        async for chunk in response.aiter_raw():
            if done + len(chunk) > limit:
                raise self._too_large(size, limit)
            if done < HEAD_BYTES <= done + len(chunk):
                self._check_is_archive(chunk)
            self._part.append(chunk)
            done += len(chunk)
            self._progress(step, done, size)
        if size is not None and done != size:
            raise _Retryable(
                msg("its server sent {number} of {number2} bytes", number=Number(done), number2=Number(size))
            )

    def _byte_limit(self, size: int | None, done: int) -> int:
        """The most bytes to accept."""
        if size is not None:
            return size
        available_bytes = done + shutil.disk_usage(self._part.file.parent).free // 2
        return available_bytes if self._max_bytes is None else min(available_bytes, self._max_bytes)

    def _too_large(self, size: int | None, limit: int) -> WeightsError:
        self._part.discard()
        if size is not None:
            return WeightsError(
                msg(
                    "{what} should have {number} bytes, and its server sends more.",
                    what=self._what,
                    number=Number(size),
                ),
                _HINT,
            )
        return WeightsError(
            msg(
                "The server of {what} does not say its size, and sends more than {size}.",
                what=self._what,
                size=gigabytes(limit),
            ),
            _HINT,
        )

    def _check_is_archive(self, chunk: bytes) -> None:
        received = self._part.file.read_bytes() if self._part.size else b""
        if not looks_like_archive((received + chunk)[:HEAD_BYTES]):
            self._part.discard()
            raise WeightsError(
                msg("What the link to {what} gives is neither a zip nor a tar file.", what=self._what),
                msg(
                    "MariTalk Local's own service gives its closed program. Ask for the weights, and serve them with "
                    "--model PATH, or use an open model, such as --model {name}.",
                    name=RECOMMENDED,
                ),
            )

    def _reason(self, error: httpx.TransportError) -> str:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return msg("its server cannot be reached ({error})", error=connection_failure(error))
        if isinstance(error, httpx.TimeoutException):
            return msg("its server was silent for {silence} s", silence=Number(self._retry_policy.silence, ".0f"))
        return "the connection broke"


def _continues(response: httpx.Response, identity: Identity, offset: int) -> bool:
    """Whether a partial response continues the local file at byte `offset`, and belongs to the same file."""
    span, _, total = response.headers.get("content-range", "").removeprefix("bytes ").partition("/")
    return (
        response.status_code == httpx.codes.PARTIAL_CONTENT
        and span.startswith(f"{offset}-")
        and identity.size in (None, _number(total))
        and identity.validator in (None, _validator(response))
    )


def _number(text: str) -> int | None:
    """Parse a number in a header; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS else None


def _validator(response: httpx.Response) -> str | None:
    """A validator for `If-Range` (RFC 9110, 13.1.5): a strong ETag, else the Last-Modified date."""
    tag: str | None = response.headers.get("etag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("last-modified")
