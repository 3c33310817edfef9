{{- /* Names, labels and images. Most take a dict: root (the context) and component. */ -}}

{{- define "freshet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "freshet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "freshet.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "freshet.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "freshet.component" -}}
{{- printf "%s-%s" (include "freshet.fullname" .root) .component -}}
{{- end -}}

{{- /* Name of the ConfigMap in which the operator tells ingest and serving what to work on. */ -}}
{{- define "freshet.servingConfig" -}}
{{- printf "%s-featuresets" (include "freshet.fullname" .) -}}
{{- end -}}

{{- /* Never changes between releases of the chart: a Deployment's selector is immutable. */ -}}
{{- define "freshet.selector" -}}
app.kubernetes.io/name: {{ include "freshet.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- /* Ours win over the user's: selectors rest on them. */ -}}
{{- define "freshet.labels" -}}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $more := dict
  "helm.sh/chart" $chart
  "app.kubernetes.io/part-of" "freshet"
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- toYaml (merge (include "freshet.selector" . | fromYaml) $more .root.Values.commonLabels) -}}
{{- end -}}

{{- /* Of pods: the selector's own labels cannot be overridden. Takes values.podLabels as well (dict: values). */ -}}
{{- define "freshet.podLabels" -}}
{{- $own := include "freshet.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "freshet" -}}
{{- toYaml (merge $own (default (dict) .values.podLabels) (default (dict) .root.Values.commonLabels)) -}}
{{- end -}}

{{- /* dict: root, image (the component's block). What the block leaves empty comes from values.image. */ -}}
{{- define "freshet.image" -}}
{{- $common := .root.Values.image -}}
{{- $repository := default $common.repository .image.repository -}}
{{- $registry := default $common.registry .image.registry -}}
{{- $tag := .image.tag | default $common.tag | default .root.Chart.AppVersion -}}
{{- $digest := .image.digest -}}
{{- if and (not $digest) (eq $repository $common.repository) -}}{{- $digest = $common.digest -}}{{- end -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $repository }}:{{ $tag }}{{ with $digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "freshet.pullPolicy" -}}
{{- .image.pullPolicy | default .root.Values.image.pullPolicy | default "IfNotPresent" -}}
{{- end -}}

{{- /* dict: root, component, values. */ -}}
{{- define "freshet.serviceAccount" -}}
{{- if .values.serviceAccount.create -}}
{{- default (include "freshet.component" .) .values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .values.serviceAccount.name -}}
{{- end -}}
{{- end -}}
