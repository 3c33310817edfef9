{{- /* "true" if the AWS Load Balancer Controller or EKS Auto Mode is to make the Ingress's load balancer, else empty. */ -}}
{{- define "freshet.alb" -}}
{{- if and .Values.ingress.enabled (or (eq .Values.ingress.className "alb") .Values.ingress.alb.autoMode.enabled) -}}true{{- end -}}
{{- end -}}

{{- /* Health checks stand on the Services: each has its own, and they win over the Ingress's. */ -}}
{{- define "freshet.healthAnnotations" -}}
{{- if include "freshet.alb" . -}}
alb.ingress.kubernetes.io/healthcheck-path: /ready
alb.ingress.kubernetes.io/healthcheck-port: traffic-port
alb.ingress.kubernetes.io/healthcheck-protocol: HTTP
alb.ingress.kubernetes.io/healthcheck-interval-seconds: "10"
alb.ingress.kubernetes.io/healthcheck-timeout-seconds: "5"
alb.ingress.kubernetes.io/healthy-threshold-count: "2"
alb.ingress.kubernetes.io/unhealthy-threshold-count: "3"
alb.ingress.kubernetes.io/success-codes: "200"
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{- define "freshet.alb.attributes" -}}
{{- merge (dict) .Values.ingress.alb.loadBalancerAttributes (dict
  "idle_timeout.timeout_seconds" "60"
  "routing.http.drop_invalid_header_fields.enabled" "true"
  "deletion_protection.enabled" (toString .Values.ingress.alb.deletionProtection)) | toYaml -}}
{{- end -}}

{{- /* A map of strings as the controller wants it in an annotation: a=b,c=d. */ -}}
{{- define "freshet.alb.map" -}}
{{- $parts := list -}}
{{- range $key, $value := . -}}{{- $parts = append $parts (printf "%s=%s" $key (toString $value)) -}}{{- end -}}
{{- join "," $parts -}}
{{- end -}}

{{- define "freshet.alb.annotations" -}}
{{- $alb := .Values.ingress.alb -}}
alb.ingress.kubernetes.io/target-type: ip
{{- if $alb.https }}
alb.ingress.kubernetes.io/listen-ports: '[{"HTTP":80},{"HTTPS":443}]'
alb.ingress.kubernetes.io/ssl-redirect: "443"
alb.ingress.kubernetes.io/ssl-policy: {{ $alb.sslPolicy | quote }}
{{- else }}
alb.ingress.kubernetes.io/listen-ports: '[{"HTTP":80}]'
{{- end }}
alb.ingress.kubernetes.io/target-group-attributes: {{ printf "deregistration_delay.timeout_seconds=%d" (int $alb.deregistrationDelaySeconds) | quote }}
{{- with $alb.loadBalancerName }}
alb.ingress.kubernetes.io/load-balancer-name: {{ . | quote }}
{{- end }}
{{- with $alb.inboundCidrs }}
alb.ingress.kubernetes.io/inbound-cidrs: {{ join "," . | quote }}
{{- end }}
{{- with $alb.securityGroups }}
alb.ingress.kubernetes.io/security-groups: {{ join "," . | quote }}
alb.ingress.kubernetes.io/manage-backend-security-group-rules: "true"
{{- end }}
{{- with $alb.wafAclArn }}
alb.ingress.kubernetes.io/wafv2-acl-arn: {{ . | quote }}
{{- end }}
{{- if not $alb.autoMode.enabled }}
alb.ingress.kubernetes.io/scheme: {{ $alb.scheme | quote }}
alb.ingress.kubernetes.io/load-balancer-attributes: {{ include "freshet.alb.map" (include "freshet.alb.attributes" . | fromYaml) | quote }}
{{- with $alb.certificateArns }}
alb.ingress.kubernetes.io/certificate-arn: {{ join "," . | quote }}
{{- end }}
{{- with $alb.groupName }}
alb.ingress.kubernetes.io/group.name: {{ . | quote }}
alb.ingress.kubernetes.io/group.order: {{ $alb.groupOrder | quote }}
{{- end }}
{{- with $alb.tags }}
alb.ingress.kubernetes.io/tags: {{ include "freshet.alb.map" . | quote }}
{{- end }}
{{- end }}
{{- end -}}
