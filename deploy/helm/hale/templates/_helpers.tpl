{{- define "hale.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "hale.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "hale.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "hale.selector" -}}
app.kubernetes.io/name: {{ include "hale.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "hale.labels" -}}
{{ include "hale.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "hale.serviceAccount" -}}
{{- default (ternary (include "hale.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- /* hale.json: what the chart sets, over what is given. */ -}}
{{- define "hale.config" -}}
{{- $admin := dict "metrics_listen" (printf "%s:8080" .Values.bindAddress) "probes_listen" (printf "%s:8081" .Values.bindAddress) -}}
{{- if .Values.admin.existingSecret -}}
{{- $_ := set $admin "listen" (printf "%s:8053" .Values.bindAddress) -}}
{{- $_ := set $admin "token" (dict "file" (printf "/run/secrets/hale/%s" .Values.admin.key)) -}}
{{- end -}}
{{- $set := dict "port" (int .Values.containerPort) "state" "/var/lib/hale" "zones" (list "/etc/hale/zones/*.json") "admin" $admin -}}
{{- toPrettyJson (merge $set (deepCopy .Values.config)) -}}
{{- end -}}

{{- /* "true" if a source reads the cluster that the pod runs in. */ -}}
{{- define "hale.inCluster" -}}
{{- range .Values.config.sources -}}
{{- if and .kubernetes (kindIs "map" .kubernetes) (.kubernetes.in_cluster) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What cannot work is refused while rendering, with the reason. */ -}}
{{- define "hale.refusals" -}}
{{- range $key := list "listen" "port" "state" "admin" "zones" "watch" -}}
{{- if hasKey $.Values.config $key -}}
{{- fail (printf "config.%s is set by the chart" $key) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.existingZones .Values.zones -}}
{{- fail "give zones or existingZones, not both" -}}
{{- end -}}
{{- if not (or .Values.existingZones .Values.zones) -}}
{{- fail "give zones, or a ConfigMap of zone files by existingZones: a server without a zone does not start" -}}
{{- end -}}
{{- if gt (int .Values.replicas) 1 -}}
{{- range $key := list "update" "transfer" -}}
{{- if index $.Values.config $key -}}
{{- fail (printf "config.%s needs replicas: 1: what one replica is told, the others do not know" $key) -}}
{{- end -}}
{{- end -}}
{{- range $name, $zone := .Values.zones -}}
{{- /* "dnssec" may be the word "off". */ -}}
{{- if and (kindIs "map" $zone.dnssec) (eq (toString $zone.dnssec.keys) "auto") -}}
{{- fail (printf "zones.%s: \"dnssec\" keys \"auto\" need replicas: 1: every replica would make its own; give them by a Secret (keys)" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $way := list "ingress" "ingressRoute" "httpRoute" -}}
{{- $values := index $.Values $way -}}
{{- if $values.enabled -}}
{{- if not $.Values.admin.existingSecret -}}
{{- fail (printf "%s needs admin.existingSecret: the API is not opened without a token" $way) -}}
{{- end -}}
{{- if not $values.host -}}
{{- fail (printf "%s.host is missing" $way) -}}
{{- end -}}
{{- if and (eq $way "httpRoute") (not $values.parentRefs) -}}
{{- fail "httpRoute.parentRefs is missing: a route without a Gateway leads nowhere" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
