{{/* The licence in the chart's own Secret: license.key, or for the demo model the evaluation licence. */}}
{{- define "maritalk.ownLicense" -}}
{{- if .Values.license.key -}}
{{ .Values.license.key }}
{{- else if and (eq .Values.model "demo") (not .Values.license.existingSecret) -}}
000000-00000-00000-00000
{{- end -}}
{{- end -}}

{{- define "maritalk.licenseSecret" -}}
{{- if .Values.license.existingSecret -}}
{{ .Values.license.existingSecret }}
{{- else if include "maritalk.ownLicense" . -}}
{{ include "maritalk.fullname" . }}-license
{{- end -}}
{{- end -}}

{{- define "maritalk.licenseEntry" -}}
{{ ternary .Values.license.secretKey "license" (not (empty .Values.license.existingSecret)) }}
{{- end -}}

{{- define "maritalk.apiKeysSecret" -}}
{{- if .Values.apiKeys.existingSecret -}}
{{ .Values.apiKeys.existingSecret }}
{{- else if .Values.apiKeys.keys -}}
{{ include "maritalk.fullname" . }}-api-keys
{{- end -}}
{{- end -}}

{{- /* A key for Prometheus beside apiKeys.keys: stable across renderings, and valid only for metrics. */ -}}
{{- define "maritalk.metricsKey" -}}
metrics-{{ printf "%s/%s/%s" .Release.Namespace (include "maritalk.fullname" .) (join "\n" .Values.apiKeys.keys) | sha256sum }}
{{- end -}}

{{- define "maritalk.apiKeysEntry" -}}
{{ ternary .Values.apiKeys.secretKey "keys" (not (empty .Values.apiKeys.existingSecret)) }}
{{- end -}}

{{/* The shared secret of the nodes of a group. */}}
{{- define "maritalk.nodesSecret" -}}
{{- if include "maritalk.grouped" . -}}
{{ .Values.group.existingSecret }}
{{- end -}}
{{- end -}}
