{{- define "hallpass.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "hallpass.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "hallpass.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "hallpass.labels" -}}
helm.sh/chart: {{ include "hallpass.chart" . }}
{{ include "hallpass.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "hallpass.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hallpass.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* A reference to an image: registry, repository, tag, digest, and the tag to take where neither of the two is given. */}}
{{- define "hallpass.imageReference" -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}
{{- if .tag }}:{{ .tag }}{{ else if not .digest }}:{{ .defaultTag }}{{ end }}
{{- if .digest }}@{{ .digest }}{{ end }}
{{- end }}

{{- define "hallpass.operatorImage" -}}
{{- include "hallpass.imageReference" (merge (dict "defaultTag" .Chart.AppVersion) .Values.image) }}
{{- end }}

{{- define "hallpass.sidecarImage" -}}
{{- $image := .Values.sidecar.image }}
{{- include "hallpass.imageReference" (merge (dict "defaultTag" .Chart.AppVersion "registry" (default .Values.image.registry $image.registry)) $image) }}
{{- end }}

{{- define "hallpass.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "hallpass.fullname" . }}
{{- end }}

{{/* Where the issuers' keys are: a namespace of their own, so that no right on the release's namespace reaches them. */}}
{{- define "hallpass.keysNamespace" -}}
{{- $name := printf "%s-keys" .Release.Namespace }}
{{- if gt (len $name) 63 }}
{{- fail (printf "the release's namespace has %d characters; it may have 58, since the keys are kept in namespace %s" (len .Release.Namespace) $name) }}
{{- end }}
{{- $name }}
{{- end }}

{{- define "hallpass.issuerURL" -}}
{{- default (printf "https://%s.%s.svc" (include "hallpass.fullname" .) .Release.Namespace) .Values.issuer.url }}
{{- end }}

{{/* Namespaces in which no pod is injected, as a JSON list: a cluster that cannot start its own parts cannot be repaired. */}}
{{- define "hallpass.uninjectedNamespaces" -}}
{{- list "kube-system" "kube-node-lease" .Release.Namespace (include "hallpass.keysNamespace" .) | uniq | toJson }}
{{- end }}

{{/* Namespaces in which no token is minted, as a JSON list. */}}
{{- define "hallpass.protectedNamespaces" -}}
{{- list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace (include "hallpass.keysNamespace" .) | uniq | toJson }}
{{- end }}

{{/* toJson writes <, > and & as escapes that CEL reads as the same characters. */}}
{{- define "hallpass.apiServerAudiences" -}}
{{- .Values.kubernetes.apiServerAudiences | toJson }}
{{- end }}
