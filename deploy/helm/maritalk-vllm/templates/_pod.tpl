{{/* A serving pod: a whole model, or one node's part of it. */}}
{{- define "maritalk.pod" -}}
{{- $scheme := include "maritalk.scheme" . | upper -}}
{{- $probe := dict "httpGet" (dict "path" "/readyz" "port" "http" "scheme" $scheme) -}}
{{- $live := dict "httpGet" (dict "path" "/livez" "port" "http" "scheme" $scheme) -}}
metadata:
  labels:
    {{- include "maritalk.labels" . | nindent 4 }}
    app.kubernetes.io/component: server
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: server
    checksum/config: {{ include (print $.Template.BasePath "/config.yaml") . | sha256sum }}
    checksum/license: {{ include "maritalk.ownLicense" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "maritalk.placement" . | nindent 2 }}
  automountServiceAccountToken: false
  serviceAccountName: {{ include "maritalk.serviceAccount" . }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    {{- $ours := dict "labelSelector" (dict "matchLabels" (include "maritalk.serverSelector" $ | fromYaml)) }}
    - {{- merge (deepCopy .) $ours | toYaml | nindent 6 }}
    {{- end }}
  {{- end }}
  # preStop, the drain, and the time that the server needs to stop its processes.
  terminationGracePeriodSeconds: {{ add .Values.drain.preStopSeconds .Values.drain.timeoutSeconds 20 }}
  {{- if or .Values.doctor.enabled .Values.log.follow }}
  initContainers:
    {{- if .Values.doctor.enabled }}
    {{- range list "doctor" "plan" }}
    - name: {{ . }}
      command: [maritalk-vllm, {{ . }}]
      {{- include "maritalk.serves" $ | nindent 6 }}
    {{- end }}
    {{- end }}
    {{- if .Values.log.follow }}
    # A sidecar: it stops after the server, so it shows its last lines. The shell handles SIGTERM.
    - name: log
      image: {{ include "maritalk.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      restartPolicy: Always
      command: [/bin/sh, -c, "trap 'kill $!; exit 0' TERM; tail -n +1 -F /var/log/maritalk-vllm/serve.log 2>/dev/null & wait"]
      securityContext: {{- toYaml .Values.securityContext | nindent 8 }}
      resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 64Mi}}
      volumeMounts:
        - {name: log, mountPath: /var/log/maritalk-vllm, readOnly: true}
    {{- end }}
  {{- end }}
  containers:
    - name: server
      command: [maritalk-serve]
      {{- include "maritalk.serves" . | nindent 6 }}
      ports:
        - {name: http, containerPort: 9000}
      startupProbe: {{- merge (deepCopy $probe) .Values.probes.startup | toYaml | nindent 8 }}
      readinessProbe: {{- merge (deepCopy $probe) .Values.probes.readiness | toYaml | nindent 8 }}
      livenessProbe: {{- merge (deepCopy $live) .Values.probes.liveness | toYaml | nindent 8 }}
      lifecycle:
        preStop:
          exec: {command: [sleep, {{ .Values.drain.preStopSeconds | quote }}]}
  volumes: {{- include "maritalk.volumes" . | nindent 4 }}
{{- end -}}

{{/* Arguments, environment and volumes of the server and its checks: equal, so that the checks plan what will be served. */}}
{{- define "maritalk.serves" -}}
{{- with include "maritalk.arguments" . -}}
{{ . }}
{{ end -}}
{{ include "maritalk.container" . }}
env:
  {{- include "maritalk.environment" . | nindent 2 }}
  {{- include "maritalk.groupEnvironment" . | nindent 2 }}
resources: {{- include "maritalk.resources" . | nindent 2 }}
{{- end -}}
