"""Names and aliases of the served model."""

import re
from collections.abc import Sequence

from ..errors import NoSuchModel

# MariTalk, maritalk-2024-01-08, sabia-2-medium-2024-03-13, sabia-3.1, sabiazinho-4, sabiazim-4, sabia-4-thinking-br-sp:
# names in Maritaca's documents and clients from 2023 to 2026, and future names of the same form.
_FAMILIES = re.compile(r"(maritalk|sabi[aá]|sabiazinho|sabiazim)(-[\w.-]+)?", re.IGNORECASE)


class ModelNames:
    """The names of the served model. `served`: its own names, the primary one first.

    Any name of a MariTalk or Sabiá model is an alias.
    """

    def __init__(self, served: Sequence[str]) -> None:
        self.served = tuple(served)

    def is_alias(self, name: str) -> bool:
        """Whether `name` is an alias and not one of the model's own names."""
        return name not in self.served and _FAMILIES.fullmatch(name) is not None

    def resolve(self, name: str | None) -> str:
        """Return the served name for a requested name, the primary one if none was given. Raises NoSuchModel."""
        if not name or self.is_alias(name):
            return self.served[0]
        if name in self.served:
            return name
        raise NoSuchModel(f"There is no model {name!r}.", f"This server serves {', '.join(self.served)}.")
