"""The API servers: ours (fake.py), or a real one with etcd."""

import http.client
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import objects

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def free_port(address="127.0.0.1") -> int:
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((address, port))
                udp.bind((address, port))
            except OSError:
                continue
            return port


class Cluster:
    """What both have in common: a port, a kubeconfig for Hale, and changes over HTTP."""

    def __init__(self, folder: Path):
        self.folder, self.port, self.processes, self.kept = folder, free_port(), [], None
        folder.mkdir()

    def start(self, *command: str):
        log = open(self.folder / f"{Path(command[0]).name}.log", "wb")
        self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: str | None = None, kind="application/json", connection=None):
        connection = connection or self.connect()
        headers = {"content-type": kind, "accept": "application/json", "authorization": "Bearer admin-token"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:300]!r}")
        return text

    def wait(self, path: str):
        deadline = time.monotonic() + 120
        while True:
            try:
                return self.ask("GET", path)
            except (OSError, RuntimeError, http.client.HTTPException):
                if time.monotonic() > deadline or any(p.poll() is not None for p in self.processes):
                    raise
                time.sleep(0.2)

    def kubeconfig(self) -> Path:
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "c",
                  "clusters": [{"name": "k", "cluster": self.server()}],
                  "users": [{"name": "u", "user": {"token": "hale-token"}}],
                  "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]}
        path = self.folder / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def stop(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


class Fake(Cluster):
    NAME = "our fake of the API server, without TLS"

    def __init__(self, folder: Path, count: int):
        super().__init__(folder)
        self.start(sys.executable, "-B", str(Path(__file__).with_name("fake.py")), str(self.port), str(count))
        self.wait("/apis")

    def server(self) -> dict:
        return {"server": f"http://127.0.0.1:{self.port}"}

    def put(self, app: str, target: str | None = None, new=True):
        self.kept = self.kept or self.connect()
        item = objects.stored(app)
        item["metadata"]["annotations"] = objects.route(app, target)["metadata"]["annotations"]
        self.ask("PUT", f"/{app}", json.dumps(item), connection=self.kept)

    def delete(self, app: str):
        self.kept = self.kept or self.connect()
        self.ask("DELETE", f"/{app}", connection=self.kept)


class Real(Cluster):
    NAME = "kube-apiserver with etcd"

    def __init__(self, folder: Path, count: int):
        super().__init__(folder)
        etcd, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.start(os.environ["ETCD_BIN"], f"--data-dir={folder}/etcd", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
                   f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}", "--unsafe-no-fsync")
        key, public = folder / "key.pem", folder / "public.pem"
        run = lambda *command: subprocess.run(command, check=True, capture_output=True)
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
        run("openssl", "ec", "-in", str(key), "-pubout", "-out", str(public))
        (folder / "tokens.csv").write_text('admin-token,admin,1,"system:masters"\nhale-token,hale,2\n')
        self.start(os.environ["KUBE_APISERVER_BIN"], f"--etcd-servers={etcd}", f"--cert-dir={folder}/certificates", f"--secure-port={self.port}",
                   "--bind-address=127.0.0.1", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
                   "--service-account-issuer=https://bench.invalid", f"--service-account-key-file={public}",
                   f"--service-account-signing-key-file={key}", f"--token-auth-file={folder}/tokens.csv")
        self.wait("/readyz")
        definitions = Path(os.environ["TRAEFIK_CRD"]).read_text().split("\n---")
        wanted = next(one for one in definitions if "plural: ingressroutes\n" in one)
        self.ask("POST", CRDS, wanted, "application/yaml")
        role = (Path(__file__).resolve().parents[2] / "docs/kubernetes.md").read_text().split("```yaml\n")[1].split("```")[0]
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterrole"
        self.ask("POST", roles + "s", role, "application/yaml")
        self.ask("POST", roles + "bindings", json.dumps({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "hale"},
            "subjects": [{"kind": "User", "name": "hale", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"kind": "ClusterRole", "name": "hale", "apiGroup": "rbac.authorization.k8s.io"}}))
        for number in range(objects.NAMESPACES):
            name = objects.namespace(objects.name(number))
            self.ask("POST", "/api/v1/namespaces", json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        self.wait(self.path("app-0"))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.fill, range(4), [4] * 4, [count] * 4))

    def fill(self, first: int, step: int, count: int):
        connection = self.connect()
        for number in range(first, count, step):
            app = objects.name(number)
            self.ask("POST", self.path(app), json.dumps(objects.route(app)), connection=connection)

    def path(self, app: str) -> str:
        return f"/apis/{objects.GROUP}/v1alpha1/namespaces/{objects.namespace(app)}/ingressroutes"

    def connect(self) -> http.client.HTTPConnection:
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)

    def server(self) -> dict:
        return {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": f"{self.folder}/certificates/apiserver.crt"}

    def put(self, app: str, target: str | None = None, new=True):
        self.kept = self.kept or self.connect()
        if new:
            self.ask("POST", self.path(app), json.dumps(objects.route(app, target)), connection=self.kept)
        else:
            patch = {"metadata": {"annotations": objects.route(app, target)["metadata"]["annotations"]}}
            self.ask("PATCH", f"{self.path(app)}/{app}", json.dumps(patch), "application/merge-patch+json", self.kept)

    def delete(self, app: str):
        self.kept = self.kept or self.connect()
        self.ask("DELETE", f"{self.path(app)}/{app}", connection=self.kept)
