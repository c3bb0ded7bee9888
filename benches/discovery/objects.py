"""The IngressRoutes that are deployed: with the labels, annotations and managed fields that such objects have in a cluster."""

GROUP = "traefik.io"
NAMESPACES = 20


def name(number: int) -> str:
    return f"app-{number:05}"


def namespace(app: str) -> str:
    return f"team-{int(app.rsplit('-', 1)[1]) % NAMESPACES:02}"


def host(app: str) -> str:
    return f"{app}.{namespace(app)}.bench.test"


def route(app: str, target: str | None = None) -> dict:
    """As somebody applies it."""
    annotations = {"kubernetes.io/ingress.class": "traefik", "meta.helm.sh/release-name": app,
                   "meta.helm.sh/release-namespace": namespace(app)}
    if target:
        annotations["external-dns.alpha.kubernetes.io/target"] = target
    labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/instance": app, "app.kubernetes.io/managed-by": "Helm",
              "app.kubernetes.io/version": "1.42.0", "helm.sh/chart": "web-3.1.4"}
    return {
        "apiVersion": f"{GROUP}/v1alpha1", "kind": "IngressRoute",
        "metadata": {"name": app, "namespace": namespace(app), "labels": labels, "annotations": annotations},
        "spec": {"entryPoints": ["websecure"], "tls": {"certResolver": "default"}, "routes": [
            {"kind": "Rule", "match": f"Host(`{host(app)}`) && PathPrefix(`/`)", "middlewares": [{"name": "headers"}],
             "services": [{"name": app, "port": 8080, "passHostHeader": True}]}]},
    }


def stored(app: str) -> dict:
    """As an API server holds it."""
    item = route(app)
    fields = {"f:metadata": {"f:annotations": {".": {}} | {f"f:{key}": {} for key in item["metadata"]["annotations"]},
                             "f:labels": {".": {}} | {f"f:{key}": {} for key in item["metadata"]["labels"]}},
              "f:spec": {".": {}, "f:entryPoints": {}, "f:routes": {}, "f:tls": {".": {}, "f:certResolver": {}}}}
    item["metadata"] |= {
        "uid": f"00000000-0000-4000-8000-{int(app.rsplit('-', 1)[1]):012}", "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [{"manager": "helm", "operation": "Update", "apiVersion": item["apiVersion"],
                           "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields}]}
    return item
