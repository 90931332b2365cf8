{{/* Without networkPolicy.from, the clients that the Service, the Ingress and the ServiceMonitor need: "cluster", "everyone" or "". */}}
{{- define "maritalk.opened" -}}
{{- if not .Values.networkPolicy.from -}}
{{- if ne .Values.service.type "ClusterIP" -}}
everyone
{{- else if or .Values.ingress.enabled .Values.serviceMonitor.enabled -}}
cluster
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The ports of addresses in the values, as a JSON array. 443 is networkPolicy.allowHTTPS's. A proxy may have no scheme, and a
part of an address may be a variable's name in extraEnv, which urlParse refuses.
*/}}
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
{{- $url := ternary . (print "http://" .) (contains "://" .) -}}
{{- $host := regexReplaceAll "^[^:]*://([^/?#]*@)?([^/?#]*).*$" $url "${2}" -}}
{{- $found := regexFind ":[0-9]+$" $host | trimPrefix ":" -}}
{{- if and (hasPrefix "http://" $url) (not (regexMatch ":[^]]*$" $host)) -}}
{{- $found = "80" -}}
{{- end -}}
{{- if and $found (ne $found "443") -}}
{{- $ports = append $ports (int $found) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | sortAlpha | toJson -}}
{{- end -}}
