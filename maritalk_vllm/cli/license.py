"""`maritalk-vllm license`: commands to sign, inspect and serve licences."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LicenseError, UsageError
from ..i18n.message import msg
from ..i18n.rendering import localized, say
from ..licensing import license_input, signed_license
from ..text_format import table
from . import path_options
from .days import FORM, day
from .license_server import app as license_server_app
from .license_server import model_name
from .runner import HELP

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, context_settings=HELP)
app.add_typer(license_server_app)


@app.callback()
def license() -> None:
    """Make keys, sign licences, look into one."""


@app.command()
def keygen(
    folder: Annotated[
        Path,
        typer.Option("--folder", help="Where to write the two files.", metavar="FOLDER", callback=path_options.checked),
    ] = Path(),
    name: Annotated[
        str, typer.Option("--name", help="What the files are called.", metavar="NAME")
    ] = "maritalk-license",
) -> None:
    """Make a pair of keys. NAME.key signs and stays secret, NAME.pub goes with the licences."""
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    public = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    _write(folder / f"{name}.key", private, 0o600)
    _write(folder / f"{name}.pub", public, 0o644)


@app.command()
def issue(
    private_key: Annotated[
        Path,
        typer.Option(
            "--private-key", help="What keygen wrote as NAME.key.", metavar="FILE", callback=path_options.checked
        ),
    ],
    model: Annotated[
        list[str],
        typer.Option("--model", help="A profile that it allows; repeatable, the usual first.", metavar="PROFILE"),
    ],
    licensee: Annotated[str, typer.Option("--licensee", help="Name of the licensee.", metavar="NAME")],
    expires: Annotated[
        datetime, typer.Option("--expires", help="First day without it, in UTC.", metavar="YYYY-MM-DD", parser=day)
    ],
    not_before: Annotated[
        datetime | None,
        typer.Option("--not-before", help="First day with it, in UTC.", metavar="YYYY-MM-DD", parser=day),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Write it to a file.", metavar="FILE", show_default="print it", callback=path_options.checked
        ),
    ] = None,
) -> None:
    """Sign a licence."""
    for asked in model:
        model_name(asked)
    now = datetime.now(UTC).replace(microsecond=0)
    if expires <= max(now, not_before or now):
        raise UsageError(
            msg("A licence that ends on {ends} would never be valid.", ends=f"{expires:{FORM}}"),
            "Choose a later --expires.",
        )
    signed = signed_license.sign(
        signed_license.License(
            models=tuple(model), licensee=licensee, issued=now, expires=expires, not_before=not_before
        ),
        private_key,
    )
    if out is None:
        print(signed)
    else:
        _write(out, f"{signed}\n".encode(), 0o600)


@app.command()
def inspect(
    licence: Annotated[str, typer.Argument(help="A signed licence, or the file that holds it.", metavar="LICENCE")],
    public_key: Annotated[
        list[Path] | None,
        typer.Option(
            "--public-key",
            help="Check its signature with this; repeatable.",
            metavar="FILE",
            callback=path_options.checked,
        ),
    ] = None,
) -> None:
    """Show what a licence says, and whether it is good. Ends with 3 if it is not."""
    given = license_input.read_license(licence)
    if given.error is not None:
        raise LicenseError(given.error.message, "Copy it again, whole.")
    text = given.text
    if not signed_license.looks_like_token(text):
        raise LicenseError("This is no signed licence, and no file that holds one.", "Copy it again, whole.")
    try:
        license = signed_license.read(text)
    except LicenseError as error:
        raise LicenseError(given.named(error.message), error.hint) from error
    rows = {
        "licensee": license.licensee,
        "models": ", ".join(license.models),
        "issued": f"{license.issued}",
        "not before": f"{license.not_before or '-'}",
        "expires": f"{license.expires}",
    }
    good = "yes" if public_key else "its time is; its signature was not checked (--public-key)"
    failed = None
    try:
        if public_key:
            signed_license.verify(text, public_key)
        license.entitlement(datetime.now(UTC))
    except LicenseError as error:
        good, failed = "no", error
    rows["good"] = localized(good)
    print("\n".join(table([(localized(name), value) for name, value in rows.items()])))
    if failed is not None:
        raise failed


def _write(file: Path, content: bytes, mode: int) -> None:
    """Create a file with this mode from the start. Raises UsageError, also if it exists."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise UsageError(
            msg("{file} cannot be written: {reason}.", file=file, reason=error.strerror), "Nothing is written over."
        ) from error
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
    print(say("Written: {file}", file=file))
