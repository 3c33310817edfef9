{{- define "freshet.operator.env" -}}
- name: FRESHET_OPERATOR_NAMESPACE
  value: {{ .Release.Namespace | quote }}
- name: FRESHET_IDENTITY
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
- name: FRESHET_LEASE
  value: {{ include "freshet.component" (dict "root" . "component" "operator") | quote }}
- name: FRESHET_WATCH_NAMESPACES
  value: {{ join "," .Values.operator.watchNamespaces | quote }}
- name: FRESHET_SERVING_CONFIG
  value: {{ include "freshet.servingConfig" . | quote }}
- name: FRESHET_SERVING_SELECTOR
  value: {{ printf "app.kubernetes.io/name=%s,app.kubernetes.io/instance=%s,app.kubernetes.io/component in (serving,ingest)" (include "freshet.name" .) .Release.Name | quote }}
- name: FRESHET_ADMIN_PORT
  value: "8084"
- name: FRESHET_METRICS_PORT
  value: "8082"
- name: FRESHET_WORKERS
  value: {{ .Values.operator.workers | quote }}
- name: FRESHET_RESYNC_SECONDS
  value: {{ .Values.operator.resyncSeconds | quote }}
- name: FRESHET_CLEANUP_DEADLINE_SECONDS
  value: {{ .Values.operator.cleanupDeadlineSeconds | quote }}
- name: FRESHET_DEAD_LETTER_TOPIC
  value: {{ .Values.kafka.deadLetterTopic | quote }}
{{- if .Values.kafka.replication }}
- name: FRESHET_REPLICATION
  value: {{ .Values.kafka.replication | quote }}
{{- end }}
- name: FRESHET_PROCESSOR_TEMPLATE
  value: {{ include "freshet.processorTemplate" . | quote }}
{{ include "freshet.env.kafka" . }}
{{ include "freshet.env.logs" . }}
{{- end -}}
