# vLLM's router: docker build -f deploy/router.Dockerfile -t vllm-router:0.1.17 .
ARG PYTHON_IMAGE=python:3.11-slim-trixie

FROM ${PYTHON_IMAGE}
COPY requirements/router.lock /tmp/router.lock
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement /tmp/router.lock \
    && useradd --uid 10001 router
USER 10001
EXPOSE 8000 29000
ENTRYPOINT ["vllm-router"]
