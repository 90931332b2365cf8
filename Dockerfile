# The server in an image; docs/container.md explains how to build and run it.
#
#   docker build -t maritalk-vllm .                         GPUs, CUDA 13
#   docker build -t maritalk-vllm --build-arg CUDA=12 .     GPUs with a driver for CUDA 12 at most
#   docker build -t maritalk-vllm:cpu --target cpu .        no GPU
#
# System packages are not pinned: the archives keep only the newest version of each, with its security fixes.
# hadolint global ignore=DL3008
ARG CUDA=13
ARG CUDA12_IMAGE=nvidia/cuda:12.9.1-runtime-ubuntu24.04
ARG CUDA13_IMAGE=nvidia/cuda:13.0.2-runtime-ubuntu24.04
ARG CPU_IMAGE=debian:bookworm-20261005-slim
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=


# Without a GPU. Debian's Python is that of the tests. vLLM's CPU build needs libnuma, and torch a C++ compiler and
# Python's headers to compile kernels.
FROM ${CPU_IMAGE} AS cpu-system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates g++ libnuma1 python3 python3-dev \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 maritalk \
    && useradd --create-home --uid 10001 --gid 10001 maritalk \
    && chmod 1777 /home/maritalk \
    && chmod 711 /root

FROM cpu-system AS cpu-build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements requirements
COPY scripts scripts
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache \
    export UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 \
    && python3 -m venv /opt/tools && scripts/packages /opt/tools requirements/image.lock \
    && python3 -m venv /opt/maritalk && scripts/packages /opt/maritalk requirements/cpu.lock
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY maritalk_vllm maritalk_vllm
RUN /opt/tools/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/maritalk/bin/python -m pip install --no-deps --no-index /wheels/*.whl \
    && /opt/tools/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
        --output-file /opt/maritalk/sbom.cdx.json /opt/maritalk

FROM cpu-system AS cpu
# The rest is the same for both images.
COPY --from=cpu-build /opt/maritalk /opt/maritalk
ENV PATH=/opt/maritalk/bin:$PATH \
    HOME=/home/maritalk \
    LOGNAME=maritalk \
    PYTHONUNBUFFERED=1 \
    MARITALK_HOME=/root/bin
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="maritalk-vllm" \
    org.opencontainers.image.description="MariTalk models on vLLM: the MariTalk Local API with continuous batching" \
    org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.revision=$REVISION \
    org.opencontainers.image.source=$SOURCE \
    org.opencontainers.image.licenses=Apache-2.0
USER 10001:10001
WORKDIR /home/maritalk
VOLUME /home/maritalk
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["maritalk-vllm", "health"]
ENTRYPOINT ["maritalk-serve"]


# For GPUs: vLLM compiles small kernels when it starts, for which Triton needs a C compiler and Python's headers.
FROM ${CUDA12_IMAGE} AS cuda12-system
FROM ${CUDA13_IMAGE} AS cuda13-system
# hadolint ignore=DL3006
FROM cuda${CUDA}-system AS gpu-system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev python3 python3-dev \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 maritalk \
    && useradd --create-home --uid 10001 --gid 10001 maritalk \
    && chmod 1777 /home/maritalk \
    && chmod 711 /root

FROM gpu-system AS gpu-build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ARG CUDA
COPY requirements requirements
COPY scripts scripts
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache \
    export UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 \
    && python3 -m venv /opt/tools && scripts/packages /opt/tools requirements/image.lock \
    && python3 -m venv /opt/maritalk && scripts/packages /opt/maritalk "requirements/cuda$CUDA.lock"
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY maritalk_vllm maritalk_vllm
RUN /opt/tools/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/maritalk/bin/python -m pip install --no-deps --no-index /wheels/*.whl \
    && /opt/tools/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
        --output-file /opt/maritalk/sbom.cdx.json /opt/maritalk

FROM gpu-system AS gpu
# As above.
COPY --from=gpu-build /opt/maritalk /opt/maritalk
ENV PATH=/opt/maritalk/bin:$PATH \
    HOME=/home/maritalk \
    LOGNAME=maritalk \
    PYTHONUNBUFFERED=1 \
    MARITALK_HOME=/root/bin
ARG VERSION
ARG REVISION
ARG SOURCE
LABEL org.opencontainers.image.title="maritalk-vllm" \
    org.opencontainers.image.description="MariTalk models on vLLM: the MariTalk Local API with continuous batching" \
    org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.revision=$REVISION \
    org.opencontainers.image.source=$SOURCE \
    org.opencontainers.image.licenses=Apache-2.0
USER 10001:10001
WORKDIR /home/maritalk
VOLUME /home/maritalk
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["maritalk-vllm", "health"]
ENTRYPOINT ["maritalk-serve"]
