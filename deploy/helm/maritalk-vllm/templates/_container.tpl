{{/* Common fields of the containers of the server, its checks and the download. */}}
{{- define "maritalk.container" -}}
image: {{ include "maritalk.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
# If a container exits without a termination message, Kubernetes shows the last lines of its log.
terminationMessagePolicy: FallbackToLogsOnError
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /etc/maritalk, readOnly: true}
  - {name: cache, mountPath: /cache}
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
  - {name: log, mountPath: /var/log/maritalk-vllm}
  - {name: shm, mountPath: /dev/shm}
  {{- if and (include "maritalk.licenseSecret" .) (eq .Values.license.as "file") }}
  - {name: license, mountPath: /etc/maritalk-license, readOnly: true}
  {{- end }}
  {{- if include "maritalk.apiKeysSecret" . }}
  - {name: api-keys, mountPath: /etc/maritalk-keys, readOnly: true}
  {{- end }}
  {{- if include "maritalk.nodesSecret" . }}
  - {name: nodes-secret, mountPath: /etc/maritalk-nodes, readOnly: true}
  {{- end }}
  {{- if .Values.tls.existingSecret }}
  - {name: tls, mountPath: /etc/maritalk-tls, readOnly: true}
  {{- end }}
{{- end -}}

{{- define "maritalk.environment" -}}
- {name: MARITALK_CONFIG, value: /etc/maritalk/maritalk.yaml}
- {name: XDG_CACHE_HOME, value: /cache}
- {name: HF_HOME, value: /cache/huggingface}
- {name: HOME, value: /tmp}
- {name: PYTHONUNBUFFERED, value: "1"}
{{- if and (include "maritalk.licenseSecret" .) (eq .Values.license.as "environment") }}
- name: MARITALK_LICENSE
  valueFrom:
    secretKeyRef:
      name: {{ include "maritalk.licenseSecret" . }}
      key: {{ include "maritalk.licenseEntry" . }}
{{- end }}
{{- with .Values.extraEnv }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{/* Flags for vLLM; numbers become strings. */}}
{{- define "maritalk.arguments" -}}
{{- with .Values.extraArgs -}}
args:
  - --
  {{- range . }}
  - {{ ternary . (toJson .) (kindIs "string" .) | quote }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "maritalk.volumes" -}}
- name: config
  configMap: {name: {{ include "maritalk.fullname" . }}}
- name: cache
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim: {claimName: {{ default (include "maritalk.fullname" .) .Values.persistence.existingClaim }}}
  {{- else }}
  emptyDir: {}
  {{- end }}
- name: data
  {{- if .Values.batches.persistent }}
  persistentVolumeClaim: {claimName: {{ include "maritalk.dataClaim" . }}}
  {{- else }}
  emptyDir: {}
  {{- end }}
- name: tmp
  emptyDir: {}
- name: log
  emptyDir: {sizeLimit: {{ .Values.log.sizeLimit }}}
- name: shm
  emptyDir: {medium: Memory, sizeLimit: {{ .Values.sharedMemory }}}
{{- if and (include "maritalk.licenseSecret" .) (eq .Values.license.as "file") }}
- name: license
  secret:
    secretName: {{ include "maritalk.licenseSecret" . }}
    defaultMode: 0440
    items: [{key: {{ include "maritalk.licenseEntry" . }}, path: license}]
{{- end }}
{{- with include "maritalk.apiKeysSecret" . }}
- name: api-keys
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: {{ include "maritalk.apiKeysEntry" $ }}, path: keys}]
{{- end }}
{{- with include "maritalk.nodesSecret" . }}
- name: nodes-secret
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: {{ $.Values.group.secretKey }}, path: secret}]
{{- end }}
{{- with .Values.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{/* The checks have the server's resources, since they plan with its memory and GPUs. */}}
{{- define "maritalk.resources" -}}
{{- $requests := dict -}}
{{- if eq .Values.model "small" -}}
{{- $requests = dict "cpu" "4" "memory" "32G" -}}
{{- else if has .Values.model (list "medium" "large") -}}
{{- $requests = dict "cpu" "8" "memory" "130G" -}}
{{- else if eq (int .Values.gpus) 0 -}}
{{- $requests = dict "cpu" "2" "memory" "4Gi" -}}
{{- else -}}
{{- $requests = dict "cpu" "4" "memory" "16Gi" -}}
{{- end -}}
{{- $resources := deepCopy (default (dict "requests" $requests) .Values.resources) -}}
{{- if gt (int .Values.gpus) 0 -}}
{{- $limits := merge (dict .Values.gpuResource (int .Values.gpus)) (default dict $resources.limits) -}}
{{- $resources = set $resources "limits" $limits -}}
{{- end -}}
{{ toYaml $resources }}
{{- end -}}

{{/* Where pods of the release may run, and as which user. */}}
{{- define "maritalk.placement" -}}
# A Service named maritalk would set the variable MARITALK_PORT, which is an option of the server.
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
