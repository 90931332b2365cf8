"""Each flag of vLLM is known to change a plan's memory, or not to: a new flag fails here until it is classified."""

from maritalk_vllm.engine.vllm_arguments import _RESERVED
from maritalk_vllm.engine.vllm_flags import known_flags
from maritalk_vllm.planning.memory_flags import MEMORY_FLAGS

_HARMLESS = """
aggregate-engine-logging all2all-backend allow-credentials allow-deprecated-quantization allowed-headers
allowed-local-media-path allowed-media-domains allowed-methods allowed-origins anthropic-disabled-thinking-effort
api-server-count args async-scheduling aux-output-config chat-template chat-template-content-format cohere-format
cohere-is-reasoning-model collect-detailed-traces convert cp-kv-cache-interleave-size
cpu-distributed-timeout-seconds cudagraph-metrics custom-histogram-buckets data-parallel-address
data-parallel-backend data-parallel-external-lb data-parallel-hybrid-lb data-parallel-multi-port-external-lb
data-parallel-rank data-parallel-rpc-port data-parallel-size-local data-parallel-start-rank
data-parallel-supervisor-port dbo-decode-token-threshold dbo-prefill-token-threshold dcp-comm-backend
dcp-kv-cache-interleave-size dcp-q-replicate default-chat-template-kwargs default-mm-loras device-ids
disable-access-log-for-endpoints disable-cascade-attn disable-chunked-mm-input disable-custom-all-reduce
disable-fastapi-docs disable-nccl-for-dp-synchronization disable-uvicorn-access-log distributed-executor-backend
distributed-timeout-seconds download-dir dp-supervisor-probe-failure-threshold dp-supervisor-probe-interval-s
dp-supervisor-probe-timeout-s dp-sync-interval ec-manager-config elastic-ep-max-dp-size enable-auto-tool-choice
enable-batch-sharded-sampling enable-chunked-prefill enable-cumem-allocator enable-ep-weight-filter
enable-expert-parallel enable-fault-tolerance enable-flash-late-interaction enable-flashinfer-autotune
enable-force-include-usage enable-hc-sp enable-layerwise-nvtx-tracing enable-log-deltas enable-log-outputs
enable-log-requests enable-logging-iteration-details enable-mamba-cache-stochastic-rounding
enable-mamba-shared-prefix-checkpoint enable-mfu-metrics enable-mixed-moe-lora-format enable-mm-embeds
enable-mm-processor-stats enable-moe-shared-loras enable-nccl-comm-suspend enable-offline-docs
enable-per-request-metrics enable-prefix-caching enable-prompt-tokens-details enable-request-id-headers
enable-scale-out enable-server-load-tracking enable-shm-tensor-arena enable-sleep-mode enable-ssl-refresh
enable-tokenizer-info-endpoint enable-trace-replay exclude-tools-when-tool-choice-none expert-placement-strategy
fail-on-environ-validation fault-tolerance-config fingerprint-mode fingerprint-value fully-sharded-loras
gdn-prefill-backend generation-config grpc grpc-port h11-max-header-count h11-max-incomplete-event-size help
hf-token ignore-patterns interleave-mm-strings io-processor-plugin ir-op-priority jit-monitor-mode
jit-monitor-verbose kda-decode-backend kda-prefill-backend kernel-config kv-cache-metrics kv-cache-metrics-sample
kv-events-config kv-offloading-backend kv-offloading-size linear-backend log-config-file log-error-stack log-level
logging-config logits-processors logprobs-mode long-prefill-token-threshold long-prefill-token-threshold-adaptive
lora-dtype lora-modules lora-target-modules mamba-backend mamba-cache-philox-rounds mamba-config mamba-ssu-algorithm
max-cpu-loras max-log-len max-logprobs max-lora-cls-labels max-num-active-seqs max-num-queued-reqs
max-num-queued-tokens max-parallel-loading-workers media-io-kwargs middleware mm-device-do-normalize
mm-encoder-attn-backend mm-encoder-attn-dtype mm-encoder-fp8-scale-path mm-encoder-fp8-scale-save-margin
mm-encoder-fp8-scale-save-path mm-hasher-algorithm mm-processor-cache-gb mm-processor-cache-type
mm-shm-cache-max-object-size-mb mm-tensor-ipc moe-backend monokernel numa-bind numa-bind-cpus numa-bind-nodes
offload-prefetch-step otlp-traces-endpoint override-generation-config per-request-spec-decode-metrics
prefill-schedule-interval prefix-cache-retention-interval prefix-caching-hash-algo prefix-match-unit profiler-config
pt-load-map-location ray-workers-use-nsight reasoning-config reasoning-effort-map reasoning-parser
reasoning-parser-plugin renderer-num-workers response-role return-sampling-mask return-tokens-as-token-ids root-path
safetensors-load-strategy safetensors-prefetch-block-size safetensors-prefetch-num-threads scheduler-cls
scheduler-reserve-full-isl scheduling-policy seed served-model-name show-hidden-metrics-for-version shutdown-timeout
skip-tokenizer-init sleep-mode-backend sleep-mode-offload-cudagraph sleep-preserve-parameter-names
sparse-indexer-topk-backend specialize-active-lora sse-keep-alive-interval ssl-ca-certs ssl-cert-reqs ssl-certfile
ssl-ciphers ssl-keyfile stream-interval structured-outputs-config swa-bounded-replay tokenizer tokenizer-mode
tokenizer-revision tokens-only tool-call-parser tool-parser-plugin tool-server tool-strict-level trust-remote-code
trust-request-chat-template trust-request-mm-kwargs type-hints use-fp64-gumbel use-tqdm-on-load uvicorn-log-level
video-pruning-method video-pruning-rate watchdog-config watermark watermark-config worker-extension-cls
"""
"""Flags of vLLM 0.32 and 0.33 that change no memory of a GPU, or only that of the host."""

HARMLESS = {f"--{name}" for name in _HARMLESS.split()}


def test_each_flag_of_vllm_is_classified() -> None:
    flags = {flag for flag in known_flags() if flag.startswith("--") and not flag.startswith("--no-")}
    assert len(flags) > 300
    assert flags - MEMORY_FLAGS - HARMLESS - set(_RESERVED) == set()


def test_no_flag_is_in_two_classes() -> None:
    assert MEMORY_FLAGS & HARMLESS == MEMORY_FLAGS & set(_RESERVED) == set()


def test_the_flags_that_change_memory_exist() -> None:
    assert known_flags() >= MEMORY_FLAGS
