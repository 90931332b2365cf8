{{/* Names are cut short of 63 characters, so that endings such as -download-0a1b2c3d go after them. */}}
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

{{/* By which all pods of the release are found; those that answer have `component: server` too. */}}
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

{{/* The names by which the servers are asked: without API keys they answer to no others. */}}
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
