{{/* Checks that the schema of the values cannot express. Each error is a sentence that names a remedy. */}}
{{- define "maritalk.checks" -}}
{{- $licensed := has .Values.model (list "small" "medium" "large") -}}
{{- if and $licensed (eq (int .Values.gpus) 0) -}}
{{- fail (printf "model %s is served on GPUs alone, and gpus is 0: set gpus (maritalk-vllm plan --model %s --suggest says how many), or take model demo." .Values.model .Values.model) -}}
{{- end -}}
{{- if and $licensed (not (include "maritalk.licenseSecret" .)) -}}
{{- fail (printf "model %s needs a licence, and none is given: set license.existingSecret, or license.key." .Values.model) -}}
{{- end -}}
{{- if and .Values.license.key .Values.license.existingSecret -}}
{{- fail "license.key and license.existingSecret are both set: leave one of them empty." -}}
{{- end -}}
{{- if and .Values.apiKeys.keys .Values.apiKeys.existingSecret -}}
{{- fail "apiKeys.keys and apiKeys.existingSecret are both set: leave one of them empty." -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.apiKeys.existingSecret (not .Values.serviceMonitor.authorization) -}}
{{- fail "Prometheus needs an API key, and apiKeys.existingSecret has a whole file of them: name a Secret with one in serviceMonitor.authorization, {name: metrics, key: token}. In the file, `# scope: metrics` behind that key lets it read all metrics and nothing else." -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.enabled is true, and ingress.hosts is empty: name the host under which it is reached." -}}
{{- end -}}
{{- $claim := and .Values.persistence.enabled (not .Values.persistence.existingClaim) -}}
{{- if and (include "maritalk.grouped" .) $claim (not (has "ReadWriteMany" .Values.persistence.accessModes)) -}}
{{- fail (printf "nodes is %d, and persistence.accessModes is %s, a volume that one node alone can use: make it [ReadWriteMany], with a storage class that has it, or set persistence.enabled to false, and each pod downloads for itself." (int .Values.nodes) (toJson .Values.persistence.accessModes)) -}}
{{- end -}}
{{- if and .Values.batches.persistent (or .Values.autoscaling.enabled (gt (int .Values.replicas) 1)) -}}
{{- fail "batches.persistent is true, and several pods would share the volume: files and batches are one server's own. Set replicas to 1 and autoscaling.enabled to false, or batches.persistent to false." -}}
{{- end -}}
{{- $dataClaim := and .Values.batches.persistent (not .Values.batches.existingClaim) -}}
{{- if and (include "maritalk.grouped" .) $dataClaim (not (has "ReadWriteMany" .Values.batches.accessModes)) -}}
{{- fail (printf "nodes is %d, and batches.accessModes is %s, a volume that one node alone can use: make it [ReadWriteMany], with a storage class that has it, or set batches.persistent to false." (int .Values.nodes) (toJson .Values.batches.accessModes)) -}}
{{- end -}}
{{- if and (include "maritalk.grouped" .) (hasKey .Values.options "replicas") -}}
{{- fail (printf "options.replicas makes copies on one node, and nodes is %d: leave it out, and set replicas, the number of groups." (int .Values.nodes)) -}}
{{- end -}}
{{- $token := "" -}}
{{- range .Values.extraEnv -}}
{{- if has .name (list "RAY_AUTH_TOKEN" "RAY_AUTH_TOKEN_PATH") -}}
{{- $token = .name -}}
{{- end -}}
{{- end -}}
{{- if and (include "maritalk.grouped" .) (eq .Values.group.backend "ray") (not (or $token (include "maritalk.nodesSecret" .))) -}}
{{- fail "group.backend is ray, whose processes know each other by a token: set group.existingSecret, from which it follows, or give it in extraEnv, [{name: RAY_AUTH_TOKEN, valueFrom: {secretKeyRef: {name: ray, key: token}}}]." -}}
{{- end -}}
{{- if not .Values.networkPolicy.enabled -}}
{{- if include "maritalk.grouped" . -}}
{{- fail (printf "nodes is %d, and networkPolicy.enabled is false: vLLM's own ports between the nodes run any code they are sent, with no password. Set networkPolicy.enabled to true, in a cluster whose network heeds NetworkPolicies." (int .Values.nodes)) -}}
{{- end -}}
{{- if .Values.router.enabled -}}
{{- fail "router.enabled is true, and networkPolicy.enabled is false: any client of the router may add servers to it, which get requests and keys. Set networkPolicy.enabled to true, in a cluster whose network heeds NetworkPolicies." -}}
{{- end -}}
{{- end -}}
{{- if and .Values.router.enabled .Values.ingress.enabled (not .Values.networkPolicy.from) -}}
{{- fail "router.enabled and ingress.enabled are true, and networkPolicy.from is empty: name the Ingress's controller there, for the router is not opened to the whole cluster: [{podSelector: {}}, {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]." -}}
{{- end -}}
{{- if and .Values.router.enabled .Values.tls.existingSecret -}}
{{- fail "router.enabled is true, and tls.existingSecret makes the servers speak HTTPS, which vllm-router does not ask of the pods that it finds: leave one of them out. An Ingress can speak HTTPS in front of both." -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (lt (int .maxReplicas) (int .minReplicas)) -}}
{{- fail (printf "autoscaling.maxReplicas is %d, less than autoscaling.minReplicas, which is %d: make it as much at least." (int .maxReplicas) (int .minReplicas)) -}}
{{- end -}}
{{- if and .enabled (eq .kind "keda") (not .keda.serverAddress) -}}
{{- fail "autoscaling.kind keda asks Prometheus, and autoscaling.keda.serverAddress is empty: set it, or take autoscaling.kind hpa." -}}
{{- end -}}
{{- end -}}
{{- end -}}
