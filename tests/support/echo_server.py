"""A server that answers with what it was started with and what it was asked: `echo_server.py --port PORT ...`."""

import argparse
import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = 0

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/metrics":
            return self.answer(200, f'# TYPE echo_seen counter\necho_seen{{kind="any"}} {Handler.seen}\nidle_ms 250\n')
        if self.path.startswith("/missing"):
            return self.answer(404, "no such page")
        Handler.seen += 1
        said = {
            "method": self.command, "path": self.path, "headers": dict(self.headers), "body": body,
            "arguments": sys.argv[1:], "env": dict(os.environ), "folder": str(Path.cwd()),
            "config": Path(given.config).read_text() if given.config else None,
        }  # fmt: skip
        return self.answer(200, json.dumps(said))

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 - the library's names

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--metrics-port", type=int)
parser.add_argument("--config")
parser.add_argument("--number", type=float)
parser.add_argument("--text")
parser.add_argument("--wait", type=float, default=0.0, help="seconds before it listens")
parser.add_argument("--child", action="store_true", help="start a process of its own")
parser.add_argument("--exact", action="store_true")
given = parser.parse_args()

if __name__ == "__main__":
    print("starting", flush=True)
    if given.child:
        subprocess.Popen(["sleep", "600"])
    time.sleep(given.wait)
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    print(f"listening on {given.port}", flush=True)
    server.serve_forever()
