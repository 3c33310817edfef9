{{- /* Where Kafka and the online store are, and what every processor gets. */ -}}

{{- define "freshet.kafka" -}}
{{- if .Values.kafka.bootstrap -}}
{{- .Values.kafka.bootstrap -}}
{{- else if .Values.dev.kafka.enabled -}}
{{- printf "%s.%s.svc:9092" (include "freshet.component" (dict "root" . "component" "kafka")) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- /* Without a password; empty if the URL is in a Secret. */ -}}
{{- define "freshet.redis" -}}
{{- if .Values.redis.existingSecret -}}
{{- else if .Values.redis.url -}}
{{- .Values.redis.url -}}
{{- else if .Values.dev.valkey.enabled -}}
{{- printf "redis://%s.%s.svc:6379/0" (include "freshet.component" (dict "root" . "component" "valkey")) .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- /* Whether there is a history database. */ -}}
{{- define "freshet.hasPostgres" -}}
{{- if or .Values.postgres.url .Values.postgres.existingSecret .Values.dev.postgres.enabled }}true{{ end -}}
{{- end -}}

{{- /* Without a password, but for the development server's, which is no secret; empty if the URL is in a Secret. */ -}}
{{- define "freshet.postgres" -}}
{{- if .Values.postgres.existingSecret -}}
{{- else if .Values.postgres.url -}}
{{- .Values.postgres.url -}}
{{- else if .Values.dev.postgres.enabled -}}
{{- $host := printf "%s.%s.svc" (include "freshet.component" (dict "root" . "component" "postgres")) .Release.Namespace -}}
{{- printf "postgresql://freshet:%s@%s:5432/freshet" (.Values.dev.postgres.password | urlquery | replace "+" "%20") $host -}}
{{- end -}}
{{- end -}}

{{- define "freshet.env.postgres" -}}
{{- if include "freshet.hasPostgres" . }}
- name: FRESHET_POSTGRES
  {{- if .Values.postgres.existingSecret }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.postgres.existingSecret }}
      key: {{ .Values.postgres.existingSecretKey }}
  {{- else }}
  value: {{ include "freshet.postgres" . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "freshet.env.kafka" -}}
- name: FRESHET_KAFKA
  value: {{ include "freshet.kafka" . | quote }}
{{- if .Values.kafka.existingSecret }}
- name: FRESHET_KAFKA_CONFIG
  value: /etc/freshet/kafka/kafka.properties
{{- end }}
{{- end -}}

{{- define "freshet.env.redis" -}}
- name: FRESHET_REDIS
  {{- if .Values.redis.existingSecret }}
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.existingSecret }}
      key: {{ .Values.redis.existingSecretKey }}
  {{- else }}
  value: {{ include "freshet.redis" . | quote }}
  {{- end }}
{{- end -}}

{{- define "freshet.env.logs" -}}
- name: FRESHET_LOG_FORMAT
  value: {{ .Values.logs.format | quote }}
- name: FRESHET_LOG_LEVEL
  value: {{ .Values.logs.level | quote }}
{{- end -}}

{{- define "freshet.kafkaVolume" -}}
{{- if .Values.kafka.existingSecret }}
- name: kafka
  secret:
    secretName: {{ .Values.kafka.existingSecret }}
    defaultMode: 0440
    items:
      - key: {{ .Values.kafka.existingSecretKey }}
        path: kafka.properties
{{- end }}
{{- end -}}

{{- define "freshet.kafkaMount" -}}
{{- if .Values.kafka.existingSecret }}
- name: kafka
  mountPath: /etc/freshet/kafka
  readOnly: true
{{- end }}
{{- end -}}

{{- /* Ports named in an address list or URL, with those of networkPolicy, as a YAML list. dict: addresses, ports. */ -}}
{{- define "freshet.ports" -}}
{{- $ports := list -}}
{{- range .ports -}}{{- $ports = append $ports (int .) -}}{{- end -}}
{{- range regexFindAll ":[0-9]+" .addresses -1 -}}{{- $ports = append $ports (int (trimPrefix ":" .)) -}}{{- end -}}
{{- toYaml ($ports | uniq) -}}
{{- end -}}

{{- define "freshet.kafkaPorts" -}}
{{- include "freshet.ports" (dict "addresses" (include "freshet.kafka" .) "ports" .Values.networkPolicy.kafkaPorts) -}}
{{- end -}}

{{- define "freshet.redisPorts" -}}
{{- include "freshet.ports" (dict "addresses" (include "freshet.redis" .) "ports" .Values.networkPolicy.redisPorts) -}}
{{- end -}}

{{- define "freshet.postgresPorts" -}}
{{- include "freshet.ports" (dict "addresses" (.Values.postgres.url | regexFind "@.*|//[^@]*$") "ports" .Values.networkPolicy.postgresPorts) -}}
{{- end -}}

{{- /* Who reads processors' metrics beside the operator's namespace: a Prometheus finds them by the PodMonitor. */ -}}
{{- define "freshet.processorScrapers" -}}
{{- if .Values.networkPolicy.metricsFrom -}}
{{- toYaml .Values.networkPolicy.metricsFrom -}}
{{- else if .Values.metrics.podMonitor.enabled -}}
- namespaceSelector: {}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{- /* FRESHET_PROCESSOR_TEMPLATE: the names are those of the operator's ProcessorTemplate. */ -}}
{{- define "freshet.processorTemplate" -}}
{{- $given := .Values.processor -}}
{{- $environment := dict "FRESHET_LOG_FORMAT" .Values.logs.format "FRESHET_LOG_LEVEL" .Values.logs.level -}}
{{- $ports := concat (include "freshet.kafkaPorts" . | fromYamlArray) (include "freshet.redisPorts" . | fromYamlArray) -}}
{{- if include "freshet.hasPostgres" . -}}{{- $ports = concat $ports (include "freshet.postgresPorts" . | fromYamlArray) -}}{{- end -}}
{{- dict
  "image" (include "freshet.image" (dict "root" . "image" $given.image))
  "image_pull_policy" (include "freshet.pullPolicy" (dict "root" . "image" $given.image))
  "image_pull_secrets" .Values.imagePullSecrets
  "kafka" (include "freshet.kafka" .)
  "redis" (include "freshet.redis" .)
  "postgres" (include "freshet.postgres" .)
  "secret" $given.existingSecret
  "secret_has_kafka_config" (and (ne $given.existingSecret "") $given.secretHasKafkaConfig)
  "secret_has_postgres" (and (ne $given.existingSecret "") $given.secretHasPostgres)
  "environment" (merge (dict) $given.environment $environment)
  "resources" $given.resources
  "service_account_annotations" $given.serviceAccountAnnotations
  "pod_annotations" $given.podAnnotations
  "pod_labels" $given.podLabels
  "node_selector" $given.nodeSelector
  "tolerations" $given.tolerations
  "affinity" $given.affinity
  "priority_class" $given.priorityClassName
  "run_as_user" 10001
  "network_policy" .Values.networkPolicy.enabled
  "operator_namespace" .Release.Namespace
  "metrics_from" (include "freshet.processorScrapers" . | fromYamlArray)
  "egress_cidrs" .Values.networkPolicy.egressCidrs
  "egress_ports" ($ports | uniq)
  | toJson -}}
{{- end -}}
