{{/* A map of quantities in JSON, each as text: YAML reads 1 and 0.5 as numbers. */}}
{{- define "hallpass.quantities" -}}
{{- $quantities := dict }}
{{- range $resource, $quantity := . }}
{{- $_ := set $quantities $resource (toString $quantity) }}
{{- end }}
{{- $quantities | toJson }}
{{- end }}

{{/* What the operator's webhook adds to pods, in JSON: the operator's flag --injection. */}}
{{- define "hallpass.injection" -}}
{{- $resources := default dict .Values.sidecar.resources }}
{{- dict
  "image" (include "hallpass.sidecarImage" .)
  "pullPolicy" .Values.sidecar.image.pullPolicy
  "imagePullSecrets" (default list .Values.sidecar.imagePullSecrets)
  "resources" (dict
    "requests" (include "hallpass.quantities" $resources.requests | fromJson)
    "limits" (include "hallpass.quantities" $resources.limits | fromJson))
  "guaranteedResources" (include "hallpass.quantities" .Values.sidecar.guaranteedResources | fromJson)
  "runAsUser" .Values.sidecar.runAsUser
  "after" .Values.injection.after
  "operator" (include "hallpass.operatorAddress" .)
  "replicas" (include "hallpass.replicasAddress" .)
  "identityAudience" (printf "hallpass.dev/%s" .Release.Namespace)
  "uninjectedNamespaces" (include "hallpass.uninjectedNamespaces" . | fromJsonArray)
  | toJson }}
{{- end }}
