{{- define "maritalk.routerName" -}}
{{ include "maritalk.fullname" . }}-router
{{- end -}}

{{- define "maritalk.routerSelector" -}}
{{ include "maritalk.selector" . }}
app.kubernetes.io/component: router
{{- end -}}

{{/* The options of vllm-router, by flags that its image's program and its wheel's both have. */}}
{{- define "maritalk.routerArguments" -}}
- --host=0.0.0.0
- --port=8000
- --policy={{ .Values.router.policy }}
- --service-discovery
- --service-discovery-namespace={{ .Release.Namespace }}
- --service-discovery-port=9000
- --selector
{{- range $key, $value := include "maritalk.answering" . | fromYaml }}
- {{ printf "%s=%s" $key $value | quote }}
{{- end }}
# A pod that drains or loads its engine anew is left out after two of these.
- --health-check-interval-secs=5
- --health-failure-threshold=2
- --worker-startup-check-interval=2
- --prometheus-host=0.0.0.0
- --prometheus-port=29000
# Without one every page of the web may ask, by the browser of its reader.
- --cors-allowed-origins=https://none.invalid
{{- range .Values.router.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
