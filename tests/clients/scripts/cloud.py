"""MariTalk, the cloud's client, in any version."""

from functools import partial

import maritalk
import requests
from report import inputs, report_all, report_error

client = maritalk.MariTalk(**inputs["client"])

report_all({name: partial(client.generate, **call) for name, call in inputs["calls"].items()})
report_error("too many tokens", requests.HTTPError, lambda: client.generate(**inputs["too many tokens"]))
