"""Keys and licences for tests, created with the command that users run."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from maritalk_vllm.cli.license import keygen
from maritalk_vllm.licensing.signed_license import License, sign

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Keys:
    """A key pair in a folder."""

    def __init__(self, folder: Path, name: str = "own") -> None:
        keygen(folder, name)
        self.private = folder / f"{name}.key"
        self.public = folder / f"{name}.pub"

    def license(self, *models: str, ends: timedelta = DAY, begins: timedelta | None = None) -> str:
        """Sign a licence; `ends` and `begins` are relative to now."""
        now = datetime.now(UTC)
        not_before = now + begins if begins is not None else None
        return sign(
            License(models=models, licensee="ACME", issued=now, expires=now + ends, not_before=not_before), self.private
        )
