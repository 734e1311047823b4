{{/* A quantity as a number without a unit. What is written otherwise the schema refuses. */}}
{{- define "hallpass.amount" -}}
{{- $text := toString . -}}
{{- $unit := regexFind "[numkKMGTPE]?i?$" $text -}}
{{- $factors := dict "" 1.0 "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18
  "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- mulf (trimSuffix $unit $text | float64) (get $factors $unit) | printf "%.17g" -}}
{{- end }}

{{/* Renders nothing. Refuses resources with which the API server would refuse every pod that gets them. */}}
{{- define "hallpass.checkResources" -}}
{{- range $resource := list "cpu" "memory" }}
{{- $request := get (default dict $.Values.sidecar.resources.requests) $resource }}
{{- $limit := get (default dict $.Values.sidecar.resources.limits) $resource }}
{{- if and $request $limit }}
{{- if gt (include "hallpass.amount" $request | float64) (include "hallpass.amount" $limit | float64) }}
{{- fail (printf "sidecar.resources.requests.%s, %s, is above sidecar.resources.limits.%s, %s: Kubernetes would refuse every pod with such a sidecar" $resource (toString $request) $resource (toString $limit)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* One entry of a CEL map of the sidecar's resources: the annotation's quantity, else the chart's, else none. */}}
{{- define "hallpass.resource" -}}
{{- $usual := get (default dict .usual) .resource -}}
?'{{ .resource }}': {{ include "hallpass.annotation" (print .resource "-" .sort) }}
{{- if $usual }}.or(optional.of({{ toString $usual | squote }})){{ end }}
{{- end }}

{{/* Both entries of such a map, for "request" or "limit". */}}
{{- define "hallpass.resourceMap" -}}
{ {{- include "hallpass.resource" (merge (dict "resource" "cpu") .) }}, {{ include "hallpass.resource" (merge (dict "resource" "memory") .) -}} }
{{- end }}

{{/* CEL variables on a pod without the sidecar: which resources that gets, and why it cannot have them. Such that the pod stays in its class: by the quantities
     that Kubernetes takes for it, the pod's own where it has some, else each container's. */}}
{{- define "hallpass.resourceVariables" -}}
{{- include "hallpass.checkResources" . }}
{{- $usual := .Values.sidecar.resources }}
{{- $guaranteed := .Values.sidecar.guaranteedResources -}}
- name: containers
  expression: {{ include "hallpass.allContainers" . }}
- name: ownResources
  expression: |-
    size(object.spec.?resources.?requests.orValue({})) > 0 || size(object.spec.?resources.?limits.orValue({})) > 0
- name: guaranteed
  expression: |-
    variables.containers.all(c, ['cpu', 'memory'].all(r,
      quantity(c.?resources.?limits[?r].orValue('0')).isGreaterThan(quantity('0'))
      && quantity(c.?resources.?requests[?r].or(c.?resources.?limits[?r]).orValue('0'))
        .compareTo(quantity(c.?resources.?limits[?r].orValue('0'))) == 0))
- name: bestEffort
  expression: |-
    variables.containers.all(c, ['cpu', 'memory'].all(r,
      !quantity(c.?resources.?requests[?r].orValue('0')).isGreaterThan(quantity('0'))
      && !quantity(c.?resources.?limits[?r].orValue('0')).isGreaterThan(quantity('0'))))
# Beside resources of the pod's own the sidecar takes its part of them: the sum of the containers' requests must not exceed those.
- name: usual
  expression: "!variables.ownResources && !variables.bestEffort && !variables.guaranteed"
{{- range $sort, $of := dict "request" $usual.requests "limit" $usual.limits }}
- name: {{ $sort }}
  expression: |-
    variables.usual
      ? {{ include "hallpass.resourceMap" (dict "sort" $sort "usual" $of) }}
      : {{ include "hallpass.resourceMap" (dict "sort" $sort) }}
{{- end }}
- name: excess
  expression: |-
    ['cpu', 'memory'].filter(r, r in variables.request && r in variables.limit
      && quantity(variables.request[r]).isGreaterThan(quantity(variables.limit[r])))
      .map(r, 'the sidecar would request more ' + r + ' than its limit allows: ' + variables.request[r] + ' is above ' + variables.limit[r]
        + '; change annotation hallpass.dev/' + r + '-request or hallpass.dev/' + r + '-limit')
# Both, request and limit, of a Guaranteed pod.
- name: same
  expression: |-
    {'cpu': variables.limit[?'cpu'].or(variables.request[?'cpu']).orValue({{ toString $guaranteed.cpu | squote }}),
     'memory': variables.limit[?'memory'].or(variables.request[?'memory']).orValue({{ toString $guaranteed.memory | squote }})}
- name: stays
  expression: variables.guaranteed && !variables.ownResources
{{- end }}
