{{- /* Alert rules, for a PrometheusRule and for the dev Prometheus alike. */ -}}
{{- define "freshet.alerts" -}}
{{- $limits := .Values.metrics.rules.limits -}}
{{- $operator := include "freshet.component" (dict "root" . "component" "operator") -}}
groups:
  - name: freshet-processing
    rules:
      - alert: FreshetLag
        expr: sum by (namespace, featureset) (partition_lag) > {{ $limits.lagEvents }}
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: {{ `'{{ $labels.namespace }}/{{ $labels.featureset }} is {{ $value | humanize }} events behind'` }}
          description: Processors have not kept up for 5 minutes. Look at their number and CPU in kubectl get featuresets; raise maxReplicas or the source topic's partitions.
      - alert: FreshetNotFresh
        expr: histogram_quantile(0.99, sum by (namespace, featureset, le) (rate(freshness_seconds_bucket[5m]))) > {{ $limits.freshnessSeconds }}
        for: 10m
        labels: {severity: warning}
        annotations:
          summary: {{ `'{{ $labels.namespace }}/{{ $labels.featureset }}: events are readable only after {{ $value | humanizeDuration }}'` }}
          description: The 99th percentile from the broker's clock of an event until its features are readable. Look at lag, flush_seconds and the store.
      - alert: FreshetDeadLetters
        expr: |-
          sum by (namespace, featureset) (rate(events_failed_total[10m]))
            / (sum by (namespace, featureset) (rate(events_failed_total[10m])) + sum by (namespace, featureset) (rate(events_processed_total[10m])))
            > {{ $limits.deadLetterShare }}
        for: 10m
        labels: {severity: warning}
        annotations:
          summary: {{ `'{{ $labels.namespace }}/{{ $labels.featureset }}: {{ $value | humanizePercentage }} of events go to the dead-letter topic'` }}
          description: The label reason of events_failed_total and the header of each dead letter say why.
  - name: freshet-requests
    rules:
      - alert: FreshetErrors
        expr: |-
          sum by (namespace, route) (rate(http_request_seconds_count{status=~"5.."}[5m]))
            / sum by (namespace, route) (rate(http_request_seconds_count[5m])) > {{ $limits.errorShare }}
        for: 5m
        labels: {severity: critical}
        annotations:
          summary: {{ `'{{ $labels.route }}: {{ $value | humanizePercentage }} of requests fail'` }}
          description: The pods' /ready names what they miss; Kafka for ingest, the online store for serving.
      - alert: FreshetSlowReads
        expr: histogram_quantile(0.99, sum by (namespace, le) (rate(http_request_seconds_bucket{route=~"/features.*"}[5m]))) > {{ $limits.readSeconds }}
        for: 10m
        labels: {severity: warning}
        annotations:
          summary: {{ `'99 % of reads take up to {{ $value | humanizeDuration }}'` }}
          description: Look at the store's latency and at serving's CPU and number of replicas.
      - alert: FreshetIngestBacklog
        expr: max by (namespace, pod) (producer_queue_messages) > {{ $limits.producerQueue }}
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: {{ `'{{ $labels.pod }} holds {{ $value | humanize }} events that Kafka has not taken'` }}
          description: Requests are answered 429 when its memory is full. Look at the brokers.
  - name: freshet-operator
    rules:
      - alert: FreshetOperatorDown
        expr: absent(leader_election_master_status{name="{{ $operator }}", namespace="{{ .Release.Namespace }}"} == 1)
        for: 5m
        labels: {severity: critical}
        annotations:
          summary: No Freshet operator leads in {{ .Release.Namespace }}
          description: What runs goes on, but nothing is repaired, scaled or changed.
      - alert: FreshetOperatorBlind
        expr: |-
          (time() - freshet_operator_last_watch_event_timestamp_seconds > 600 and freshet_operator_last_watch_event_timestamp_seconds > 0)
            and on (namespace, pod) leader_election_master_status == 1
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: {{ `'The operator has heard nothing of {{ $labels.kind }} for {{ $value | humanizeDuration }}'` }}
          description: Changes are noticed only by the periodic look. It should have restarted itself by its liveness probe.
      - alert: FreshetReconcileErrors
        expr: sum by (namespace, controller) (rate(controller_runtime_reconcile_errors_total[10m])) > {{ $limits.reconcileErrorsPerSecond }}
        for: 15m
        labels: {severity: warning}
        annotations:
          summary: {{ `'Reconciling {{ $labels.controller }} keeps failing'` }}
          description: The operator's log names the object and the error.
{{- end -}}
