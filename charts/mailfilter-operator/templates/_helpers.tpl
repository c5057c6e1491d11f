{{/* The name of every object: the release's, when that already says what it is. */}}
{{- define "mailfilter-operator.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end -}}
{{- end }}

{{/* NetworkPolicies of the gateways let pods with this app.kubernetes.io/name in: it is the same for every release. */}}
{{- define "mailfilter-operator.selector" -}}
app.kubernetes.io/name: mailfilter-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mailfilter-operator.labels" -}}
{{ include "mailfilter-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* One of .Values.images: (list $ "amavis") */}}
{{- define "mailfilter-operator.image" -}}
{{- $root := index . 0 }}{{ $image := index $root.Values.images (index . 1) -}}
{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}
