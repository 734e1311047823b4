{{/* The variables and the mutation of a MutatingAdmissionPolicy that adds the sidecar. */}}
{{- define "hallpass.mutation" -}}
variables:
  # Nothing is added to a pod that validation refuses for its annotations.
  - name: fault
    expression: |-
      {{- include "hallpass.annotationFault" . | nindent 6 }}
  {{- include "hallpass.resourceVariables" . | nindent 2 }}
  - name: inits
    expression: object.spec.?initContainers.orValue([])
  # One directory per container. It is named by position: a container's name may take all 63 characters of a volume's.
  - name: places
    expression: |-
      object.spec.containers.transformList(i, c,
        {'path': dyn('/spec/containers/' + string(i)), 'volume': dyn('hallpass-c' + string(i)), 'container': dyn(c)})
      + variables.inits.transformList(i, c,
        {'path': dyn('/spec/initContainers/' + string(i)), 'volume': dyn('hallpass-i' + string(i)), 'container': dyn(c)})
  - name: volumes
    expression: variables.places.map(p, string(p.volume)) + ['hallpass-identity', 'hallpass-cache']
  # Behind a mesh, which carries what the sidecar says. Else first, so that init containers have tokens too.
  - name: position
    expression: |-
      ([0] + variables.inits.transformList(i, c, c.?restartPolicy.orValue('') == 'Always' && c.name in {{ .Values.injection.after | toJson }}, i + 1)).max()
  - name: user
    expression: |-
      {{- include "hallpass.runAsUser" . | nindent 6 }}
  - name: waits
    expression: {{ include "hallpass.annotation" "start" }}.orValue('') != 'Immediate'
  # Volumes whose loss does not keep the cluster autoscaler from moving the pod.
  - name: evictable
    expression: object.metadata.?annotations[?'cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes'].orValue('')
  - name: newlyEvictable
    expression: variables.volumes.filter(v, !(v in variables.evictable.split(',')))
  {{- with .Values.sidecar.imagePullSecrets }}
  - name: pullSecrets
    expression: |-
      [{{ range $i, $secret := . }}{{ if $i }}, {{ end }}{{ squote $secret.name }}{{ end }}].filter(n, !object.spec.?imagePullSecrets.orValue([]).exists(s, s.?name.orValue('') == n))
  {{- end }}
mutations:
  # One patch: of several, one that fails would leave half a pod.
  - patchType: JSONPatch
    jsonPatch:
      expression: |-
        variables.fault != '' || size(variables.excess) > 0 ? [] :
        (has(object.metadata.labels) ? [] : [JSONPatch{op: 'add', path: '/metadata/labels', value: {}}])
        + (has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}])
        + [
          // The operator watches pods by this label and reads the service account from the annotation: its watch is of
          // metadata only. What a template claims about either is overwritten.
          JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('hallpass.dev/injected'), value: 'true'},
          JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('hallpass.dev/service-account'),
            value: {{ include "hallpass.podServiceAccount" . }}},
        ]
        + (size(variables.newlyEvictable) == 0 ? [] : [
          JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes'),
            value: variables.evictable + (variables.evictable == '' ? '' : ',') + variables.newlyEvictable.join(',')}])
        {{- if .Values.sidecar.imagePullSecrets }}
        + (has(object.spec.imagePullSecrets) ? [] : [JSONPatch{op: 'add', path: '/spec/imagePullSecrets', value: []}])
        + variables.pullSecrets.map(n, JSONPatch{op: 'add', path: '/spec/imagePullSecrets/-', value: Object.spec.imagePullSecrets{name: n}})
        {{- end }}
        + (has(object.spec.volumes) ? [] : [JSONPatch{op: 'add', path: '/spec/volumes', value: []}])
        + variables.places.map(p, JSONPatch{op: 'add', path: '/spec/volumes/-', value: Object.spec.volumes{
            name: string(p.volume),
            emptyDir: Object.spec.volumes.emptyDir{medium: 'Memory', sizeLimit: '1Mi'},
          }})
        + [JSONPatch{op: 'add', path: '/spec/volumes/-', value: Object.spec.volumes{
            name: 'hallpass-identity',
            projected: Object.spec.volumes.projected{sources: [
              Object.spec.volumes.projected.sources{serviceAccountToken: Object.spec.volumes.projected.sources.serviceAccountToken{
                audience: 'hallpass.dev/{{ .Release.Namespace }}', expirationSeconds: 7200, path: 'token'}},
              // Optional: a pod also starts before the operator ever ran, and then waits for it with a reason to show.
              Object.spec.volumes.projected.sources{clusterTrustBundle: Object.spec.volumes.projected.sources.clusterTrustBundle{
                signerName: 'hallpass.dev/serving', path: 'ca.pem', optional: true,
                labelSelector: Object.spec.volumes.projected.sources.clusterTrustBundle.labelSelector{}}},
            ]},
          }},
          // What the sidecar holds outlives it here, but not its pod: in memory, where no other container looks.
          JSONPatch{op: 'add', path: '/spec/volumes/-', value: Object.spec.volumes{
            name: 'hallpass-cache',
            emptyDir: Object.spec.volumes.emptyDir{medium: 'Memory', sizeLimit: '1Mi'},
          }}]
        + variables.places.map(p, [
            JSONPatch{op: 'add', path: string(p.path) + (has(p.container.volumeMounts) ? '/volumeMounts/-' : '/volumeMounts'),
              value: has(p.container.volumeMounts)
                ? dyn(Object.spec.containers.volumeMounts{name: string(p.volume), mountPath: '/var/run/hallpass', readOnly: true})
                : dyn([Object.spec.containers.volumeMounts{name: string(p.volume), mountPath: '/var/run/hallpass', readOnly: true}])},
          ] + (
            p.container.?env.orValue([]).exists(e, e.name == 'HALLPASS_SOCKET') ? [] : [
              // In front, so that the container's own variables can refer to it.
              JSONPatch{op: 'add', path: string(p.path) + (has(p.container.env) ? '/env/0' : '/env'),
                value: has(p.container.env)
                  ? dyn(Object.spec.containers.env{name: 'HALLPASS_SOCKET', value: '/var/run/hallpass/hallpass.sock'})
                  : dyn([Object.spec.containers.env{name: 'HALLPASS_SOCKET', value: '/var/run/hallpass/hallpass.sock'}])},
            ]
          )).flatten()
        + (has(object.spec.initContainers) ? [] : [JSONPatch{op: 'add', path: '/spec/initContainers', value: []}])
        // Last, since it moves the init containers that the paths above count.
        + [JSONPatch{op: 'add', path: '/spec/initContainers/' + string(variables.position), value: Object.spec.initContainers{
            name: 'hallpass',
            image: {{ include "hallpass.sidecarImage" . | toJson }},
            imagePullPolicy: {{ .Values.sidecar.image.pullPolicy | toJson }},
            restartPolicy: 'Always',
            args: ['serve'],
            env: [
              Object.spec.initContainers.env{name: 'HALLPASS_OPERATOR', value: '{{ include "hallpass.operatorAddress" . }}'},
              Object.spec.initContainers.env{name: 'HALLPASS_REPLICAS', value: '{{ include "hallpass.replicasAddress" . }}'},
            ],
            ?startupProbe: variables.waits ? optional.of(Object.spec.initContainers.startupProbe{
              exec: Object.spec.initContainers.startupProbe.exec{command: ['/hallpass-sidecar', 'wait']},
              // One try answers within 10 s. The tries never end: waiting for a token is no reason to restart the sidecar.
              timeoutSeconds: 12, periodSeconds: 1, failureThreshold: 1000000,
            }) : optional.none(),
            resources: variables.stays
              ? Object.spec.initContainers.resources{requests: variables.same, limits: variables.same}
              : Object.spec.initContainers.resources{requests: variables.request, limits: variables.limit},
            volumeMounts: variables.places.map(p, Object.spec.initContainers.volumeMounts{
              name: string(p.volume), mountPath: '/run/hallpass/' + string(p.container.name)}) + [
              Object.spec.initContainers.volumeMounts{name: 'hallpass-identity', readOnly: true, mountPath: '/var/run/secrets/hallpass.dev'},
              // Where Kubernetes mounts the pod's API token after us, unless the path is taken: the sidecar must not have it.
              Object.spec.initContainers.volumeMounts{name: 'hallpass-identity', readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount'},
              Object.spec.initContainers.volumeMounts{name: 'hallpass-cache', mountPath: '/var/cache/hallpass'},
            ],
            // All that Pod Security restricted asks for, whatever the pod itself says.
            securityContext: Object.spec.initContainers.securityContext{
              ?runAsUser: variables.user, ?runAsGroup: variables.user, runAsNonRoot: true,
              privileged: false, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true,
              capabilities: Object.spec.initContainers.securityContext.capabilities{drop: ['ALL']},
              seccompProfile: Object.spec.initContainers.securityContext.seccompProfile{type: 'RuntimeDefault'},
            },
            terminationMessagePolicy: 'FallbackToLogsOnError',
          }}]
{{- end }}
