{{/* Whom the Service, the Ingress and the ServiceMonitor let in where no peers are named: "cluster", "everyone" or nobody. */}}
{{- define "maritalk.opened" -}}
{{- if not .Values.networkPolicy.from -}}
{{- if ne .Values.service.type "ClusterIP" -}}
everyone
{{- else if or .Values.ingress.enabled .Values.serviceMonitor.enabled -}}
cluster
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The ports of addresses in the values, as a JSON array. 443 is networkPolicy.allowHTTPS's. */}}
{{- define "maritalk.ownEgress" -}}
{{- $addresses := list .Values.license.service (default "" .Values.options.otlp_traces_endpoint) -}}
{{- range .Values.extraEnv -}}
{{- if and (regexMatch "(?i)^(HF_ENDPOINT|(https?|all)_proxy)$" .name) .value -}}
{{- $addresses = append $addresses .value -}}
{{- end -}}
{{- end -}}
{{- $ports := list -}}
{{- range $addresses -}}
{{- if . -}}
{{- $found := regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" -}}
{{- if and (not $found) (hasPrefix "http://" .) -}}
{{- $found = "80" -}}
{{- end -}}
{{- if and $found (ne $found "443") -}}
{{- $ports = append $ports (int $found) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | sortAlpha | toJson -}}
{{- end -}}
