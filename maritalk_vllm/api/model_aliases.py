"""The names that the served model answers to."""

import re
from collections.abc import Sequence

from ..errors import NoSuchModel

# MariTalk, maritalk-2024-01-08, sabia-2-medium-2024-03-13, sabia-3.1, sabiazinho-4, sabiazim-4, sabia-4-thinking-br-sp:
# the names in Maritaca's documents and clients from 2023 to 2026, and those that will follow them.
_FAMILIES = re.compile(r"(maritalk|sabi[aá]|sabiazinho|sabiazim)(-[\w.-]+)?", re.IGNORECASE)


class ModelNames:
    """`served` are its own names, the usual one first; any name of a MariTalk or Sabiá model is an alias."""

    def __init__(self, served: Sequence[str]) -> None:
        self.served = tuple(served)

    def is_alias(self, asked: str) -> bool:
        """Whether `asked` stands for the served model without being its name."""
        return asked not in self.served and _FAMILIES.fullmatch(asked) is not None

    def resolve(self, asked: str | None) -> str:
        """The served model's name for the one that was asked for, if any. Raises NoSuchModel."""
        if not asked or self.is_alias(asked):
            return self.served[0]
        if asked in self.served:
            return asked
        raise NoSuchModel(f"There is no model {asked!r}.", f"This server serves {', '.join(self.served)}.")
