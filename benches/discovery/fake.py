"""An API server with IngressRoutes in it: lists in pages, watches, and changes asked for over the same port.

It is a process of its own, so that its work is not Hale's:  fake.py PORT COUNT
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import objects

LOCK = threading.Condition()
STORE: dict[str, bytes] = {}
LOG: list[tuple[int, bytes]] = []
VERSION = [10]


def put(event: str, item: dict):
    with LOCK:
        VERSION[0] += 1
        item["metadata"]["resourceVersion"] = str(VERSION[0])
        body = json.dumps(item, separators=(",", ":")).encode()
        name = item["metadata"]["name"]
        if event == "DELETED":
            STORE.pop(name, None)
        else:
            event = "MODIFIED" if name in STORE else "ADDED"
            STORE[name] = body
        LOG.append((VERSION[0], b'{"type":"%s","object":%s}\n' % (event.encode(), body)))
        LOCK.notify_all()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes: without this the second waits for the acknowledgement of the first, 40 ms.
    disable_nagle_algorithm = True
    wbufsize = 1 << 20

    def log_message(self, *_):
        pass

    def reply(self, body: bytes, status: int = 200):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        options = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
        if path == "/apis":
            version = {"groupVersion": f"{objects.GROUP}/v1alpha1", "version": "v1alpha1"}
            return self.reply(json.dumps({"groups": [{"name": objects.GROUP, "versions": [version]}]}).encode())
        if path == f"/apis/{objects.GROUP}/v1alpha1":
            verbs = ["create", "delete", "get", "list", "watch"]
            return self.reply(json.dumps({"resources": [{"name": "ingressroutes", "verbs": verbs}]}).encode())
        if options.get("watch") == "true":
            return self.watch(path, int(options["resourceVersion"]), float(options.get("timeoutSeconds", 60)))
        if path.endswith("/ingressroutes"):
            with LOCK:
                version, items = VERSION[0], list(STORE.values())
        elif path.endswith("/services"):
            version, items = VERSION[0], []
        else:
            return self.reply(b'{"code":404}', 404)
        start, limit = int(options.get("continue", 0)), int(options.get("limit", 1 << 30))
        more = b',"continue":"%d"' % (start + limit) if start + limit < len(items) else b""
        page = b",".join(items[start:start + limit])
        self.reply(b'{"metadata":{"resourceVersion":"%d"%s},"items":[%s]}' % (version, more, page))

    def watch(self, path: str, since: int, seconds: float):
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        ended = threading.Event()
        timer = threading.Timer(seconds, lambda: (ended.set(), wake()))
        timer.daemon = True
        timer.start()
        at = next((i for i, (version, _) in enumerate(LOG) if version > since), len(LOG))
        while not ended.is_set():
            with LOCK:
                LOCK.wait_for(lambda: len(LOG) > at or ended.is_set())
                lines = b"".join(line for _, line in LOG[at:]) if path.endswith("/ingressroutes") else b""
                at = len(LOG)
            if lines:
                self.chunk(lines)
        self.chunk(b"")

    def chunk(self, data: bytes):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def do_PUT(self):
        item = json.loads(self.rfile.read(int(self.headers["content-length"])))
        put("ADDED", item)
        self.reply(b"{}")

    def do_DELETE(self):
        put("DELETED", objects.route(self.path.rsplit("/", 1)[1]))
        self.reply(b"{}")


def wake():
    with LOCK:
        LOCK.notify_all()


if __name__ == "__main__":
    port, count = int(sys.argv[1]), int(sys.argv[2])
    for number in range(count):
        put("ADDED", objects.stored(objects.name(number)))
    # What was there before needs no events.
    LOG.clear()
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    server.serve_forever()
