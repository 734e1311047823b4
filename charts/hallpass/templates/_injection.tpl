{{/* CEL: every container of the pod, init containers included. */}}
{{- define "hallpass.allContainers" -}}
(object.spec.containers + object.spec.?initContainers.orValue([]))
{{- end }}

{{/* CEL, on a mount m: whether it takes what is the sidecar's. The path is read as the kubelet reads it: a relative one from the
     root, "//" and "/./" as "/". A volume of ours that the pod itself names would exist only after injection: Kubernetes refuses
     such a pod as long as it is left alone. The pattern is dear, hence what stands before it. */}}
{{- define "hallpass.isOurMount" -}}
m.name.startsWith('hallpass-') || m.mountPath.contains('hallpass') && m.mountPath.matches('^(/|[.]/)*(var/(/|[.]/)*)?run/(/|[.]/)*hallpass(/.*)?$')
{{- end }}

{{/* CEL: why the sidecar cannot be added to this pod, as a sentence; empty if it can. Injection leaves such a pod alone (a
     mutation that makes a pod invalid would refuse it without a reason), validation refuses it with the sentence. */}}
{{- define "hallpass.misfit" -}}
object.spec.?os.?name.or(object.spec.?nodeSelector[?'kubernetes.io/os']).orValue('') == 'windows'
  ? 'the sidecar runs on Linux only, and the pod asks for Windows'
: object.spec.?hostNetwork.orValue(false) && object.spec.?dnsPolicy.orValue('') != 'ClusterFirstWithHostNet'
  ? 'a pod with hostNetwork finds the operator only with dnsPolicy: ClusterFirstWithHostNet'
: object.spec.?dnsPolicy.orValue('') == 'Default'
  ? "a pod finds the operator only by the cluster's DNS, and dnsPolicy: Default is that of its node; leave it out"
: {{ include "hallpass.allContainers" . }}.exists(c, c.name == 'hallpass')
  ? 'the container name hallpass is the name of the sidecar; rename that container'
: object.spec.?volumes.orValue([]).exists(v, v.name.startsWith('hallpass-'))
  ? 'volume names that begin with hallpass- are reserved; rename volume ' + object.spec.volumes.filter(v, v.name.startsWith('hallpass-'))[0].name
: {{ include "hallpass.allContainers" . }}.exists(c, c.?volumeMounts.orValue([]).exists(m, {{ include "hallpass.isOurMount" . }}))
  ? 'the tokens are mounted at /var/run/hallpass; container '
    + {{ include "hallpass.allContainers" . }}.filter(c, c.?volumeMounts.orValue([]).exists(m, {{ include "hallpass.isOurMount" . }}))[0].name
    + ' mounts something there already, move it'
: ''
{{- end }}

{{/* CEL: whether the pod only mirrors what a kubelet already runs from a file of its own. Whoever creates pods may write the
     annotation, only a node may mean it. */}}
{{- define "hallpass.isMirror" -}}
(object.metadata.?annotations[?'kubernetes.io/config.mirror'].hasValue() && 'system:nodes' in request.userInfo.?groups.orValue([]))
{{- end }}

{{/* CEL: the name of the service account that the pod runs under. */}}
{{- define "hallpass.podServiceAccount" -}}
object.spec.?serviceAccountName.orValue('default')
{{- end }}

{{/* CEL: annotation hallpass.dev/NAME of the pod, as an optional. */}}
{{- define "hallpass.annotation" -}}
object.metadata.?annotations[?'hallpass.dev/{{ . }}']
{{- end }}

{{/* Where the sidecar reaches the operator: all replicas behind one address, and each at its own. */}}
{{- define "hallpass.operatorAddress" -}}
{{ include "hallpass.fullname" . }}.{{ .Release.Namespace }}.svc:443
{{- end }}

{{- define "hallpass.replicasService" -}}
{{ include "hallpass.fullname" . | trunc 54 | trimSuffix "-" }}-replicas
{{- end }}

{{- define "hallpass.replicasAddress" -}}
{{ include "hallpass.replicasService" . }}.{{ .Release.Namespace }}.svc:8443
{{- end }}

{{/* What to look at where a sidecar is missing. */}}
{{- define "hallpass.injector" -}}
{{- if eq .Values.injection.engine "AdmissionPolicy" -}}
MutatingAdmissionPolicy {{ include "hallpass.fullname" . }}-inject or its bindings are gone (kubectl get mutatingadmissionpolicies,mutatingadmissionpolicybindings)
{{- else -}}
MutatingWebhookConfiguration {{ include "hallpass.fullname" . }}-inject is gone or does not ask the operator
{{- end }}
{{- end }}
