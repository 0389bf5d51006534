#!/usr/bin/python3
"""Goal: the tracker's web serves, over real sockets and by threads, clients
that are quick, slow, rude or many, and TLS whose certificate changes."""
import gzip
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import Failed, case, check, main, need, same, until
from torrent import bdecode

LAB = os.path.join(os.environ["WEIRFS_BUILD"], "tests/tracker/web_lab")
A = "a" * 20


class Lab:
    """web_lab under way; see the top of web_lab.c."""

    def __init__(self, box, *args, under=()):
        self.p = box.spawn([*under, LAB, *args], "web_lab", stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=True).p
        self.http, self.https = [], []
        for line in self.p.stdout:
            word, _, addr = line.strip().partition(" ")
            if word == "ready":
                break
            host, _, port = addr.rpartition(":")
            getattr(self, word).append((host.strip("[]"), int(port)))
        check(self.http, "web_lab did not start")

    def tell(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def connect(self, source=None, at=None):
        return socket.create_connection(at or self.http[0], 20,
                                        source and (source, 0))

    def stats(self):
        return json.loads(fetch(self.connect(), "/stats.json"))


def request(target, close=True, version="1.1"):
    return (f"GET {target} HTTP/{version}\r\nHost: t\r\n"
            + "Connection: close\r\n" * close + "\r\n").encode()


def announce(h=A, port=1, close=True, left=1):
    return request(f"/announce?info_hash={h}&port={port}&left={left}", close)


def read_all(s):
    data = b""
    while True:
        more = s.recv(65536)
        if not more:
            return data
        data += more


def read_answer(f):
    """(status, headers, body) of one answer from a file of a socket."""
    status = f.readline()
    check(status.startswith(b"HTTP/1.1 "), f"not an answer: {status!r}")
    headers = {}
    while (line := f.readline().strip()):
        name, _, value = line.partition(b": ")
        headers[name.lower().decode()] = value.decode()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while (n := int(f.readline(), 16)):
            body += f.read(n)
            f.readline()
        f.readline()
    else:
        body = f.read(int(headers["content-length"]))
    return int(status.split()[1]), headers, body


def fetch(s, target):
    s.sendall(request(target))
    return read_answer(s.makefile("rb"))[2]


def is_closed(s):
    s.setblocking(False)
    try:
        return s.recv(65536) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@case("a request on a fresh connection is answered and the connection closed")
def fresh(box):
    lab = Lab(box)
    for version in "1.0", "1.1":
        s = lab.connect()
        s.sendall(request(f"/announce?info_hash={A}&port=9&left=0", True,
                          version))
        head, _, body = read_all(s).partition(b"\r\n\r\n")
        check(head.startswith(b"HTTP/1.1 200 OK"), head)
        same(bdecode(body)[b"complete"], 1, "seeders")


@case("kept connections, pipelined requests and single bytes")
def kept(box):
    lab = Lab(box)
    s = lab.connect()
    f = s.makefile("rb")
    for _ in range(3):
        s.sendall(announce(close=False))
        same(read_answer(f)[0], 200, "status")
    n = 2000
    threading.Thread(target=s.sendall, daemon=True, args=(
        b"".join(announce(close=False, port=1 + i) for i in range(n)),)).start()
    for i in range(n):
        same(read_answer(f)[0], 200, f"status of answer {i}")
    for byte in announce(close=True):
        s.sendall(bytes([byte]))
    same(read_answer(f)[0], 200, "status")
    same(f.read(), b"", "after the last answer")


@case("what is refused is told, and the answer is not reset away")
def refused(box):
    lab = Lab(box)
    for text, status in (
            (b"\0" * 10, 400), (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET /" + b"a" * 60000, 414),
            (b"GET / HTTP/1.0\r\nX: " + b"a" * 60000, 431),
            (b"POST / HTTP/1.0\r\nContent-Length: 100000\r\n\r\n"
             + b"x" * 100000, 413),
            (b"PUT / HTTP/1.0\r\n\r\n" + b"x" * 50000, 405),
            (b"GET /x HTTP/1.0\r\n\r\n" + b"more", 404)):
        s = lab.connect()
        s.sendall(text)
        got = read_all(s)
        check(got.startswith(b"HTTP/1.1 %d " % status),
              f"{got[:40]} for {text[:40]}")


@case("half-closed connections get their answer", 30)
def half_closed(box):
    lab = Lab(box)
    for close in True, False:
        s = lab.connect()
        s.sendall(announce(close=close))
        s.shutdown(socket.SHUT_WR)
        check(read_all(s).startswith(b"HTTP/1.1 200"), "no answer")


@case("who is slow or idle is closed, however it trickles", 60)
def slow(box):
    lab = Lab(box, "-i", "1500")
    idle, silent, loris = (lab.connect() for _ in range(3))
    idle.sendall(announce(close=False))
    read_answer(idle.makefile("rb"))
    silent.sendall(b"G")
    loris.sendall(b"GET / HTTP/1.1\r\n")
    began = time.monotonic()

    def trickle():
        try:
            loris.sendall(b"X: y\r\n")
        except OSError:
            pass
        return is_closed(loris)
    until(trickle, 10, "the trickling one is closed")
    check(time.monotonic() - began > 1, "closed too soon")
    until(lambda: is_closed(idle) and is_closed(silent), 10, "all are closed")
    same(lab.stats()["http"]["timeouts"], 3, "timeouts")
    same(lab.stats()["http"]["open"], 0, "open")


@case("over the caps, who waits for longest makes room", 60)
def caps(box):
    for ip in "198.51.100.1", "198.51.100.2":
        subprocess.run(["ip", "addr", "add", ip + "/32", "dev", "lo"],
                       check=True)
    lab = Lab(box, "-t", "1", "-a", "5", "-m", "20", "-l", "0.0.0.0:0")
    at = ("198.51.100.1", lab.http[0][1])

    def wait(source):
        s = lab.connect(source, at)
        s.sendall(announce(close=False))
        read_answer(s.makefile("rb"))
        return s
    first = [wait("198.51.100.2") for _ in range(5)]
    more = wait("198.51.100.2")
    until(lambda: is_closed(first[0]), 5, "the address's oldest is closed")
    check(not any(map(is_closed, [*first[1:], more])), "others were closed")
    local = [wait("127.0.0.1") for _ in range(15)]  # not counted by address
    check(not is_closed(first[1]), "room for twenty")
    last = wait("127.0.0.1")
    until(lambda: is_closed(first[1]), 5, "the oldest of all is closed")
    check(not any(map(is_closed, [*first[2:], *local, last])), "too many")


@case("without a free descriptor it still serves who comes")
def descriptors(box):
    under = [need("prlimit"), "--nofile=30"]
    lab = Lab(box, "-t", "1", under=under)
    held = []
    for _ in range(60):
        s = lab.connect()
        s.sendall(b"GET / HT")
        held.append(s)
        time.sleep(0.002)
    until(lambda: is_closed(held[0]), 5, "the oldest made room")
    for _ in range(20):
        s = lab.connect()
        s.sendall(announce())
        check(b"8:interval" in read_all(s), "no answer")
    check(lab.stats()["http"]["over_cap"] >= 30, "nobody was counted")


@case("many clients at once, by several threads", 120)
def many(box):
    lab = Lab(box, "-t", "4")
    bad = []

    def client(n):
        try:
            for i in range(100):
                s = lab.connect()
                s.sendall(announce(port=1000 + n * 100 + i))
                check(b"8:interval" in read_all(s), "no answer")
                if i % 10 == 0:
                    fetch(lab.connect(), "/metrics")
        except (OSError, Failed) as e:
            bad.append(e)
    threads = [threading.Thread(target=client, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same(bad, [], "errors")
    same(lab.stats()["http"]["announces"], 1600, "announces")
    same(lab.stats()["swarms"]["peers4"], 1600, "peers")


@case("IPv6 and IPv4 clients, and both kinds of peers")
def families(box):
    lab = Lab(box, "-l", "[::1]:0", "-l", "127.0.0.1:0")
    for n, at in enumerate(lab.http):
        s = lab.connect(None, at)
        s.sendall(announce(port=10 + n))
        read_all(s)
    s = lab.connect(None, lab.http[0])
    s.sendall(announce(port=99))
    got = bdecode(read_all(s).partition(b"\r\n\r\n")[2])
    same(got[b"peers"], bytes([127, 0, 0, 1, 0, 11]), "peers")
    same(got[b"peers6"], bytes(15) + bytes([1, 0, 10]), "peers6")
    same(got[b"external ip"], bytes(15) + b"\1", "external ip")


def fill(lab, n):
    s = lab.connect()
    f = s.makefile("rb")
    for i in range(n):
        s.sendall(announce(h=f"{i:020}", close=False))
        read_answer(f)


@case("full scrapes, plain, compressed, and to who does not read", 60)
def full(box):
    lab = Lab(box, "-f", "-i", "1500")
    fill(lab, 3000)
    s = lab.connect()
    s.sendall(request("/scrape", close=False) + request("/robots.txt"))
    f = s.makefile("rb")
    files = bdecode(read_answer(f)[2])[b"files"]
    same(len(files), 3000, "torrents")
    check(b"Disallow" in read_answer(f)[2], "the answer behind it")
    s = lab.connect()
    s.sendall(b"GET /scrape HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
              b"Accept-Encoding: gzip\r\n\r\n")
    _, headers, body = read_answer(s.makefile("rb"))
    same(headers["content-encoding"], "gzip", "coding")
    same(bdecode(gzip.decompress(body))[b"files"], files, "files")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(lab.http[0])
    for _ in range(40):
        s.sendall(request("/scrape", close=False))
    until(lambda: lab.stats()["http"]["timeouts"], 10, "it is given up")


@case("curl is content", 60)
def curl(box):
    lab = Lab(box, "-f")
    program = need("curl")
    url = "http://%s:%d" % lab.http[0]

    def get(*args):
        return subprocess.run([program, "-sS", "--fail", *args],
                              check=True, capture_output=True, timeout=20,
                              env={"no_proxy": "*"}).stdout
    hash_ = "%01%02" + "%ff" * 18
    got = bdecode(get(f"{url}/announce?info_hash={hash_}&port=5&left=0"))
    same(got[b"complete"], 1, "seeders")
    got = bdecode(get("--compressed", url + "/scrape"))
    same(list(got[b"files"]), [b"\1\2" + b"\xff" * 18], "files")
    check(b"<h1>weir-tracker</h1>" in get(url + "/"), "no page")
    check(b"HTTP/1.1 200" in get("-I", url + "/metrics"), "no HEAD")
    for line in get(url + "/metrics").decode().splitlines():
        check(re.fullmatch(r"# (HELP|TYPE) weir_tracker_\w+ .+|"
                           r"weir_tracker_\w+ \d+", line), line)


def certificate(box, name, host):
    need("openssl")
    cert, key = box.path(name + ".crt"), box.path(name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=" + host, "-addext",
                    "subjectAltName=DNS:" + host, "-keyout", key, "-out",
                    cert], check=True, capture_output=True)
    return cert, key


def tls_connect(lab, cert, host, **kw):
    context = ssl.create_default_context(cafile=cert)
    for name, value in kw.items():
        setattr(context, name, value)
    return context.wrap_socket(lab.connect(None, lab.https[0]),
                               server_hostname=host)


@case("HTTPS, kept and closed, and a certificate that changes", 60)
def https(box):
    one, two = (certificate(box, n, n + ".example") for n in ("one", "two"))
    cert, key = box.path("cert"), box.path("key")

    def use(pair):
        for source, path in zip(pair, (cert, key)):
            with open(source, encoding="ascii") as f:
                box.write(os.path.basename(path), f.read())
    use(one)
    lab = Lab(box, "-c", cert, "-k", key, "-f")
    fill(lab, 3000)
    old = tls_connect(lab, one[0], "one.example")
    old_file = old.makefile("rb")
    old.sendall(announce(close=False))
    same(read_answer(old_file)[0], 200, "status")
    use(two)
    same(lab.tell("reload"), "ok", "reload")
    old.sendall(announce(close=False) * 50)
    for _ in range(50):
        same(read_answer(old_file)[0], 200, "status on the old connection")
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        s = tls_connect(lab, two[0], "two.example", maximum_version=version)
        s.sendall(request("/scrape"))
        f = s.makefile("rb")
        same(len(bdecode(read_answer(f)[2])[b"files"]), 3001, "torrents")
        same(f.read(), b"", "the end")
    box.write("cert", "nonsense")
    check("certificate" in lab.tell("reload"), "nonsense was taken")
    s = tls_connect(lab, two[0], "two.example")
    s.sendall(announce())
    check(b"8:interval" in read_all(s), "the good one is still in use")
    try:
        tls_connect(lab, one[0], "one.example")
        raise Failed("the old certificate is still there")
    except ssl.SSLError:
        pass


@case("who cannot speak TLS, or stops in the middle, harms nobody", 60)
def tls_hostile(box):
    cert, key = certificate(box, "one", "one.example")
    lab = Lab(box, "-c", cert, "-k", key, "-i", "1500", "-t", "1")
    rude = [lab.connect(None, lab.https[0]) for _ in range(4)]
    rude[0].sendall(announce())
    rude[1].sendall(b"\x16\x03\x01\x02\x00")  # and no more
    rude[2].sendall(os.urandom(3000))
    rude[3].sendall(b"\x16")
    s = tls_connect(lab, cert, "one.example")
    s.sendall(announce())
    check(b"8:interval" in read_all(s), "no answer beside them")
    until(lambda: all(map(is_closed, rude)), 10, "all are closed")
    s = lab.connect()
    s.sendall(announce())
    check(b"8:interval" in read_all(s), "no answer after them")


@case("leaving, it says when to come back")
def leaving(box):
    lab = Lab(box)
    lab.tell("leave")
    s = lab.connect()
    s.sendall(announce())
    check(b"8:retry ini1e" in read_all(s), "no retry in")


@case("the log of requests shows who asked what, made harmless")
def access_log(box):
    lab = Lab(box, "-A", "-x", "127.0.0.0/8")
    s = lab.connect()
    s.sendall(b"GET /x\xff?y\"z HTTP/1.0\r\nX-Forwarded-For: 192.0.2.7\r\n"
              b"\r\n")
    check(b" 404 " in read_all(s), "no answer")
    line = lab.tell("flush")
    check(re.fullmatch(r'[-\dT:]+Z 192\.0\.2\.7 "/x\\xff\?y\\x22z" 404',
                       line), line)


@case("a port that another one has is refused")
def taken(box):
    lab = Lab(box)
    p = subprocess.run([LAB, "-l", "%s:%d" % lab.http[0]],
                       capture_output=True, text=True, timeout=20)
    same(p.returncode, 2, "exit status")
    check("cannot listen on" in p.stderr, p.stderr)


if __name__ == "__main__":
    main()
