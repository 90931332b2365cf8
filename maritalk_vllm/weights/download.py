"""A large file, over a network that breaks: resumed where it stopped, as long as it is the same file."""

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from ..errors import WeightsError
from ..models.atomic_install import check_space
from ..text_format import gigabytes, pluralize
from .archive import HEAD_BYTES, looks_like_archive
from .download_progress import Progress
from .file_request import Unfit, opened
from .partial_file import Identity, Link, PartialFile


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a silent server is waited for, and the pauses before each new try, all in seconds.

    The pauses begin anew whenever something arrived; after the last the download ends with an error.
    """

    silence: float = 30
    pauses: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 60)


MOST_BEGINNINGS = 5
"""So often is a file begun that changes while it is fetched, or whose server cannot resume."""

_TELL = "Tell the licence's issuer."


class _Retryable(Exception):
    """Worth another try, after a pause of at least so many seconds."""

    def __init__(self, reason: str, pause: float = 0) -> None:
        super().__init__(reason)
        self.pause = pause


class _LinkExpired(Exception):
    """The link does not lead to the file, or not any more."""


_MOST_DIGITS = 20
"""Of a number in a header: no file has more bytes."""


class Download:
    """One file on its way to `part`. Killed at any moment, another with the same part goes on where it stopped."""

    def __init__(
        self,
        part: PartialFile,
        ask: Callable[[], Link],
        what: str,
        progress: Progress,
        patience: RetryPolicy | None = None,
        most_bytes: int | None = None,
    ) -> None:
        """`ask` gives a link to the file `what`; it is asked again when the one before has expired.

        `most_bytes` is the bound where the link says no size. Half of the free disk is one too: what comes is unpacked.
        """
        self._part = part
        self._ask = ask
        self._what = what
        self._progress = progress
        self._patience = patience or RetryPolicy()
        self._most_bytes = most_bytes
        self._beginnings = 0

    def run(self) -> Link:
        """Fetch all of it, and return the link by which it came.

        Raises WeightsError; what is here then stays, unless it is of no use.
        """
        link, is_new, tries = self._ask(), True, 0
        while True:
            before = self._part.size
            try:
                asyncio.run(self._go_on(link))
                return link
            except Unfit as error:
                raise WeightsError(f"{self._what} cannot be fetched: {error}.", _TELL) from error
            except _LinkExpired as error:
                if is_new:
                    raise WeightsError(f"{self._what} cannot be fetched: {error}.", _TELL) from error
                link, is_new = self._ask(), True
                continue
            except (_Retryable, httpx.TransportError) as error:
                broken = error if isinstance(error, _Retryable) else _Retryable(self._reason(error))
            is_new = False
            tries = 0 if self._part.size > before else tries
            if tries == len(self._patience.pauses):
                raise WeightsError(
                    f"The download of {self._what} broke off {pluralize(tries + 1, 'time')} in a row: {broken}. "
                    f"{gigabytes(self._part.size)} are here and kept.",
                    "Run it again to go on.",
                ) from broken
            pause = max(self._patience.pauses[tries], broken.pause)
            tries += 1
            self._progress(f"Trying again in {pause:.0f} s: {broken}", self._part.size, link.size)
            time.sleep(pause)

    async def _go_on(self, link: Link) -> None:
        """One request for what is missing, to its end."""
        identity = self._part.identity()
        if identity is None or not identity.may_be(link) or not identity.can_be_resumed:
            identity = None
            self._part.forget()
        here = self._part.size
        if identity and here and here == identity.size:
            return
        headers: dict[str, str] = {}
        if identity and here:
            headers["Range"] = f"bytes={here}-"
            if identity.validator:
                headers["If-Range"] = identity.validator
        async with opened(link.url, headers, self._patience.silence) as answer:
            self._check_status(answer, resuming="Range" in headers)
            if answer.status_code == httpx.codes.OK:
                identity = self._begin(answer, link)
            elif identity is None or not _continues(answer, identity, here):
                self._part.forget()
                raise _Retryable("the file on the server has changed")
            await self._receive(answer, identity)

    def _check_status(self, answer: httpx.Response, *, resuming: bool) -> None:
        status = answer.status_code
        if status == httpx.codes.OK or (resuming and status in (206, 416)):
            return
        says = f"its server answers {status}"
        if status in (408, 425, 429) or status >= 500:
            raise _Retryable(says, min(_number(answer.headers.get("retry-after", "")) or 0, max(self._patience.pauses)))
        raise _LinkExpired(says)

    def _begin(self, answer: httpx.Response, link: Link) -> Identity:
        """The answer is of the whole file: whatever is here is of another, or the server cannot resume."""
        self._beginnings += 1
        if self._beginnings > MOST_BEGINNINGS:
            self._part.forget()
            raise WeightsError(
                f"The download of {self._what} was begun {MOST_BEGINNINGS} times in vain: "
                "its server changes the file, or breaks off and cannot resume.",
                _TELL,
            )
        size = _number(answer.headers.get("content-length", ""))
        size = link.size if size is None else size
        if link.size not in (None, size):
            self._part.forget()
            raise WeightsError(f"{self._what} should have {link.size:,} bytes, and its server has {size:,}.", _TELL)
        most = self._most_bytes
        if link.size is None and size is not None and most is not None and size > most:
            self._part.forget()
            raise WeightsError(
                f"{self._what} has at most {gigabytes(most)}, and its server would send {gigabytes(size)}.", _TELL
            )
        identity = Identity(size, _validator(answer), link.sha256)
        self._part.begin(identity)
        return identity

    async def _receive(self, answer: httpx.Response, identity: Identity) -> None:
        step, size, done = f"Downloading {self._what}", identity.size, self._part.size
        if size is not None:
            # The archive, and the same once more unpacked.
            check_space(self._part.file.parent, 2 * size - done, self._what)
        most = self._most(size, done)
        self._progress(step, done, size)
        async for chunk in answer.aiter_raw():
            if done + len(chunk) > most:
                raise self._too_long(size, most)
            if done < HEAD_BYTES <= done + len(chunk):
                self._check_head(chunk)
            self._part.append(chunk)
            done += len(chunk)
            self._progress(step, done, size)
        if size is not None and done != size:
            raise _Retryable(f"its server sent {done:,} of {size:,} bytes")

    def _most(self, size: int | None, done: int) -> int:
        """So many bytes are kept, and not one more."""
        if size is not None:
            return size
        room = done + shutil.disk_usage(self._part.file.parent).free // 2
        return room if self._most_bytes is None else min(room, self._most_bytes)

    def _too_long(self, size: int | None, most: int) -> WeightsError:
        self._part.forget()
        if size is not None:
            return WeightsError(f"{self._what} should have {size:,} bytes, and its server sends more.", _TELL)
        return WeightsError(
            f"The server of {self._what} does not say its size, and sends more than {gigabytes(most)}.", _TELL
        )

    def _check_head(self, chunk: bytes) -> None:
        here = self._part.file.read_bytes() if self._part.size else b""
        if not looks_like_archive((here + chunk)[:HEAD_BYTES]):
            self._part.forget()
            raise WeightsError(
                f"What the link to {self._what} gives is neither a zip nor a tar file.",
                "MariTalk Local's own service gives its closed program. Ask for the weights, "
                "and serve them with --model PATH.",
            )

    def _reason(self, error: httpx.TransportError) -> str:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return f"its server cannot be reached ({error})"
        if isinstance(error, httpx.TimeoutException):
            return f"its server was silent for {self._patience.silence:.0f} s"
        return "the connection broke"


def _continues(answer: httpx.Response, identity: Identity, here: int) -> bool:
    """Whether a partial answer begins where the file here ends, and is of the same file."""
    span, _, total = answer.headers.get("content-range", "").removeprefix("bytes ").partition("/")
    return (
        answer.status_code == httpx.codes.PARTIAL_CONTENT
        and span.startswith(f"{here}-")
        and identity.size in (None, _number(total))
        and identity.validator in (None, _validator(answer))
    )


def _number(text: str) -> int | None:
    """The number in a header; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _validator(answer: httpx.Response) -> str | None:
    """A sign of the file's content that `If-Range` takes (RFC 9110, 13.1.5): a strong ETag, else its date."""
    tag: str | None = answer.headers.get("etag")
    return tag if tag and not tag.startswith("W/") else answer.headers.get("last-modified")
