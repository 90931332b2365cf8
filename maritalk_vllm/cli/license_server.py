"""`maritalk-vllm license serve`, and the commands of its operator: keys, archives, audit log."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from platformdirs import user_data_path

from ..errors import UsageError
from ..i18n.message import msg
from ..i18n.rendering import localized, say
from ..models.profile import find, profiles
from ..settings import APP_NAME
from ..text_format import did_you_mean, gigabytes, table
from ..tools.license_server import audit_log, license_keys, weights_archive
from ..tools.license_server.database import Database
from . import path_options
from .days import FORM, day

app = typer.Typer()


def _default_database() -> Path:
    """The database in the user's data folder, by the current HOME and XDG_DATA_HOME."""
    return user_data_path(APP_NAME) / "licenses.db"


DatabaseOption = Annotated[
    Path,
    typer.Option(
        "--database",
        help="Where keys and archives are kept.",
        metavar="FILE",
        callback=path_options.checked,
        default_factory=_default_database,
        show_default="licenses.db in your data folder",
    ),
]


@app.command()
def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port; 0 takes a free one.", metavar="PORT", min=0, max=65535)
    ] = 9100,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="How hosts reach it, if a proxy is between.", metavar="URL")
    ] = None,
    link_seconds: Annotated[
        int, typer.Option("--link-seconds", help="How long a link is good.", metavar="SECONDS", min=1)
    ] = 3600,
    ssl_certfile: Annotated[
        Path | None,
        typer.Option(
            "--ssl-certfile", help="Certificate, in PEM, to serve HTTPS.", metavar="FILE", callback=path_options.checked
        ),
    ] = None,
    ssl_keyfile: Annotated[
        Path | None,
        typer.Option("--ssl-keyfile", help="Its private key.", metavar="FILE", callback=path_options.checked),
    ] = None,
    *,
    database: DatabaseOption,
) -> None:
    """Run the licence service. It checks keys, and serves weights and the launcher."""
    if (ssl_certfile is None) != (ssl_keyfile is None):
        raise UsageError("--ssl-certfile and --ssl-keyfile belong together.", "Give both or neither.")
    if public_url is not None and not _is_address(public_url):
        raise UsageError(
            msg("{public_url} is no address.", public_url=public_url), "Give one as https://licences.example.org."
        )
    from ..tools.license_server.http_service import serve as run

    run(
        database,
        host=host,
        port=port,
        public_url=public_url,
        link_seconds=link_seconds,
        certificate=ssl_certfile,
        private_key=ssl_keyfile,
    )


@app.command()
def add_key(
    model: Annotated[
        list[str],
        typer.Option("--model", help="A profile that it allows; repeatable, the usual first.", metavar="PROFILE"),
    ],
    licensee: Annotated[str, typer.Option("--licensee", help="Name of the licensee.", metavar="NAME")] = "",
    expires: Annotated[
        datetime | None,
        typer.Option(
            "--expires",
            help="First day without it, in UTC.",
            metavar="YYYY-MM-DD",
            parser=day,
            show_default="never",
        ),
    ] = None,
    *,
    database: DatabaseOption,
) -> None:
    """Make a key and print it. The key is shown only once: the database keeps its digest."""
    models = tuple(dict.fromkeys(map(model_name, model)))
    if expires is not None and expires <= datetime.now(UTC):
        raise UsageError(
            msg("A key that ends on {ends} would never be valid.", ends=f"{expires:{FORM}}"),
            "Choose a later --expires.",
        )
    with Database(database) as opened:
        print(license_keys.add(opened, models, licensee, expires))


@app.command(name="keys")
def list_keys(database: DatabaseOption) -> None:
    """List the keys: of each its id and its first group."""
    now = datetime.now(UTC)
    rows = [_head("id", "key", "models", "licensee", "expires", "state")]
    with Database(database) as opened:
        for key in license_keys.list_keys(opened):
            until = f"{key.expires:{FORM}}" if key.expires else localized("never")
            state = localized(key.state(now))
            rows.append((str(key.id), key.hint, ", ".join(key.models), key.licensee, until, state))
    print(*table(rows), sep="\n")


@app.command()
def revoke(
    id: Annotated[int, typer.Argument(help="The key's id, as `keys` lists it.")], database: DatabaseOption
) -> None:
    """Revoke a key, and with it every link that it got. It cannot be undone."""
    with Database(database) as opened:
        key = license_keys.get(opened, id)
        if key is None:
            raise UsageError(msg("There is no key {id}.", id=id), "`maritalk-vllm license keys` lists them.")
        license_keys.revoke(opened, id)
    print(say("Revoked: {hint}", hint=key.hint))


@app.command()
def add_weights(
    file: Annotated[
        Path, typer.Argument(help="The zip or tar file with them.", metavar="FILE", callback=path_options.checked)
    ],
    model: Annotated[str, typer.Option("--model", help="The profile that they are of.", metavar="PROFILE")],
    *,
    database: DatabaseOption,
) -> None:
    """Give out an archive as the weights of a model. It replaces the one before. Keep it where it is, as it is."""
    added = weights_archive.read(model_name(model), file)
    weights_archive.check_unpacks(added)
    with Database(database) as opened:
        weights_archive.register(opened, added)
    message = msg(
        "Weights of {model}: {path}, {size}, SHA-256 {sha256}",
        model=added.model,
        path=added.path,
        size=gigabytes(added.size),
        sha256=added.sha256,
    )
    print(localized(message))


@app.command(name="audit")
def show_audit(
    last: Annotated[
        int, typer.Option("--last", help="How many rows, counted from the latest.", metavar="N", min=1)
    ] = 50,
    *,
    database: DatabaseOption,
) -> None:
    """Show the audit log. It has weights served, requests rejected, and changes to keys."""
    rows = [_head("time", "event", "key", "model", "client", "detail")]
    with Database(database) as opened:
        for entry in audit_log.last(opened, last):
            when, key = entry.time.isoformat(timespec="milliseconds"), "" if entry.key is None else str(entry.key)
            rows.append((when, localized(entry.event), key, entry.model, entry.client, entry.detail))
    print(*table(rows), sep="\n")


def model_name(name: str) -> str:
    """Resolve a profile's name or alias. Raises UsageError."""
    profile = find(name)
    if profile is None:
        raise UsageError(msg("There is no model {asked}.", asked=name), did_you_mean(name, profiles()))
    return profile.name


def _head(*names: str) -> tuple[str, ...]:
    return tuple(map(localized, names))


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
