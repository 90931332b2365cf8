"""Stores in a folder, for tests and for the processes that they kill."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from maritalk_vllm.batches.batch_records import BatchStatus
from maritalk_vllm.batches.batch_service import Stores
from tests.batches.samples import ANA, stored_batch, stored_file

__all__ = ["BatchStatus", "add", "stored_batch", "stored_file", "with_stores"]


def with_stores(folder: Path, scenario: Callable[[Stores], Awaitable[None]]) -> None:
    async def run() -> None:
        stores = Stores.open(folder)
        try:
            await scenario(stores)
        finally:
            stores.database.close()

    asyncio.run(run())


async def add(stores: Stores, file_id: str = "file-1", owner: str = ANA, **more: object) -> None:
    content = stores.folder.uploads / file_id
    content.write_bytes(b"{}\n")
    await stores.files.add(stored_file(file_id, owner, **more), content)  # type: ignore[arg-type]
