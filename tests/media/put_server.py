#!/usr/bin/env python3
"""An HTTP server that takes files by PUT, for tests.

usage: put_server.py FOLDER USER PASSWORD

Prints its port. Refuses whoever is not the user, and the first request that is right with 503, as a server does that is
being started.
"""
import base64
import http.server
import pathlib
import sys

folder, user, password = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    refused = 0

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("authorization") != expected:
            return self.answer(401)
        if Handler.refused == 0:
            Handler.refused += 1
            return self.answer(503)
        file = folder / self.path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        self.answer(201)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
