"""Hooks of schemathesis: requests that are right are made cheap, since it is not the model that they are to try.

Whatever is wrong with a request stays as it was made.
"""

import schemathesis


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case, kwargs: object) -> None:
    """Answers of at most two tokens, and at most two of them."""
    if not isinstance(case.body, dict):
        return
    body = case.body = dict(case.body)
    asked = body.get("max_tokens", 512)
    if isinstance(asked, str) and asked.isdecimal():
        asked = int(asked)  # as the first clients of the cloud API sent it
    if asked is None or (type(asked) is int and 2 < asked <= 8192):
        body["max_tokens"] = 2
    if type(body.get("n")) is int and 2 < body["n"] <= 128:
        body["n"] = 2
