{{- /* Parts of pods. */ -}}

{{- /* A list of lists of environment variables into one list: a later one of the same name replaces an earlier one,
       because server-side apply refuses an object that has a name twice. */ -}}
{{- define "freshet.env" -}}
{{- $found := dict -}}
{{- $order := list -}}
{{- range $variables := . -}}
{{- range $variable := $variables -}}
{{- if not (hasKey $found $variable.name) -}}{{- $order = append $order $variable.name -}}{{- end -}}
{{- $_ := set $found $variable.name $variable -}}
{{- end -}}
{{- end -}}
{{- $result := list -}}
{{- range $order -}}{{- $result = append $result (get $found .) -}}{{- end -}}
{{- toYaml $result -}}
{{- end -}}

{{- /* Of a pod. dict: user. */ -}}
{{- define "freshet.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "freshet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Where a pod may run. dict: root, component, values. */ -}}
{{- define "freshet.scheduling" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .values.topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else if .values.spread }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "freshet.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end -}}

{{- /* Seconds that a pod goes on answering after it is told to end: at least until the load balancer has let go. */ -}}
{{- define "freshet.preStopSleep" -}}
{{- $seconds := int .values.preStopSleepSeconds -}}
{{- if and (include "freshet.alb" .root) (include "freshet.httpPort" .component) -}}
{{- $seconds = max $seconds (add 5 (int .root.Values.ingress.alb.deregistrationDelaySeconds)) -}}
{{- end -}}
{{- $seconds -}}
{{- end -}}

{{- /* Time of a pod from the first word to SIGKILL: pre-stop, drain, and some for the rest. */ -}}
{{- define "freshet.terminationGrace" -}}
{{- add (int (include "freshet.preStopSleep" .)) (int .values.graceSeconds) 5 -}}
{{- end -}}

{{- define "freshet.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}
