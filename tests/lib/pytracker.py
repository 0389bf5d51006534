#!/usr/bin/python3
"""A small HTTP tracker that can also misbehave on request, for tests.

    pytracker.py [--bind IP] [--port N] [--tls DIR]

The first line of output is the port. Then comes one JSON object per request:
{"path": .., "from": ip, "query": {key: value}} (bytes as latin-1).

It keeps real swarms: what one client announces, the next one is told (BEP 3,
7, 23; `ip` is believed, since a private swarm would). How it answers is in the
path, parts in any order after /announce:

    gzip chunked    the same answer, encoded so
    delay=S         S seconds later          hold        never
    status=N        with that status         reason=TEXT refused
    retry=N|never   refused, "retry in" that many minutes (BEP 31)
    interval=N min=N                         warning=TEXT  id=TEXT
    dicts           peers as a list of dictionaries, not compact
    peer=IP:PORT    one more peer            empty       no peers at all
    bomb            64 MiB of zeros in gzip  flood       a body without end
    garbage         not bencoded             cut         closes in the middle
    loop            redirects to itself      to=URL      redirects there, with
                    the query (URL with every / written as %2F)

--tls makes a certificate authority and a certificate for localhost, 127.0.0.1
and ::1 in DIR (ca.pem is the authority's) and speaks HTTPS.
"""
import argparse
import gzip
import http.server
import ipaddress
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

swarms = {}  # info_hash -> {(ip, port): is_seed}
lock = threading.Lock()


def bencode(v):
    if isinstance(v, int):
        return b"i%de" % v
    if isinstance(v, str):
        v = v.encode("latin-1")
    if isinstance(v, bytes):
        return b"%d:%s" % (len(v), v)
    if isinstance(v, list):
        return b"l" + b"".join(map(bencode, v)) + b"e"
    items = sorted((k.encode(), v) for k, v in v.items())
    return b"d" + b"".join(bencode(k) + bencode(v) for k, v in items) + b"e"


def compact(peers, version):
    out = b""
    for ip, port in peers:
        ip = ipaddress.ip_address(ip)
        if ip.version == version:
            out += ip.packed + port.to_bytes(2, "big")
    return out


def announce(query, source, how):
    """Updates the swarm; returns the answer."""
    me = (query.get("ip", source), int(query["port"]))
    left, event = int(query.get("left", "0")), query.get("event", "")
    with lock:
        swarm = swarms.setdefault(query["info_hash"], {})
        if event == "stopped":
            swarm.pop(me, None)
        else:
            swarm[me] = left == 0
        others = [p for p in swarm if p != me and event != "stopped"]
        seeds = sum(swarm.values())
        total = len(swarm)
    for extra in how.get("peer", []):
        ip, port = extra.rsplit(":", 1)
        others.append((ip.strip("[]"), int(port)))
    if "empty" in how:
        others = []
    others = others[:int(query.get("numwant", "50"))]
    answer = {"interval": int(how.get("interval", ["1800"])[0]),
              "complete": seeds, "incomplete": total - seeds,
              "external ip": ipaddress.ip_address(source).packed}
    if "dicts" in how:
        answer["peers"] = [{"ip": ip, "port": port, "peer id": "x" * 20}
                           for ip, port in others]
    else:
        answer["peers"] = compact(others, 4)
        answer["peers6"] = compact(others, 6)
    for key, name in (("min", "min interval"), ("warning", "warning message"),
                      ("id", "tracker id")):
        if key in how:
            v = how[key][0]
            answer[name] = int(v) if key == "min" else v
    return answer


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body, headers=()):
        self.send_response(status)
        for key, value in headers:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reply_chunked(self, body):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(0, len(body), 7):
            part = body[i:i + 7]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def misbehave(self, how, query, status):
        """True when the answer was one of the bad ones."""
        if "hold" in how:
            time.sleep(3600)
        elif "loop" in how:
            self.reply(302, b"", [("Location", self.path)])
        elif "to" in how:
            self.reply(302, b"", [("Location", how["to"][0] + "?" + query)])
        elif "garbage" in how:
            self.reply(status, b"<html>It works!</html>")
        elif "bomb" in how:
            self.reply(200, gzip.compress(bytes(64 << 20)),
                       [("Content-Encoding", "gzip")])
        elif "flood" in how:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            while True:
                self.wfile.write(bytes(65536))
        elif "cut" in how:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"d8:interval")
            self.close_connection = True
        else:
            return False
        return True

    def do_GET(self):
        try:
            self.handle_get()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    def handle_get(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, encoding="latin-1"))
        how = {}
        for part in url.path.split("/")[2:]:
            key, _, value = part.partition("=")
            how.setdefault(key, []).append(urllib.parse.unquote(value))
        source = self.client_address[0].removeprefix("::ffff:")
        with lock:
            print(json.dumps({"path": url.path, "from": source,
                              "query": query}), flush=True)
        time.sleep(float(how.get("delay", ["0"])[0]))
        status = int(how.get("status", ["200"])[0])
        if self.misbehave(how, url.query, status):
            return
        if "reason" in how or "retry" in how:
            answer = {"failure reason": how.get("reason", ["overloaded"])[0]}
            if "retry" in how:
                minutes = how["retry"][0]
                answer["retry in"] = (int(minutes) if minutes.isdigit()
                                      else minutes)
        else:
            answer = announce(query, source, how)
        body = bencode(answer)
        if "chunked" in how:
            self.reply_chunked(body)
        elif "gzip" in how:
            self.reply(200, gzip.compress(body),
                       [("Content-Encoding", "gzip")])
        else:
            self.reply(status, body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a client that leaves, or does not like our certificate


def make_certificates(folder):
    def openssl(*args):
        subprocess.run(("openssl",) + args, check=True, cwd=folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    os.makedirs(folder, exist_ok=True)
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "2", "-subj", "/CN=weirfs test authority")
    openssl("req", *key, "-keyout", "key.pem", "-out", "cert.csr",
            "-subj", "/CN=localhost")
    with open(os.path.join(folder, "names"), "w", encoding="ascii") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n")
    openssl("x509", "-req", "-in", "cert.csr", "-CA", "ca.pem", "-CAkey",
            "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names",
            "-out", "cert.pem")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", metavar="DIR")
    args = parser.parse_args()
    if ":" in args.bind:
        Server.address_family = socket.AF_INET6
    server = Server((args.bind, args.port), Handler)
    if args.tls:
        make_certificates(args.tls)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(args.tls, "cert.pem"),
                                os.path.join(args.tls, "key.pem"))
        server.socket = context.wrap_socket(server.socket, server_side=True,
                                            do_handshake_on_connect=False)
    print(server.server_address[1], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
