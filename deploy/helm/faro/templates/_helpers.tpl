{{- define "faro.name" -}}
{{- printf "%s-operator" (.Release.Name | trunc 45 | trimSuffix "-") -}}
{{- end -}}

{{- define "faro.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "faro.name" .) -}}
{{- else -}}
{{- required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "faro.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default (printf "v%s" .Chart.AppVersion)) -}}
{{- end -}}

{{- define "faro.selector" -}}
app.kubernetes.io/name: faro-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "faro.labels" -}}
{{ include "faro.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* Faro's configuration, with the cluster's name where there is one. */ -}}
{{- define "faro.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.clusterName -}}
{{- $_ := set $config "cluster_name" .Values.clusterName -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Where pods serve metrics and probes: the Service and the kubelet reach no loopback address. */}}
{{- define "faro.metricsAddress" -}}
{{- $address := .Values.config.metrics.bind_addr | default "0.0.0.0" -}}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end }}:{{ .Values.config.metrics.port }}
{{- end }}
