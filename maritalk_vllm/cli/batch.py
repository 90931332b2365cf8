"""`maritalk-vllm batch`: submit a file of requests to a running server, follow its batch, and fetch the results."""

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import setproctitle
import typer

from ..errors import MariTalkError, UsageError
from ..i18n.message import msg, numeral
from ..i18n.rendering import localized, say
from ..text_format import table
from . import path_options, standard_streams
from .progress_bar import ProgressBar
from .runner import HELP
from .server_options import CA_CERTIFICATES, DEFAULT_URL, KEY, URL, server_address

if TYPE_CHECKING:
    from ..tools.batch.batch_client import BatchClient
    from ..tools.batch.batch_object import Batch

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, context_settings=HELP)

_ID = Annotated[str, typer.Argument(help="The batch's id, which submit and list print.", metavar="ID")]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def batch() -> None:
    """Process a file of requests in the server's idle time."""


@app.command()
def submit(
    file: Annotated[
        Path, typer.Argument(help="The requests, as JSONL.", metavar="FILE", callback=path_options.checked)
    ],
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="The path that all of its requests are for.", metavar="PATH", show_default="that of the first line"
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the batch has ended.")] = False,
    url: URL = DEFAULT_URL,
    api_key: KEY = None,
    cacert: CA_CERTIFICATES = None,
) -> None:
    """Check a file, upload it, and start a batch. The batch's id is printed.

    With --wait, exit code 1: the batch did not complete, or a request in it failed.
    """
    from ..tools.batch.batch_file import check, unreadable
    from ..tools.batch.waiting import wait as wait_for

    checked = check(file, endpoint)
    with _client(url, api_key, cacert) as client:
        with ProgressBar("Uploading", in_bytes=True) as bar:
            try:
                file_id = client.upload(checked, bar.show)
            except OSError as error:
                raise unreadable(file, error) from error
        started = client.create(file_id, checked.endpoint)
        try:
            print(started.id, flush=True)
            if not wait:
                return
            with ProgressBar(started.status, in_bytes=False) as bar:
                ended = wait_for(
                    client,
                    started,
                    lambda batch: bar.show(batch.done, batch.total or None, batch.status),
                    lambda outage: standard_streams.note(localized(outage.text)),
                )
        except KeyboardInterrupt:
            standard_streams.note(say("The batch continues: maritalk-vllm batch show {id}", id=started.id))
            raise
    _report(ended)


@app.command(name="list")
def list_batches(
    limit: Annotated[int, typer.Option(help="The most that are listed.", metavar="N", min=1, max=100)] = 20,
    after: Annotated[
        str | None, typer.Option(help="List from after this one.", metavar="ID", show_default="from the newest")
    ] = None,
    as_json: _JSON = False,
    url: URL = DEFAULT_URL,
    api_key: KEY = None,
    cacert: CA_CERTIFICATES = None,
) -> None:
    """List the batches of this API key, the newest first."""
    with _client(url, api_key, cacert) as client:
        batches, has_more = client.batches(limit, after)
    if as_json:
        _print_json([each.content for each in batches])
    else:
        header = tuple(map(localized, ("id", "status", "done", "failed", "endpoint", "created")))
        print("\n".join(table([header, *map(_cells, batches)])))
    if has_more:
        standard_streams.note(say("There are more: maritalk-vllm batch list --after {id}", id=batches[-1].id))


@app.command()
def show(
    id: _ID, as_json: _JSON = False, url: URL = DEFAULT_URL, api_key: KEY = None, cacert: CA_CERTIFICATES = None
) -> None:
    """Show a batch. That is its status, how many requests are done, and its files."""
    with _client(url, api_key, cacert) as client:
        batch = client.retrieve(id)
    if as_json:
        _print_json(batch.content)
    else:
        print("\n".join([*table(_rows(batch)), *_line_errors(batch)]))


@app.command()
def cancel(id: _ID, url: URL = DEFAULT_URL, api_key: KEY = None, cacert: CA_CERTIFICATES = None) -> None:
    """Cancel a batch. What is done can still be fetched."""
    with _client(url, api_key, cacert) as client:
        print(f"{id}: {client.cancel(id).status}")


@app.command()
def fetch(
    id: _ID,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write.",
            metavar="FILE",
            show_default="print them",
            callback=path_options.checked,
        ),
    ] = None,
    errors: Annotated[
        bool, typer.Option("--errors", help="Fetch the requests that failed instead, with their errors.")
    ] = False,
    url: URL = DEFAULT_URL,
    api_key: KEY = None,
    cacert: CA_CERTIFICATES = None,
) -> None:
    """Fetch the results of a batch that has ended, as JSONL."""
    with _client(url, api_key, cacert) as client:
        batch = client.retrieve(id)
        file_id = batch.error_file_id if errors else batch.output_file_id
        if file_id is None:
            raise _nothing_to_fetch(batch, errors=errors)
        if output is None:
            client.download(file_id, sys.stdout.buffer, lambda *_: None)
        else:
            with _written_at_once(output) as out, ProgressBar("Downloading", in_bytes=True) as bar:
                client.download(file_id, out, bar.show)
    if batch.failed and not errors:
        standard_streams.note(_failed_note(batch))


def _client(url: str, key: str | None, ca_file: Path | None) -> "BatchClient":
    from ..tools.batch.batch_client import BatchClient

    setproctitle.setproctitle("maritalk-vllm batch")
    return BatchClient(server_address(url, key, ca_file))


def _report(batch: "Batch") -> None:
    """Say how the batch ended. Raises typer.Exit unless every request was answered."""
    standard_streams.note(
        say(
            "Status of the batch: {status}. Requests done: {done} of {total}; failed: {failed}.",
            status=batch.status,
            done=numeral(batch.done, ","),
            total=numeral(batch.total, ","),
            failed=numeral(batch.failed, ","),
        )
    )
    for line in _line_errors(batch):
        standard_streams.note(line)
    if not batch.has_succeeded:
        raise typer.Exit(1)


def _nothing_to_fetch(batch: "Batch", *, errors: bool) -> MariTalkError:
    if not batch.is_final:
        return MariTalkError(
            msg(
                "Status of the batch: {status}. Requests done: {done} of {total}.",
                status=batch.status,
                done=numeral(batch.done, ","),
                total=numeral(batch.total, ","),
            ),
            "Fetch the results when it has ended.",
        )
    if errors:
        return MariTalkError("No request of the batch has failed.")
    hint = _failed_note(batch) if batch.failed else msg("See why: maritalk-vllm batch show {id}", id=batch.id)
    return MariTalkError(msg("Status of the batch: {status}. No request was answered.", status=batch.status), hint)


def _failed_note(batch: "Batch") -> str:
    return say(
        "Requests that failed: {failed}. Fetch them with maritalk-vllm batch fetch {id} --errors",
        failed=numeral(batch.failed, ","),
        id=batch.id,
    )


def _cells(batch: "Batch") -> tuple[str, ...]:
    done = f"{batch.done}/{batch.total}"
    return batch.id, batch.status, done, str(batch.failed), batch.endpoint, _time(batch.created_at)


def _rows(batch: "Batch") -> list[tuple[str, str]]:
    rows = {
        "id": batch.id,
        "status": batch.status,
        "endpoint": batch.endpoint,
        "done": f"{batch.done}/{batch.total}",
        "failed": str(batch.failed),
        "created": _time(batch.created_at),
        "expires": _time(batch.expires_at),
        "output file": batch.output_file_id or "-",
        "error file": batch.error_file_id or "-",
    }
    return [(localized(name), value) for name, value in rows.items()]


def _line_errors(batch: "Batch") -> Iterator[str]:
    for error in batch.errors:
        yield (
            error.message
            if error.line is None
            else say("Line {line}: {message}", line=error.line, message=error.message)
        )


def _time(seconds: int | None) -> str:
    return "-" if seconds is None else f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


@contextlib.contextmanager
def _written_at_once(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when all of it is written. Raises UsageError if it cannot be written."""
    # A device or a pipe is written directly.
    partial = path if path.exists() and not path.is_file() else path.with_name(f"{path.name}.part")
    try:
        try:
            with partial.open("wb") as out:
                yield out
            if partial != path:
                partial.replace(path)
        except BaseException:
            if partial != path:
                partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            msg("{file} cannot be written: {reason}.", file=path, reason=error.strerror), "Choose another --output."
        ) from error
