{{- define "maritalk.routerName" -}}
{{ include "maritalk.fullname" . }}-router
{{- end -}}

{{- define "maritalk.routerSelector" -}}
{{ include "maritalk.selector" . }}
app.kubernetes.io/component: router
{{- end -}}

{{/* Flags of vllm-router that both the program of its image and that of its wheel have. */}}
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
# The router stops using a draining or reloading pod after two failures.
- --health-check-interval-secs=5
- --health-failure-threshold=2
- --worker-startup-check-interval=2
- --prometheus-host=0.0.0.0
- --prometheus-port=29000
# Without an allowed origin, any web page could send requests through its reader's browser.
- --cors-allowed-origins=https://none.invalid
{{- range .Values.router.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
