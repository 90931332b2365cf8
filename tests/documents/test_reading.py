"""How documents are parsed and outputs are compared."""

import pytest

from tests.documents import pages
from tests.documents.pages import Step, steps
from tests.documents.printed import same

PAGE = """# A page

1. First:

   ```bash
   # a comment, don't run it
   one --text "a # b"   # another
   two \\
     three
   ```

```console
$ four 'over
two lines'
what it prints
...
$ five
```

```python
six()
```
"""


def test_commands_and_their_output_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "read", lambda page: PAGE)
    assert steps("page.md") == [
        Step('one --text "a # b"'),
        Step("two \\\n  three"),
        Step("four 'over\ntwo lines'", "what it prints\n...\n"),
        Step("five", ""),
    ]


@pytest.mark.parametrize(
    ("printed", "shown", "exactly", "nearly"),
    [
        ("7 GB\n", "7 GB\n", True, True),
        ("7 GB\n", "8.5 GB\n", False, True),
        ("7 GB  \n\n", "7 GB\n", True, True),
        ("7 GB\n", "7 MB\n", False, False),
        ("a\nb\nc\n", "a\n...\n", True, True),
        ("a\nb\nc\n", "a\n...\nc\n", True, True),
        ("a\nb\nc\n", "...\nb\n", False, False),
        ("a\nb\n", "a\n", False, False),
        ("", "", True, True),
        ("a\n", "", False, False),
        ("AB2DE-FGHJK-LMNPQ-RSTUV\n", "6NK44-SZ8PR-YATKY-JMP4Z\n", False, True),
    ],
)
def test_outputs_are_compared(printed: str, shown: str, exactly: bool, nearly: bool) -> None:
    assert same(printed, shown, exact=True) is exactly
    assert same(printed, shown, exact=False) is nearly
