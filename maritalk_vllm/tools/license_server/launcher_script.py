"""The launcher script, which the published client saves as ~/bin/maritalk and runs with `--license L --port P`."""

import shlex

NAME = "maritalk"
"""Its name in links."""

_SCRIPT = """\
#!/bin/sh
# Served by a licence service of maritalk-vllm. Starts maritalk-serve with the arguments of client.start_server().
if [ -z "${{MARITALK_LICENSE_SERVICE+set}}" ]; then
    export MARITALK_LICENSE_SERVICE={service}
fi
if ! command -v maritalk-serve >/dev/null; then
    echo 'maritalk: maritalk-serve is not on the PATH: in a clone of the repository: pip install ".[cuda]".' >&2
    exit 127
fi
exec maritalk-serve "$@"
"""


def script(service: str) -> str:
    """The shell script for hosts that reach this service at the URL `service`."""
    return _SCRIPT.format(service=shlex.quote(service))
