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

{{/* Labels of every object. The schema keeps commonLabels from naming one of the chart's own. */}}
{{- define "hallpass.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
helm.sh/chart: {{ include "hallpass.chart" . }}
{{ include "hallpass.selectorLabels" . }}
app.kubernetes.io/component: {{ include "hallpass.component" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What the object that is being rendered belongs to, by its template. No selector of what is there already may name it. */}}
{{- define "hallpass.component" -}}
{{- if regexMatch "/templates/(admission/|webhook)" .Template.Name -}}
admission
{{- else if regexMatch "/templates/(service-metrics|servicemonitor|podmonitor|prometheusrule|configmap-dashboard)[.]" .Template.Name -}}
metrics
{{- else -}}
operator
{{- end }}
{{- end }}

{{/* The same with further ones, which win over commonLabels. Takes root and labels. */}}
{{- define "hallpass.labelsAnd" -}}
{{- merge (dict) .labels (include "hallpass.labels" .root | fromYaml) | toYaml }}
{{- end }}

{{- define "hallpass.selectorLabels" -}}
app.kubernetes.io/name: {{ include "hallpass.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The Service behind which Prometheus finds the replicas, where it looks for Services. */}}
{{- define "hallpass.metricsService" -}}
{{- include "hallpass.fullname" . | trunc 55 | trimSuffix "-" }}-metrics
{{- end }}

{{/* "true" where an object of the Prometheus operator is to be rendered. Takes root, kind, and values with enabled and renderMode. */}}
{{- define "hallpass.monitored" -}}
{{- if .values.enabled }}
{{- if or (eq .values.renderMode "alwaysRender") (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1") }}
{{- true }}
{{- else if eq .values.renderMode "failIfMissing" }}
{{- fail (printf "this cluster has no monitoring.coreos.com/v1, so no %s: install the Prometheus operator first, or set renderMode to skipIfMissing" .kind) }}
{{- end }}
{{- end }}
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

{{/* The same without tag and digest. */}}
{{- define "hallpass.sidecarRepository" -}}
{{- with default .Values.image.registry .Values.sidecar.image.registry }}{{ . }}/{{ end }}{{ .Values.sidecar.image.repository }}
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

{{/* How replicas are spread where nobody says otherwise: soft, so that a cluster of one node runs all of them. */}}
{{- define "hallpass.spread" -}}
- topologyKey: topology.kubernetes.io/zone
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
- topologyKey: kubernetes.io/hostname
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
{{- end }}
