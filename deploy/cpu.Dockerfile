# The server on the CPU: docker build -f deploy/cpu.Dockerfile -t maritalk-vllm:0.1.0-cpu .
ARG PYTHON_IMAGE=python:3.11-slim-trixie

FROM ${PYTHON_IMAGE}
# vLLM's CPU build needs libnuma, and torch a C++ compiler for what it compiles.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 maritalk
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY requirements requirements
COPY scripts scripts
COPY configs configs
COPY maritalk_vllm maritalk_vllm
# The last step puts the package itself in the place of its link to /src.
RUN python3 -m venv /opt/maritalk \
    && PIP_NO_CACHE_DIR=1 scripts/install /opt/maritalk requirements/cpu.lock \
    && /opt/maritalk/bin/pip install --no-cache-dir --no-deps --force-reinstall . \
    && rm -rf /src/*
ENV PATH=/opt/maritalk/bin:$PATH
USER maritalk
WORKDIR /home/maritalk
VOLUME /home/maritalk/.cache
EXPOSE 9000
ENTRYPOINT ["maritalk-serve"]
