"""MariTalk, the cloud's client, in any version."""

import maritalk
import requests
from report import inputs, report, report_error

client = maritalk.MariTalk(**inputs["client"])

for name, call in inputs["calls"].items():
    report(name, client.generate(**call))
report_error("too many tokens", requests.HTTPError, lambda: client.generate(**inputs["too many tokens"]))
