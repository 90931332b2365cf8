{{/* Names are truncated well below 63 characters to leave room for suffixes such as -download-0a1b2c3d. */}}
{{- define "maritalk.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "maritalk.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "maritalk.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "maritalk.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "maritalk.dataClaim" -}}
{{- default (printf "%s-data" (include "maritalk.fullname" .)) .Values.batches.existingClaim -}}
{{- end -}}

{{/* Selector labels of all pods of the release; pods that answer also have `component: server`. */}}
{{- define "maritalk.selector" -}}
app.kubernetes.io/name: {{ include "maritalk.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "maritalk.serverSelector" -}}
{{ include "maritalk.selector" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "maritalk.labels" -}}
{{ include "maritalk.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{- define "maritalk.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end -}}
{{- end -}}

{{- define "maritalk.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "maritalk.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Host names of requests: without API keys, the servers reject all others. */}}
{{- define "maritalk.hosts" -}}
{{- $hosts := list -}}
{{- $services := list (include "maritalk.fullname" .) -}}
{{- if .Values.router.enabled -}}
{{- $services = append $services (include "maritalk.routerName" .) -}}
{{- end -}}
{{- range $services -}}
{{- $long := printf "%s.%s" . $.Release.Namespace -}}
{{- $hosts = concat $hosts (list . $long (printf "%s.svc" $long) (printf "%s.svc.cluster.local" $long)) -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
{{- $hosts = concat $hosts .Values.ingress.hosts -}}
{{- end -}}
{{- concat $hosts (default list .Values.options.allowed_host) | uniq | toJson -}}
{{- end -}}

{{- define "maritalk.scheme" -}}
{{ ternary "https" "http" (not (empty .Values.tls.existingSecret)) }}
{{- end -}}
