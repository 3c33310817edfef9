{{- /* Parts of the small servers for development. dict: root, component, values. */ -}}

{{- define "freshet.dev.metadata" -}}
name: {{ include "freshet.component" . }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "freshet.labels" . | nindent 2 }}
{{- end -}}

{{- /* Of a workload: the image's files belong to the user that it was made for. */ -}}
{{- define "freshet.dev.workload" -}}
{{ include "freshet.dev.metadata" . }}
annotations:
  {{- if lt (int .values.user) 10000 }}
  checkov.io/skip1: CKV_K8S_40=a public image for development, which runs as the user it was made for
  {{- end }}
  checkov.io/skip2: CKV_K8S_35=for development; the image takes its password so
  {{- if .token }}
  checkov.io/skip3: CKV_K8S_38=it looks for pods to scrape
  {{- end }}
{{- end -}}

{{- define "freshet.dev.podMetadata" -}}
labels:
  {{- include "freshet.selector" . | nindent 2 }}
  app.kubernetes.io/part-of: freshet
{{- with .annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Head of a pod's spec. dict: user as well; token: whether it may talk to the API server. */ -}}
{{- define "freshet.dev.pod" -}}
automountServiceAccountToken: {{ default false .token }}
enableServiceLinks: false
securityContext: {{- include "freshet.podSecurity" (dict "user" .values.user) | nindent 2 }}
{{- include "freshet.pullSecrets" .root }}
{{- end -}}

{{- define "freshet.dev.container" -}}
image: {{ .values.image | quote }}
imagePullPolicy: IfNotPresent
{{- with .values.command }}
command: {{- toYaml . | nindent 2 }}
{{- end }}
resources: {{- toYaml .values.resources | nindent 2 }}
securityContext: {{- include "freshet.containerSecurity" .root | nindent 2 }}
{{- end -}}

{{- /* The component's own variables, then those of values.env (a map; values are templates). dict: own (list) as well. */ -}}
{{- define "freshet.dev.env" -}}
{{- $more := list -}}
{{- $root := .root -}}
{{- range $name, $value := .values.env -}}
{{- $more = append $more (dict "name" $name "value" (tpl (toString $value) $root)) -}}
{{- end -}}
{{- include "freshet.env" (list .own $more) -}}
{{- end -}}

{{- define "freshet.dev.service" -}}
apiVersion: v1
kind: Service
metadata: {{- include "freshet.dev.metadata" . | nindent 2 }}
spec:
  type: ClusterIP
  selector: {{- include "freshet.selector" . | nindent 4 }}
  ports:
    {{- range $name, $port := .ports }}
    - {name: {{ $name }}, port: {{ $port }}, targetPort: {{ $name }}, protocol: TCP}
    {{- end }}
{{- end -}}

{{- define "freshet.dev.claim" -}}
metadata:
  name: data
  labels: {{- include "freshet.selector" . | nindent 4 }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .values.persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .values.persistence.size }}
{{- end -}}

{{- /* Only pods of Freshet may come in at these ports. dict: ports (numbers), egress (YAML list). */ -}}
{{- define "freshet.dev.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{- include "freshet.dev.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels: {{- include "freshet.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports:
        {{- range .ports }}
        - {port: {{ . }}, protocol: TCP}
        {{- end }}
      from:
        - namespaceSelector: {}
          podSelector:
            matchLabels: {app.kubernetes.io/part-of: freshet}
  {{- with .egress }}
  egress: {{- . | nindent 4 }}
  {{- end }}
{{- end -}}
