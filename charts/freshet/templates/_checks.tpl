{{- /* What the schema cannot say. Each message names the value, what is wrong and what to do. */ -}}
{{- define "freshet.checks" -}}
{{- if not (include "freshet.kafka" .) -}}
{{- fail "kafka.bootstrap is empty: give host:port of your brokers, or dev.kafka.enabled=true for a small Kafka of its own" -}}
{{- end -}}
{{- if and (not (include "freshet.redis" .)) (not .Values.redis.existingSecret) -}}
{{- fail "redis.url and redis.existingSecret are empty: give one of them, or dev.valkey.enabled=true for a small store of its own" -}}
{{- end -}}
{{- if and .Values.redis.existingSecret .Values.operator.enabled (not .Values.processor.existingSecret) -}}
{{- fail "processor.existingSecret is empty, but redis.existingSecret is set: processors run in the namespaces of their FeatureSets and need a Secret there with the key redis; name it" -}}
{{- end -}}
{{- if and .Values.kafka.existingSecret .Values.operator.enabled (not (and .Values.processor.existingSecret .Values.processor.secretHasKafkaConfig)) -}}
{{- fail "kafka.existingSecret is set, but processors would get no Kafka properties: name processor.existingSecret, put the key kafka.properties into it in every namespace with FeatureSets, and set processor.secretHasKafkaConfig=true" -}}
{{- end -}}
{{- if and .Values.processor.secretHasKafkaConfig (not .Values.processor.existingSecret) -}}
{{- fail "processor.secretHasKafkaConfig is true, but processor.existingSecret is empty: name the Secret" -}}
{{- end -}}
{{- if and .Values.recorder.enabled (not (include "freshet.hasPostgres" .)) -}}
{{- fail "recorder.enabled is true, but there is no database: give postgres.url or postgres.existingSecret, or dev.postgres.enabled=true for a small one of its own" -}}
{{- end -}}
{{- if and .Values.processor.secretHasPostgres (not .Values.processor.existingSecret) -}}
{{- fail "processor.secretHasPostgres is true, but processor.existingSecret is empty: name the Secret" -}}
{{- end -}}
{{- $monitors := or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled .Values.metrics.rules.enabled -}}
{{- if and $monitors .Values.metrics.requireApi (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}
{{- fail "metrics: a monitor or rules are enabled, but the cluster has no monitoring.coreos.com/v1: install the Prometheus operator's CRDs, or switch metrics.requireApi off to leave these objects out (helm template: --api-versions monitoring.coreos.com/v1)" -}}
{{- end -}}
{{- end -}}
