"""Which folder a server keeps files and batches in, and that no other server does."""

from dataclasses import replace

import platformdirs

from ...batches.data_folder import DataFolder, FolderLock
from ...errors import UsageError
from ...i18n.message import msg
from ...settings import APP_NAME, Settings
from .launch import Launch


class ReservedFolder:
    """A folder that is this server's until `close`; None if it has none, for which `warning` is the reason."""

    def __init__(self, settings: Settings, port: int) -> None:
        """Reserve --data-dir, or a folder of the port's own.

        Raises UsageError if --data-dir cannot be used. Where the user named none, the server starts without batches
        instead: such a start worked before there were any.
        """
        self.folder: DataFolder | None = None
        self.warning = ""
        self._lock: FolderLock | None = None
        if settings.node_rank > 0 or (settings.data_dir is None and settings.port == 0):
            return  # a follower serves no API, and a random port's folder would not be found again
        default = platformdirs.user_state_path(APP_NAME) / "batches" / str(port)
        folder = DataFolder(settings.data_dir or default)
        try:
            self._lock = folder.reserve()
        except UsageError as error:
            if settings.data_dir is not None:
                raise
            self.warning = msg("Warning: files and batches are off. {reason}", reason=error.text)
        else:
            self.folder = folder

    def added_to(self, launch: Launch) -> Launch:
        """Return the launch with the folder, or with the warning."""
        notes = (*launch.notes, self.warning) if self.warning else launch.notes
        return replace(launch, data_dir=None if self.folder is None else self.folder.path, notes=notes)

    def close(self) -> None:
        """Leave the folder to other servers."""
        if self._lock is not None:
            self._lock.release()
