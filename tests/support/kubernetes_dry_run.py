#!/usr/bin/env python3
"""Holds manifests to a real Kubernetes API server: each object is created in a dry run with strict validation of its fields.

    kubernetes_dry_run.py [--crds FOLDER] ETCD KUBE_APISERVER MANIFEST.yaml...

FOLDER has definitions of custom resources (*.yaml), which are put in first. Kinds that the server does not have all the same are told and
left out.
"""
import glob, json, os, re, socket, ssl, subprocess, sys, tempfile, time, urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(folder, etcd, apiserver):
    client, peer, port = free_port(), free_port(), free_port()
    url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    key = os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    tokens = os.path.join(folder, "tokens.csv")
    with open(tokens, "w") as file:
        file.write('admin-token,admin,1,"system:masters"\n')
    quiet = {"stdout": open(os.path.join(folder, "log"), "w"), "stderr": subprocess.STDOUT}
    processes = [
        subprocess.Popen([etcd, f"--data-dir={folder}/etcd", f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
                          f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}",
                          f"--initial-cluster=default={peer_url}"], **quiet),
        subprocess.Popen([apiserver, f"--etcd-servers={url}", f"--cert-dir={folder}/certificates", f"--secure-port={port}",
                          "--bind-address=127.0.0.1", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
                          "--service-account-issuer=https://test.invalid", f"--service-account-key-file={key}",
                          f"--service-account-signing-key-file={key}", f"--token-auth-file={tokens}",
                          "--disable-admission-plugins=ServiceAccount,Priority"], **quiet),
    ]
    return processes, f"https://127.0.0.1:{port}"


def call(server, method, path, body=None):
    """Status and body of a response. The certificate is one that the server has just made for itself."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Authorization": "Bearer admin-token", "Content-Type": "application/yaml", "Accept": "application/json"}
    request = urllib.request.Request(server + path, method=method, headers=headers, data=body and body.encode())
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def resources(server, version):
    """Plural and scope of each kind of an API version."""
    path = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    status, body = call(server, "GET", path)
    found = json.loads(body)["resources"] if status == 200 else []
    return path, {r["kind"]: r for r in found if "/" not in r["name"]}


def documents(file):
    with open(file) as text:
        return [d for d in re.split(r"^---.*$", text.read(), flags=re.M) if re.search(r"^kind:", d, re.M)]


def define(server, folder):
    """Puts in the definitions of a folder, and waits until all of them are served."""
    path, wanted = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", 0
    for file in sorted(glob.glob(os.path.join(folder, "*.yaml"))):
        for document in documents(file):
            if re.search(r"^kind: CustomResourceDefinition", document, re.M):
                status, body = call(server, "POST", path, document)
                if status != 201:
                    sys.exit(f"{file}: {status} {body}")
                wanted += 1
    established = 0
    end = time.monotonic() + 60
    while established < wanted and time.monotonic() < end:
        items = json.loads(call(server, "GET", path)[1])["items"]
        conditions = [c for item in items for c in item.get("status", {}).get("conditions", [])]
        established = sum(c["type"] == "Established" and c["status"] == "True" for c in conditions)
        time.sleep(0.3)
    # Strict validation reads the OpenAPI document, which follows a moment later.
    time.sleep(2)
    print(f"{established} of {wanted} definitions are served")


def check(server, name, document):
    field = lambda key, indent="": (re.search(rf"^{indent}{key}: *(\S+)", document, re.M) or [None, None])[1]
    version, kind = field("apiVersion"), field("kind")
    path, kinds = resources(server, version)
    if kind not in kinds:
        print(f"not checked: {name}: {version} {kind}, which this server does not have")
        return True
    if kinds[kind]["namespaced"]:
        metadata = document.split("\nspec:")[0]
        namespace = (re.search(r"^  namespace: *(\S+)", metadata, re.M) or [None, "default"])[1]
        # A dry run creates no namespace that the next object could stand in.
        call(server, "POST", "/api/v1/namespaces", f"apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {namespace} }}\n")
        path += f"/namespaces/{namespace}"
    status, body = call(server, "POST", f"{path}/{kinds[kind]['name']}?dryRun=All&fieldValidation=Strict", document)
    if status in (200, 201) or (status == 409 and kind == "Namespace"):
        print(f"accepted: {name}: {version} {kind}")
        return True
    print(f"REFUSED: {name}: {version} {kind}: {status} {body}")
    return False


def main():
    arguments, crds = sys.argv[1:], None
    if arguments[0] == "--crds":
        crds, arguments = arguments[1], arguments[2:]
    etcd, apiserver, *files = arguments
    with tempfile.TemporaryDirectory() as folder:
        processes, server = start(folder, etcd, apiserver)
        try:
            end = time.monotonic() + 120
            while call(server, "GET", "/readyz")[0] != 200:
                if time.monotonic() > end or any(p.poll() is not None for p in processes):
                    print(open(os.path.join(folder, "log")).read()[-3000:])
                    return 1
                time.sleep(0.3)
            if crds:
                define(server, crds)
            good = True
            for file in files:
                for document in documents(file):
                    good &= check(server, os.path.basename(file), document)
            return 0 if good else 1
        finally:
            # Nothing of either is kept; in order, an API server waits for an etcd that is gone.
            for process in processes:
                process.kill()
            for process in processes:
                process.wait()


sys.exit(main())
