{{- /* Parts of NetworkPolicies. An empty `to` or `from` means anywhere. */ -}}

{{- define "freshet.egress.dns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{- /* dict: cidrs, ports (numbers). */ -}}
{{- define "freshet.egress.addresses" -}}
- ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end -}}

{{- /* The API server has no pods: an address that only the cluster's owner knows, or none. */ -}}
{{- define "freshet.egress.apiServer" -}}
{{- include "freshet.egress.addresses" (dict "cidrs" .Values.networkPolicy.apiServer.cidrs "ports" .Values.networkPolicy.apiServer.ports) -}}
{{- end -}}

{{- /* EKS Pod Identity's agent on the node, and AWS's own addresses. Never the instance's metadata, 169.254.169.254. */ -}}
{{- define "freshet.egress.aws" -}}
{{- if .Values.networkPolicy.aws }}
- ports:
    - {port: 80, protocol: TCP}
  to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
- ports:
    - {port: 443, protocol: TCP}
{{- end }}
{{- end -}}

{{- /* To this release's dev servers, which are pods: an ipBlock does not match pods with every network plugin. */ -}}
{{- define "freshet.egress.dev" -}}
- ports:
    - {port: {{ .port }}, protocol: TCP}
  to:
    - podSelector:
        matchLabels: {{- include "freshet.selector" (dict "root" .root "component" .component) | nindent 10 }}
{{- end -}}

{{- define "freshet.egress.kafka" -}}
{{ include "freshet.egress.addresses" (dict "cidrs" .Values.networkPolicy.egressCidrs "ports" (include "freshet.kafkaPorts" . | fromYamlArray)) }}
{{- if .Values.dev.kafka.enabled }}
{{ include "freshet.egress.dev" (dict "root" . "component" "kafka" "port" 9092) }}
{{- end }}
{{- end -}}

{{- define "freshet.egress.redis" -}}
{{ include "freshet.egress.addresses" (dict "cidrs" .Values.networkPolicy.egressCidrs "ports" (include "freshet.redisPorts" . | fromYamlArray)) }}
{{- if .Values.dev.valkey.enabled }}
{{ include "freshet.egress.dev" (dict "root" . "component" "valkey" "port" 6379) }}
{{- end }}
{{- end -}}

{{- define "freshet.egress.postgres" -}}
{{- if include "freshet.hasPostgres" . }}
{{ include "freshet.egress.addresses" (dict "cidrs" .Values.networkPolicy.egressCidrs "ports" (include "freshet.postgresPorts" . | fromYamlArray)) }}
{{- if .Values.dev.postgres.enabled }}
{{ include "freshet.egress.dev" (dict "root" . "component" "postgres" "port" 5432) }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* Who may read metrics. */ -}}
{{- define "freshet.ingress.metrics" -}}
- ports:
    - {port: metrics, protocol: TCP}
  from:
    {{- if .Values.networkPolicy.metricsFrom }}
    {{- toYaml .Values.networkPolicy.metricsFrom | nindent 4 }}
    - podSelector:
        matchLabels: {{- include "freshet.selector" (dict "root" . "component" "smoke") | nindent 10 }}
    {{- if .Values.dev.prometheus.enabled }}
    - podSelector:
        matchLabels: {{- include "freshet.selector" (dict "root" . "component" "prometheus") | nindent 10 }}
    {{- end }}
    {{- else }}
    - namespaceSelector: {}
    {{- end }}
{{- end -}}
