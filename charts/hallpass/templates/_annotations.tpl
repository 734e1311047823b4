{{/* CEL: what follows a refusal of a value: the value, where it can be shown. */}}
{{- define "hallpass.said" -}}
({{ . }}.size() < 64 && {{ . }}.matches('^[ -~]*$') ? ', not "' + {{ . }} + '"' : '')
{{- end }}

{{/* CEL, on a key k: whether it is ours, but none that a pod may carry. The last one is written by injection. */}}
{{- define "hallpass.isUnknownAnnotation" -}}
k.startsWith('hallpass.dev/') && !(k in ['hallpass.dev/start', 'hallpass.dev/run-as-user', 'hallpass.dev/cpu-request', 'hallpass.dev/cpu-limit',
  'hallpass.dev/memory-request', 'hallpass.dev/memory-limit', 'hallpass.dev/service-account'])
{{- end }}

{{/* CEL, on a key k: whether that annotation is there and no quantity above 0. An exponent of more than three digits means
     nothing that a machine has, and Kubernetes would take it for the most that it can write. */}}
{{- define "hallpass.isNoQuantity" -}}
object.metadata.?annotations[?k].hasValue()
  && !(object.metadata.annotations[k].size() <= 32 && isQuantity(object.metadata.annotations[k])
    && (!object.metadata.annotations[k].matches('[eE][+-]?[0-9]+$') || object.metadata.annotations[k].matches('[eE][+-]?0*[0-9]{1,3}$'))
    && quantity(object.metadata.annotations[k]).isGreaterThan(quantity('0')))
{{- end }}

{{/* CEL: what is wrong with the pod's annotations of ours, as a sentence; empty if nothing is. Injection leaves such a pod alone,
     validation refuses it with the sentence. */}}
{{- define "hallpass.annotationFault" -}}
{{- $start := "object.metadata.annotations['hallpass.dev/start']" }}
{{- $user := "object.metadata.annotations['hallpass.dev/run-as-user']" }}
{{- $quantities := "['hallpass.dev/cpu-request', 'hallpass.dev/memory-request', 'hallpass.dev/cpu-limit', 'hallpass.dev/memory-limit']" -}}
object.metadata.?annotations.orValue({}).exists(k, {{ include "hallpass.isUnknownAnnotation" . }})
  ? 'annotation ' + object.metadata.annotations.filter(k, {{ include "hallpass.isUnknownAnnotation" . }})[0]
    + ' means nothing to Hallpass; a pod may have hallpass.dev/start, hallpass.dev/run-as-user, hallpass.dev/cpu-request, hallpass.dev/cpu-limit, hallpass.dev/memory-request and hallpass.dev/memory-limit'
: {{ include "hallpass.annotation" "start" }}.orValue('Immediate') != 'Immediate'
  ? 'annotation hallpass.dev/start must be "Immediate" or absent' + {{ include "hallpass.said" $start }}
: {{ $quantities }}.exists(k, {{ include "hallpass.isNoQuantity" . }})
  ? {{ $quantities }}.filter(k, {{ include "hallpass.isNoQuantity" . }}).map(k,
      'annotation ' + k + ' must be a quantity above 0 of at most 32 characters' + {{ include "hallpass.said" "object.metadata.annotations[k]" }})[0]
: !{{ include "hallpass.annotation" "run-as-user" }}.orValue('1').matches('^[1-9][0-9]{0,9}$') || int({{ include "hallpass.annotation" "run-as-user" }}.orValue('1')) > 2147483647
  ? 'annotation hallpass.dev/run-as-user must be a number from 1 to 2147483647' + {{ include "hallpass.said" $user }}
: ''
{{- end }}

{{/* CEL: the uid and gid of the sidecar, as an optional: the annotation's, else the chart's; none: the cluster chooses. */}}
{{- define "hallpass.runAsUser" -}}
{{ include "hallpass.annotation" "run-as-user" }}.hasValue()
  ? optional.of(int({{ include "hallpass.annotation" "run-as-user" }}.orValue('0')))
  : {{ if kindIs "invalid" .Values.sidecar.runAsUser }}optional.none(){{ else }}optional.of({{ int64 .Values.sidecar.runAsUser }}){{ end }}
{{- end }}
