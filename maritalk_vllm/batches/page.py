"""A page of a list, after the last item of the page before it."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec

from ..errors import NotFound

_Item = TypeVar("_Item")


class Page(msgspec.Struct, Generic[_Item], frozen=True):
    """Some items of a list, and whether more follow."""

    items: tuple[_Item, ...]
    has_more: bool


def select_page(
    connection: sqlite3.Connection,
    table: Literal["files", "batches"],
    convert: Callable[[Any], _Item],
    owner: str,
    limit: int,
    after: str | None,
    condition: str = "TRUE",
    values: Sequence[object] = (),
    *,
    ascending: bool = False,
) -> Page[_Item]:
    """Return at most `limit` rows of a key for which `condition` holds, converted, after the row `after`.

    Raises NotFound if there is no row `after`.
    """
    if after is not None:
        row = connection.execute(f"SELECT number FROM {table} WHERE id = ? AND owner = ?", (after, owner)).fetchone()
        if row is None:
            raise NotFound(f"after: there is no {after[:100]!r}.", "Give the id of the last item of the page before.")
        condition, values = f"{condition} AND number {'>' if ascending else '<'} ?", [*values, row[0]]
    order = "ASC" if ascending else "DESC"
    rows = connection.execute(
        f"SELECT * FROM {table} WHERE owner = ? AND {condition} ORDER BY number {order} LIMIT ?",
        (owner, *values, limit + 1),
    ).fetchall()
    return Page(tuple(map(convert, rows[:limit])), len(rows) > limit)
