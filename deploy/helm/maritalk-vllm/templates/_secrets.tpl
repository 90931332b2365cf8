{{/* The licence that the chart keeps itself: what the values say, and for the demo model the one to evaluate with. */}}
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

{{- /* A key for Prometheus beside apiKeys.keys: the same at each rendering, and of no use but to read metrics. */ -}}
{{- define "maritalk.metricsKey" -}}
metrics-{{ printf "%s/%s/%s" .Release.Namespace (include "maritalk.fullname" .) (join "\n" .Values.apiKeys.keys) | sha256sum }}
{{- end -}}

{{- define "maritalk.apiKeysEntry" -}}
{{ ternary .Values.apiKeys.secretKey "keys" (not (empty .Values.apiKeys.existingSecret)) }}
{{- end -}}

{{/* What the nodes of a group know each other by. */}}
{{- define "maritalk.nodesSecret" -}}
{{- if include "maritalk.grouped" . -}}
{{ .Values.group.existingSecret }}
{{- end -}}
{{- end -}}
