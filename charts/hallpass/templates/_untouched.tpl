{{/* CEL: whether the pod has the sidecar exactly as injection leaves it and the API server completes it, without a wish of its own. Of
     such a pod every validation of admission/injected.yaml is true, which is what it may say and all that it may say: it spares the
     API server some twenty expressions with their messages, which are evaluated whether they are needed or not. A pod that others have
     changed without harm is not untouched, and is judged by each of them. */}}
{{- define "hallpass.untouched" -}}
{{- $mounts := "c.?volumeMounts.orValue([])" -}}
object.metadata.?labels[?'hallpass.dev/injected'].orValue('') == 'true'
&& object.metadata.?labels[?'hallpass.dev/inject'].orValue('true') in ['true', 'false']
&& object.metadata.?annotations[?'hallpass.dev/service-account'].orValue('') == {{ include "hallpass.podServiceAccount" . }}
&& object.metadata.annotations.all(k, !k.startsWith('hallpass.dev/') || k == 'hallpass.dev/service-account')
&& object.spec.?initContainers.orValue([]).exists_one(c, c.name == 'hallpass'{{ if eq .Values.injection.engine "Webhook" }} && size(c.?env.orValue([])) == 3{{ end }})
&& !object.spec.initContainers.exists(c, c.name in {{ .Values.injection.after | toJson }}
  && object.spec.initContainers.map(o, o.name).indexOf(c.name) > object.spec.initContainers.map(o, o.name).indexOf('hallpass'))
&& object.spec.initContainers.all(c, c.name != 'hallpass' || [{{ $mounts }}.filter(m, m.name.matches('^hallpass-[ci][0-9]+$'))].all(directories,
  {{ $mounts }} == directories.map(d, dyn({'name': d.name, 'mountPath': d.mountPath})) + {{ include "hallpass.ownMounts" . | nindent 4 | trim }}
  && object.spec.?volumes.orValue([]).filter(v, v.name.startsWith('hallpass-'))
    == directories.map(d, dyn({'name': d.name, 'emptyDir': dyn({'medium': 'Memory', 'sizeLimit': '1Mi'})})) + {{ include "hallpass.ownVolumes" . | nindent 4 | trim }}
  && {{ include "hallpass.allContainers" . }}.all(o, o.name == 'hallpass' || o.?volumeMounts.orValue([]).filter(m, {{ include "hallpass.isOurMount" . }})
    == directories.filter(d, d.mountPath == '/run/hallpass/' + o.name)
      .map(d, dyn({'name': d.name, 'mountPath': dyn('/var/run/hallpass'), 'readOnly': dyn(true)})))
  && directories.all(d, {{ include "hallpass.allContainers" . }}.exists(o, o.name != 'hallpass' && '/run/hallpass/' + o.name == d.mountPath)))
  && dyn(c) == dyn({
    'name': dyn('hallpass'), 'image': dyn({{ include "hallpass.sidecarImage" . | toJson }}), 'imagePullPolicy': dyn({{ .Values.sidecar.image.pullPolicy | toJson }}),
    'restartPolicy': dyn('Always'), 'args': dyn(['serve']),
    'env': dyn([
      {'name': 'HALLPASS_OPERATOR', 'value': '{{ include "hallpass.operatorAddress" . }}'}, {'name': 'HALLPASS_REPLICAS', 'value': '{{ include "hallpass.replicasAddress" . }}'},
    ]){{ if eq .Values.injection.engine "Webhook" }} + dyn(c.?env.orValue([]).filter(e, e.name == 'HALLPASS_CA' && e.?value.orValue('').startsWith('-----BEGIN CERTIFICATE-----'))){{ end }},
    'startupProbe': dyn({{ include "hallpass.startupProbe" . }}),
    ?'resources': c.?resources, ?'volumeMounts': c.?volumeMounts,
    'securityContext': dyn({ {{- if not (kindIs "invalid" .Values.sidecar.runAsUser) }}'runAsUser': dyn({{ int64 .Values.sidecar.runAsUser }}), 'runAsGroup': dyn({{ int64 .Values.sidecar.runAsUser }}), {{ end -}}
      'runAsNonRoot': dyn(true), 'privileged': dyn(false), 'allowPrivilegeEscalation': dyn(false), 'readOnlyRootFilesystem': dyn(true),
      'capabilities': dyn({'drop': dyn(['ALL'])}), 'seccompProfile': dyn({'type': dyn('RuntimeDefault')})}),
    'terminationMessagePath': dyn('/dev/termination-log'), 'terminationMessagePolicy': dyn('FallbackToLogsOnError'),
  }))
{{- end }}
