{{- define "cache.labels" -}}
app.kubernetes.io/name: cache
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A password given, or the one that is there from an earlier revision, or a new one. */}}
{{- define "cache.password" -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace (printf "%s-cache" .Release.Name) }}
{{- if .Values.auth.password }}
{{- .Values.auth.password | b64enc }}
{{- else if $there }}
{{- index $there.data "password" }}
{{- else }}
{{- randAlphaNum 16 | b64enc }}
{{- end }}
{{- end }}
