{{/* The release's resources are named after it; `tapekeeper` stays `tapekeeper`. */}}
{{- define "tapekeeper.name" -}}
{{- if contains "tapekeeper" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-tapekeeper" (.Release.Name | trunc 40 | trimSuffix "-") }}{{ end -}}
{{- end -}}

{{/* Selector labels never change between versions: a Deployment's selector is immutable. */}}
{{- define "tapekeeper.selector" -}}
app.kubernetes.io/name: tapekeeper-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tapekeeper.labels" -}}
{{ include "tapekeeper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tapekeeper
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tapekeeper.image" -}}
{{ .image.repository }}:{{ .image.tag | default .version }}
{{- end -}}

{{/* What the operator may do with objects in the namespaces it watches. Every rule says why it is there. */}}
{{- define "tapekeeper.rules" -}}
# The objects it reconciles. It never writes a spec.
- apiGroups: [tapekeeper.dev]
  resources: [exchangefeeds, pipelines, ticksinks]
  verbs: [get, list, watch]
# The finalizer of an object whose deletionPolicy is Delete.
- apiGroups: [tapekeeper.dev]
  resources: [pipelines, ticksinks]
  verbs: [patch]
# Their status, by server-side apply.
- apiGroups: [tapekeeper.dev]
  resources: [exchangefeeds/status, pipelines/status, ticksinks/status]
  verbs: [patch]
# Owner references that block deletion need it where the OwnerReferencesPermissionEnforcement admission plugin is on.
- apiGroups: [tapekeeper.dev]
  resources: [exchangefeeds/finalizers, pipelines/finalizers, ticksinks/finalizers]
  verbs: [update]
# The workers: applied, and watched for drift. They are deleted by their owner reference, so no `delete` is needed.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# The workers' settings, and the certificate authorities they trust.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch]
# The workers' addresses, because their /status is read over HTTP, and why they don't start when they don't.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Credentials of broker and database, read by the name that a manifest gives. Never listed, never watched.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
# Events about transitions; `patch` folds repeats into one.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
