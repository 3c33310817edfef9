{{- /* The services that the chart itself runs with the workers' image. */ -}}
{{- define "freshet.workers" -}}
- ingest
- serving
- recorder
{{- end -}}

{{- /* Of those that answer HTTP requests; empty for the others. */ -}}
{{- define "freshet.httpPort" -}}
{{- get (dict "ingest" "8080" "serving" "8083") . -}}
{{- end -}}

{{- /* dict: root, component, values. */ -}}
{{- define "freshet.worker.env" -}}
- name: FRESHET_CONFIG_DIR
  value: /etc/freshet/config
- name: FRESHET_CONFIG_MAP
  value: {{ printf "%s/%s" .root.Release.Namespace (include "freshet.servingConfig" .root) | quote }}
{{- with include "freshet.httpPort" .component }}
- name: FRESHET_PORT
  value: {{ . | quote }}
{{- end }}
- name: FRESHET_METRICS_PORT
  value: "8082"
- name: FRESHET_ADMIN_PORT
  value: "8084"
- name: FRESHET_GRACE_SECONDS
  value: {{ .values.graceSeconds | quote }}
{{- if eq .component "ingest" }}
- name: FRESHET_MANAGE_TOPICS
  value: "false"
{{- end }}
{{- if has .component (list "ingest" "recorder") }}
- name: FRESHET_DEAD_LETTER_TOPIC
  value: {{ .root.Values.kafka.deadLetterTopic | quote }}
{{ include "freshet.env.kafka" .root }}
{{- end }}
{{- if has .component (list "serving" "recorder") }}
{{ include "freshet.env.redis" .root }}
{{- include "freshet.env.postgres" .root }}
{{- end }}
{{- if and (eq .component "recorder") .values.administration.existingSecret }}
- name: FRESHET_ADMIN_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .values.administration.existingSecret }}
      key: {{ .values.administration.existingSecretKey }}
{{- end }}
{{ include "freshet.env.logs" .root }}
{{- end -}}
