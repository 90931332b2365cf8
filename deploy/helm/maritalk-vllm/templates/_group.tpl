{{/* A model on several nodes: a group of pods for each replica, whose first pod, the leader, answers for the group. */}}
{{- define "maritalk.grouped" -}}
{{- if gt (int .Values.nodes) 1 -}}yes{{- end -}}
{{- end -}}

{{/* The workload whose replicas are counted and scaled. */}}
{{- define "maritalk.workload" -}}
{{- if include "maritalk.grouped" . -}}
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
{{- else -}}
apiVersion: apps/v1
kind: Deployment
{{- end }}
name: {{ include "maritalk.fullname" . }}
{{- end -}}

{{/* The pods that answer. */}}
{{- define "maritalk.answering" -}}
{{ include "maritalk.serverSelector" . }}
{{- if include "maritalk.grouped" . }}
leaderworkerset.sigs.k8s.io/worker-index: "0"
{{- end }}
{{- end -}}

{{/* Which node of the group a pod is. The controller puts its own LWS_ variables before these, in every container. */}}
{{- define "maritalk.groupEnvironment" -}}
{{- if include "maritalk.grouped" . -}}
- {name: MARITALK_NODES, value: $(LWS_GROUP_SIZE)}
- {name: MARITALK_NODE_RANK, value: $(LWS_WORKER_INDEX)}
- {name: MARITALK_HEAD, value: $(LWS_LEADER_ADDRESS)}
- {name: MARITALK_DISTRIBUTED_BACKEND, value: {{ .Values.group.backend }}}
{{- end -}}
{{- end -}}
