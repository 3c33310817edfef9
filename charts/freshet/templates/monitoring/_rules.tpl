{{- /* Alert rules, for a PrometheusRule and for the dev Prometheus alike. */ -}}
{{- define "freshet.alerts" -}}
{{- $limits := .Values.metrics.rules.limits -}}
{{- $operator := include "freshet.component" (dict "root" . "component" "operator") -}}
groups:
  - name: freshet-featuresets
    rules:
      - alert: FreshetFeatureSetNotServed
        expr: |-
          max by (namespace, name) (freshet_featureset_condition{type="Serving", status!="true"}) == 1
            and on (namespace, name) freshet_featureset_condition{type="BackfillComplete", status="true"} == 1
        for: 5m
        labels: {severity: critical}
        annotations:
          summary: {{ `'{{ $labels.namespace }}/{{ $labels.name }}: no version is served'` }}
          description: Its features are built, and no serving pod answers for them. kubectl describe featureset says why.
      - alert: FreshetFeatureSetNotReady
        expr: |-
          max by (namespace, name) (freshet_featureset_condition{type="Ready", status!="true"}) == 1
            unless on (namespace, name) freshet_featureset_condition{type=~"Paused|Progressing", status="true"} == 1
        for: 10m
        labels: {severity: warning}
        annotations:
          summary: {{ `'{{ $labels.namespace }}/{{ $labels.name }} is not Ready, and does not get there by itself'` }}
          description: Somebody has to do something. kubectl describe featureset has the reason and the sentence to it.
      - alert: FreshetFeatureSetProgressing
        expr: |-
          max by (namespace, name) (freshet_featureset_condition{type="Progressing", status="true"}) == 1
            unless on (namespace, name) freshet_featureset_condition{type="Paused", status="true"} == 1
        for: {{ $limits.progressing }}
        labels: {severity: warning}
        annotations:
          summary: {{ `'{{ $labels.namespace }}/{{ $labels.name }} has been on its way for long'` }}
          description: A backfill or roll-out that does not end. Its condition Progressing says what it waits for; raise metrics.rules.limits.progressing if its topic takes longer.
      - alert: FreshetPartitionsStopped
        expr: sum by (namespace, featureset, reason) (partitions_stopped) > 0
        for: 2m
        labels: {severity: critical}
        annotations:
          summary: {{ `'{{ $labels.namespace }}/{{ $labels.featureset }}: {{ $value }} partitions are not processed: {{ $labels.reason }}'` }}
          description: Nothing is lost, the events wait. docs/how-it-works.md says what each reason asks for.
      - alert: FreshetRebuilding
        expr: |-
          label_replace(sum by (namespace, featureset) (partitions_rebuilding) > 0, "name", "$1", "featureset", "(.*)")
            and on (namespace, name) freshet_featureset_condition{type="Serving", status="true"} == 1
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: {{ `'{{ $labels.namespace }}/{{ $labels.featureset }}: {{ $value }} partitions are being built while it is served'` }}
          description: The online store has lost states, or the first backfill is still running. Reads of these partitions' entities are answered 503 until they are complete.
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
