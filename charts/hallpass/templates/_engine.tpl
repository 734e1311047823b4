{{/* What adds the sidecar to pods. Refuses a cluster that lacks what it needs: its pods would silently go without tokens. What no
     engine works on, Chart.yaml refuses. */}}
{{- define "hallpass.engine" -}}
{{- $engine := .Values.injection.engine }}
{{- $version := .Capabilities.KubeVersion.Version }}
{{- if and (eq $engine "AdmissionPolicy") (not (semverCompare ">=1.37.0-0" $version)) }}
{{- fail (printf "injection.engine AdmissionPolicy needs Kubernetes 1.37 or later, and this cluster is %s: set injection.engine to Webhook" $version) }}
{{- end }}
{{- $engine }}
{{- end }}

{{/* How the API server reaches the webhook, at the path given as .path. Without caBundle: that is the operator's (operator::controller::webhook). */}}
{{- define "hallpass.webhook" -}}
admissionReviewVersions: [v1]
# Whatever it changes is in its answer.
sideEffects: None
matchPolicy: Equivalent
# A mutator that comes after us and undoes the injection has it done again.
reinvocationPolicy: IfNeeded
timeoutSeconds: 3
clientConfig:
  service:
    namespace: {{ .root.Release.Namespace }}
    name: {{ include "hallpass.fullname" .root }}
    port: 443
    path: {{ .path }}
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE]
    resources: [pods]
    scope: Namespaced
matchConditions:
  # A mirror pod only shows what a kubelet already runs.
  - name: not-a-mirror
    expression: {{ printf "!%s" (include "hallpass.isMirror" .root) | quote }}
{{- end }}
