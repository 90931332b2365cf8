"""Small files of the server's own, which are written as a whole and readable by their owner alone."""

import os
import tempfile
from pathlib import Path


def replace_private_file(file: Path, text: str) -> None:
    """Create or replace a file in an existing folder. Raises OSError.

    mkstemp creates it with mode 0600; the rename makes the write atomic.
    """
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    with os.fdopen(descriptor, "w") as partial:
        partial.write(text)
    Path(temporary).replace(file)
