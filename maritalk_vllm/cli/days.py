"""Parses days."""

from datetime import UTC, datetime

from ..i18n.message import msg

FORM = "%Y-%m-%d"


def day(value: str) -> datetime:
    """The start of a day, in UTC. Raises ValueError with a message for the user."""
    try:
        return datetime.strptime(value.strip(), FORM).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(
            msg("{text!r} is no date: write it as YYYY-MM-DD, such as 2036-01-31.", text=value.strip())
        ) from None
