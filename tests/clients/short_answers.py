"""Hooks of schemathesis that shorten the answers of valid requests, since the tests are not about the model.

Invalid fields are unchanged.
"""

import schemathesis


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case, kwargs: object) -> None:
    """Limit a request to two answers of two tokens."""
    if not isinstance(case.body, dict):
        return
    body = case.body = dict(case.body)
    max_tokens = body.get("max_tokens", 512)
    if isinstance(max_tokens, str) and max_tokens.isdecimal():
        max_tokens = int(max_tokens)  # as the first clients of the cloud API send it
    if max_tokens is None or (type(max_tokens) is int and 2 < max_tokens <= 8192):
        body["max_tokens"] = 2
    if type(body.get("n")) is int and 2 < body["n"] <= 128:
        body["n"] = 2
