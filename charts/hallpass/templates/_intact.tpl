{{/* What ends the refusal of a sidecar that is not as injection makes it: who did that, and what to do. */}}
{{- define "hallpass.damaged" -}}
; a mutating webhook after injection changed it (kubectl get mutatingwebhookconfigurations), or the pod was written that way: then leave container hallpass and all that is called hallpass- out of it, and it is injected anew
{{- end }}

{{/* CEL, beside a container c that is the sidecar: what injection writes, as the API server stores it. */}}
{{- define "hallpass.intactEnvironment" -}}
{{- $ours := "c.?env.orValue([]).filter(e, e.name.startsWith('HALLPASS_'))" }}
{{- $expected := printf "[{'name': 'HALLPASS_OPERATOR', 'value': '%s'}, {'name': 'HALLPASS_REPLICAS', 'value': '%s'}]" (include "hallpass.operatorAddress" .) (include "hallpass.replicasAddress" .) }}
{{- if eq .Values.injection.engine "Webhook" }}
{{- /* The CA of the day: another one than the operator's is no way to its tokens, only away from them. */ -}}
{{ $ours }}.filter(e, e.name != 'HALLPASS_CA') == {{ $expected }}
&& {{ $ours }}.filter(e, e.name == 'HALLPASS_CA').map(e, e.?value.orValue('').startsWith('-----BEGIN CERTIFICATE-----')) == [true]
{{- else }}
{{- $ours }} == {{ $expected }}
{{- end }}
{{- end }}

{{/* CEL: the probe for which a pod waits, as the API server stores it. */}}
{{- define "hallpass.startupProbe" -}}
{
  'exec': dyn({'command': ['/hallpass-sidecar', 'wait']}),
  'timeoutSeconds': dyn(12), 'periodSeconds': dyn(1), 'successThreshold': dyn(1), 'failureThreshold': dyn(1000000),
}
{{- end }}

{{- define "hallpass.intactProbe" -}}
c.?startupProbe.orValue(dyn({})) == (variables.waits ? dyn({{ include "hallpass.startupProbe" . }}) : dyn({}))
{{- end }}

{{/* What the cluster itself adds there (OpenShift: a uid, SELinux labels, further capabilities to drop) weakens nothing. */}}
{{- define "hallpass.intactSecurity" -}}
c.?securityContext.?privileged == optional.of(false) && c.?securityContext.?allowPrivilegeEscalation == optional.of(false)
&& c.?securityContext.?readOnlyRootFilesystem == optional.of(true) && c.?securityContext.?runAsNonRoot == optional.of(true)
&& c.?securityContext.?seccompProfile == optional.of(dyn({'type': 'RuntimeDefault'}))
&& 'ALL' in c.?securityContext.?capabilities.?drop.orValue([]) && !c.?securityContext.?capabilities.?add.hasValue()
&& !c.?securityContext.?procMount.hasValue() && !c.?securityContext.?windowsOptions.hasValue()
{{- end }}

{{/* CEL: the volumes that belong to the sidecar alone. */}}
{{- define "hallpass.ownVolumes" -}}
[
  dyn({'name': dyn('hallpass-identity'), 'projected': dyn({'defaultMode': dyn(420), 'sources': dyn([
    {'serviceAccountToken': dyn({'audience': dyn('hallpass.dev/{{ .Release.Namespace }}'), 'expirationSeconds': dyn(7200), 'path': dyn('token')})},
    {{- if eq .Values.injection.engine "AdmissionPolicy" }}
    {'clusterTrustBundle': dyn({'signerName': dyn('hallpass.dev/serving'), 'labelSelector': dyn({}), 'path': dyn('ca.pem'), 'optional': dyn(true)})},
    {{- end }}
  ])})}),
  dyn({'name': dyn('hallpass-cache'), 'emptyDir': dyn({'medium': 'Memory', 'sizeLimit': '1Mi'})}),
]
{{- end }}

{{/* CEL: the sidecar's mounts of those. */}}
{{- define "hallpass.ownMounts" -}}
[
  dyn({'name': dyn('hallpass-identity'), 'readOnly': dyn(true), 'mountPath': dyn('/var/run/secrets/hallpass.dev')}),
  dyn({'name': dyn('hallpass-identity'), 'readOnly': dyn(true), 'mountPath': dyn('/var/run/secrets/kubernetes.io/serviceaccount')}),
  dyn({'name': dyn('hallpass-cache'), 'mountPath': dyn('/var/cache/hallpass')}),
]
{{- end }}

{{/* CEL, on a foreign mount m of the sidecar, such as a cloud's identity: whether it covers nothing of ours. It says its path plainly,
     so that nothing has to be resolved here. */}}
{{- define "hallpass.coversNothing" -}}
m.mountPath.matches('^(/[^/]+)+/?$') && !m.mountPath.matches('/[.]{1,2}(/|$)')
&& !['/run/hallpass/', '/var/run/hallpass/', '/var/run/secrets/hallpass.dev/', '/var/run/secrets/kubernetes.io/serviceaccount/', '/var/cache/hallpass/', '/hallpass-sidecar/'].exists(p, (m.mountPath + '/').startsWith(p) || p.startsWith(m.mountPath + '/'))
{{- end }}
