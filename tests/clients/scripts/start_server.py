"""Start a server, use it and stop it, as the MariTalk Local document shows."""

import sys

import maritalk
from idle import when_idle
from report import inputs, report, report_error

sys.stdout = sys.stderr  # for the client's messages to its user, also at exit

client = maritalk.MariTalkLocal(port=inputs["port"])
# After a failure, a client that shows progress would continue forever.
report_error("a wrong licence", Exception, lambda: client.start_server(license="AAAAA-BBBBB", **inputs["quietly"]))
client = maritalk.MariTalkLocal(port=inputs["port"])
client.start_server(license=inputs["license"])
# Clients before 0.2.5 treat `loading` as ready, and send requests at once.
report("status at first", client.status())
report("answer", client.generate(inputs["messages"], max_tokens=8, do_sample=False))
report("status", when_idle(client.status))
client.stop_server()
