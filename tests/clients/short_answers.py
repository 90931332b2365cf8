"""Hooks of schemathesis that shorten the answers of valid requests, since the tests are not about the model.

Invalid fields are unchanged.
"""

import schemathesis


def whole_number(value: object) -> int | None:
    """The integer that the server takes this for: an integer, 2.0, or "2" of the first clients of the cloud API."""
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return None


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case, kwargs: object) -> None:
    """Limit a request to two answers of two tokens."""
    if not isinstance(case.body, dict):
        return
    body = case.body = dict(case.body)
    max_tokens = body.get("max_tokens")
    if max_tokens is None or 2 < (whole_number(max_tokens) or 0) <= 8192:
        body["max_tokens"] = 2
    if 2 < (whole_number(body.get("n")) or 0) <= 128:
        body["n"] = 2
