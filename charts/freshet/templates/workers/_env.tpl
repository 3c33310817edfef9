{{- /* The services that answer HTTP requests. */ -}}
{{- define "freshet.workers" -}}
- ingest
- serving
{{- end -}}

{{- define "freshet.httpPort" -}}
{{- get (dict "ingest" 8080 "serving" 8083) . -}}
{{- end -}}

{{- /* dict: root, component, values. */ -}}
{{- define "freshet.worker.env" -}}
- name: FRESHET_CONFIG_DIR
  value: /etc/freshet/config
- name: FRESHET_CONFIG_MAP
  value: {{ printf "%s/%s" .root.Release.Namespace (include "freshet.servingConfig" .root) | quote }}
- name: FRESHET_PORT
  value: {{ include "freshet.httpPort" .component | quote }}
- name: FRESHET_METRICS_PORT
  value: "8082"
- name: FRESHET_ADMIN_PORT
  value: "8084"
- name: FRESHET_GRACE_SECONDS
  value: {{ .values.graceSeconds | quote }}
{{- if eq .component "ingest" }}
- name: FRESHET_MANAGE_TOPICS
  value: "false"
- name: FRESHET_DEAD_LETTER_TOPIC
  value: {{ .root.Values.kafka.deadLetterTopic | quote }}
{{ include "freshet.env.kafka" .root }}
{{- else }}
{{ include "freshet.env.redis" .root }}
{{- end }}
{{ include "freshet.env.logs" .root }}
{{- end -}}
