#!/usr/bin/python3
"""Goal: a closed overlay: whoever has its key or a certificate is in, nobody
else is, and a tracker that nobody would let in says why and does not start."""
import os
import re
import stat
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import HOSTS, case, check, main, need, same, until
from overlaylab import DOMAIN, Lab, same_hosts
from trackerclient import dns, key_id, krpc, realm
from weirtracker import PROGRAM, WeirTracker, refused

LIMIT = 90


def new_key(box, name="realm.key"):
    path = box.path(name)
    box.run([PROGRAM, "--new-realm-key", path])
    return path


def own_key(box, state):
    """The public key of the tracker with this state, which it makes if there
    is none: as its log says it."""
    t = WeirTracker(box, "--bind", HOSTS[0], "--domain", DOMAIN, "--state",
                    state)
    key = re.search(r" key=([0-9a-f]{64})\b", t.wait_log("overlay domain="))[1]
    t.stop()
    return key


def certificate(box, key_file, tracker, domain=DOMAIN):
    return box.run([PROGRAM, "--domain", domain, "--realm-key", key_file,
                    "--certify", tracker]).stdout


def fields(text):
    return dict(line.split() for line in text.splitlines())


def expired(box, key_file, tracker):
    """A certificate as the key's owner would have made it long ago."""
    need("openssl")
    with open(key_file, encoding="utf-8") as f:
        key = fields(f.read())
    end = struct.pack(">Q", int(time.time()) - 10)
    der = box.write("secret.der", bytes.fromhex(
        "302e020100300506032b657004220420" + key["realm-secret"]))
    signed = box.write("signed", b"weirfs tracker certificate" + realm(DOMAIN)
                       + bytes.fromhex(tracker) + end)
    out = box.path("signature")
    box.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", der, "-keyform",
             "DER", "-in", signed, "-out", out])
    with open(out, "rb") as f:
        return f"realm-public {key['realm-public']}\n" \
            f"certificate {(end + f.read()).hex()}\n"


class Closed(Lab):
    """The first has the key, the second a certificate, the third nothing."""

    def __init__(self, box):
        key = new_key(box)
        of_second = own_key(box, box.path(f"{HOSTS[1]}.state"))
        self.files = {HOSTS[0]: key, HOSTS[1]: box.write(
            "second.cert", certificate(box, key, of_second))}
        super().__init__(box)

    def start(self, host, *more):
        if host in self.files:
            more += ("--realm-key", self.files[host])
        return super().start(host, *more)

    def settle(self):
        until(lambda: all(self.members(h) == HOSTS[:2] for h in HOSTS[:2]), 30,
              "those of the realm have met")


@case("key and certificate let a tracker in; a stranger never is a member, an "
      "owner, or in DNS", LIMIT)
def closed(box):
    lab = Closed(box)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for host in HOSTS[:2]:
            same(lab.members(host), HOSTS[:2], f"members, says {host}")
            own = (krpc(host, lab.port, DOMAIN, "kt_own", target=key_id("film"))
                   or {}).get(b"own", b"")
            own = b"".join(own) if isinstance(own, list) else own
            check(bytes(map(int, HOSTS[2].split("."))) not in own,
                  f"{host} names the stranger an owner")
            same_hosts(dns(host, f"film.{DOMAIN}", port=lab.dns)[1], HOSTS[:2],
                       "owners in DNS")
        time.sleep(0.5)
    # What the stranger is told, the realm does not hear, and it hears nothing.
    told = {h: bytes([n]) * 20 for n, h in enumerate(HOSTS)}
    for host, infohash in told.items():
        lab.nodes[host].announce(infohash, 5000, host)
    until(lambda: lab.holds(HOSTS[0], told[HOSTS[1]])
          and lab.holds(HOSTS[1], told[HOSTS[0]]), 20, "copies")
    time.sleep(3)
    for host in HOSTS[:2]:
        same(lab.holds(host, told[HOSTS[2]]), 0, "peers of the stranger's")
        same(lab.holds(HOSTS[2], told[host]), 0, "peers at the stranger")


@case("the key's file is its owner's alone, and never written over", LIMIT)
def key_file(box):
    path = new_key(box)
    same(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    same(sorted(fields(text)), ["realm-public", "realm-secret"], "lines")
    check("exists" in refused(box, "--new-realm-key", path), "a second one")
    with open(path, encoding="utf-8") as f:
        same(f.read(), text, "the first one")
    check("No such" in refused(box, "--new-realm-key", box.path("no/key")),
          "no such folder")


@case("files that would let nobody in: status 1, and what is wrong", LIMIT)
def wrong_files(box):
    state = box.path("state")
    key, other = new_key(box), new_key(box, "other.key")
    mine, another = own_key(box, state), own_key(box, box.path("another"))
    good = certificate(box, key, mine)

    def start(path, says, domain=DOMAIN):
        text = refused(box, "--port", box.port(), "--bind", HOSTS[0],
                       "--domain", domain, "--state", state, "--realm-key",
                       path)
        check(says in text and path in text, f"{says!r} and the file: {text}")
        return text
    start(box.path("none"), "No such file")
    start(box.mkdir("folder"), "not readable")
    start(box.write("empty", ""), "realm-public")
    start(box.write("noise", "hello\n"), "line 1")
    start(box.write("long", "# " + "x" * 100000), "too long")
    start(box.write("cut", good[:-20]), "line 2")
    start(box.write("public", good.splitlines()[0] + "\n"), "no certificate")
    for name, text in (("another", certificate(box, key, another)),
                       ("domain", certificate(box, key, mine, "bt.x.test")),
                       ("mixed", good.splitlines()[0] + "\n" + certificate(
                           box, other, mine).splitlines()[1] + "\n")):
        said = start(box.write(name + ".cert", text), "another tracker")
        check(mine in said, "the key to certify")
    said = start(box.write("old.cert", expired(box, key, mine)), "expired")
    check(mine in said, "the key to certify")
    # The key and the state are as before.
    t = WeirTracker(box, "--bind", HOSTS[0], "--domain", DOMAIN, "--state",
                    state, "--realm-key", box.write("good.cert", good))
    check(mine in t.p.log(), "another key")
    t.stop()


@case("--certify: what it cannot sign is said", LIMIT)
def certify(box):
    key = new_key(box)
    mine = own_key(box, box.path("state"))
    cert = box.write("cert", certificate(box, key, mine))
    base = ["--domain", DOMAIN, "--realm-key"]
    check("can certify" in refused(box, *base, cert, "--certify", mine),
          "a certificate certifies nobody")
    check("64 hex" in refused(box, *base, key, "--certify", mine[1:]),
          "a short key")
    check("No such" in refused(box, *base, box.path("no"), "--certify", mine),
          "no such file")
    check("--domain" in refused(box, "--certify", mine, "--realm-key", key,
                                status=2), "no domain")
    check("--realm-key" in refused(box, "--certify", mine, "--domain", DOMAIN,
                                   status=2), "no key")
    check("--domain" in refused(box, "--realm-key", key, status=2),
          "a realm of what")


if __name__ == "__main__":
    main()
