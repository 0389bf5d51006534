"""weir-tracker processes, each on a host of its own (trackernet), as members of
one overlay, and what can be asked of them.

WEIR_TRACKER names another program than that of the build folder.
"""
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

from harness import LIB, Failed, Skip, check, same, until
from trackerclient import (Udp, distance, dns, http_announce, http_get, key_id,
                           krpc)
from trackernet import SOURCES, Net, with_resolver

BUILD = os.environ.get("WEIRFS_BUILD") or os.path.join(LIB, "../../build")
WEIR_TRACKER = os.environ.get("WEIR_TRACKER") or os.path.join(
    BUILD, "tracker/weir-tracker")
DOMAIN = "bt.swarm.test"
PORT = 6969
REPLICAS = 3


def need_tracker(*options):
    """Skips unless weir-tracker is built and knows OPTIONS."""
    if not os.path.exists(WEIR_TRACKER):
        raise Skip("weir-tracker is not built")
    p = subprocess.run([WEIR_TRACKER, "--help"], capture_output=True, text=True)
    for option in options:
        if option not in p.stdout + p.stderr:
            raise Skip(f"weir-tracker has no {option}")


def need_overlay():
    """Skips unless weir-tracker can be one of several."""
    need_tracker("--join", "--domain", "--dns")


class Tracker:
    """weir-tracker on HOST. Started again, it goes on with its state. Without
    DOMAIN it is alone."""

    def __init__(self, box, host, domain=DOMAIN, joins=(), more=(),
                 with_dns=True):
        self.box, self.host, self.ip = box, host, host.ip4
        self.state = box.path(f"{host.name}.state")
        argv = [WEIR_TRACKER, "--port", PORT, "--bind", host.ip4, "--bind",
                host.ip6, "--state", self.state]
        if domain:
            argv += ["--domain", domain]
            for to in joins:
                argv += ["--join", f"{to}:{PORT}"]
            if with_dns:
                argv += ["--dns", f"{host.ip4}:53"]
        self.argv = host.argv([*argv, *more])
        self.p = None

    def start(self, wait=True):
        self.p = self.box.spawn(self.argv, f"weir-tracker-{self.host.name}")
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=10):
        until(self.is_ready, seconds, f"{self.host.name} answers")

    def is_ready(self):
        if not self.p.alive():
            raise Failed(f"weir-tracker ended: {self.p.log()[-800:]}")
        try:
            return http_get(self.ip, PORT, "/stats.json", seconds=1)[0] == 200
        except OSError:
            return False

    def stats(self):
        return json.loads(http_get(self.ip, PORT, "/stats.json")[2])

    def rss_kib(self):
        with open(f"/proc/{self.p.pid}/status", encoding="utf-8") as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        raise Failed(f"{self.host.name} is gone")

    def is_up(self):
        return self.p is not None and self.p.alive()

    def kill9(self):
        """Dead when this returns. Returns the time."""
        self.p.signal(signal.SIGKILL)
        now = time.monotonic()
        self.p.wait(5)
        return now

    def stop(self, seconds=20):
        """As an init system would. Returns the exit status."""
        self.p.signal(signal.SIGTERM)
        return self.p.wait(seconds, "SIGTERM")

    # --- what it says

    def peers(self, infohash, source=SOURCES[-1], port=1, name=None):
        """All peers it knows, at most 200, without being one: a stopped one is
        told of nobody, so we are one for a moment, behind a port that no other
        peer has."""
        got = http_announce(self.ip, PORT, infohash, port, source, name)["all"]
        http_announce(self.ip, PORT, infohash, port, source, name,
                      event="stopped")
        return got

    def node_id(self):
        r = krpc(self.ip, PORT, DOMAIN, "kt_ping")
        return r and r.get(b"id")

    def owners(self, key):
        """IPs of whom it takes for the owners of the 20 bytes KEY. It names
        itself 0.0.0.0, as who asks knows where it is."""
        r = krpc(self.ip, PORT, DOMAIN, "kt_own", target=key)
        own = (r or {}).get(b"own", b"")
        if isinstance(own, list):
            own = b"".join(own)
        found = [".".join(map(str, own[i + 20:i + 24]))
                 for i in range(0, len(own) // 26 * 26, 26)]
        return [self.ip if a == "0.0.0.0" else a for a in found]


class Overlay:
    """N trackers on hosts 1..N that know each other."""

    def __init__(self, box, n, more=(), domain=DOMAIN, net=None):
        need_overlay()
        self.box, self.net, self.more = box, net or Net(box), list(more)
        self.domain, self.trackers = domain, []
        for i in range(1, n + 1):
            self.add(i).start()
        self.settle()

    def add(self, number):
        """Another one, not started yet."""
        host = self.net.host(f"t{number}", number)
        # Each can begin with any of the first three: those may be dead.
        joins = [f"198.18.{i}.1" for i in range(1, 4) if i != number]
        t = Tracker(self.box, host, self.domain, joins, self.more)
        self.trackers.append(t)
        return t

    def up(self):
        return [t for t in self.trackers if t.is_up()]

    def ranks(self, key):
        """Trackers that are up, closest to the 20 bytes KEY first."""
        ids = {t: t.node_id() for t in self.up()}
        silent = [t.host.name for t, i in ids.items() if not i]
        check(not silent, f"no answer to kt_ping from {silent}")
        return sorted(ids, key=lambda t: distance(ids[t], key))

    def settle(self, seconds=60):
        """Until all agree with us on who owns what."""
        keys = [key_id(f"settle {i}") for i in range(8)]

        def agreed():
            want = {k: [t.ip for t in self.ranks(k)][:REPLICAS] for k in keys}
            return all(t.owners(k)[:REPLICAS] == want[k] for t in self.up()
                       for k in keys)
        until(agreed, seconds, "all trackers name the same owners")

    def resolver(self, argv):
        """ARGV, for which names are what the trackers' DNS says."""
        return with_resolver(self.box, [t.ip for t in self.trackers[:3]], argv)

    def host_of(self, key):
        return f"{key}.{self.domain}"

    def resolve(self, name, kind="A"):
        """As a stub resolver: one server after the other."""
        for t in self.trackers[:3]:
            r = dns(t.ip, name, kind)
            if r and r[0] in (0, 3):
                return r
        raise Failed(f"no DNS server answers for {name}")


def swarm_hash(i):
    return hashlib.sha1(b"swarm %d" % i).digest()


class Flood:
    """tests/lib/announcer.py at work: RATE announces a second, of SWARMS (a
    list of infohashes), to the first of TRACKERS that answers."""

    def __init__(self, box, rate, swarms, trackers, sources=None):
        self.swarms = swarms
        self.sources = sources or SOURCES[:200]
        self.out = box.path(f"announces-{box.count}")
        self.p = box.spawn(
            [sys.executable, os.path.join(LIB, "announcer.py"), self.out, rate,
             box.write(f"swarms-{box.count}",
                       "".join(h.hex() + "\n" for h in swarms)),
             ",".join(f"{t.ip}:{PORT}" for t in trackers), *self.sources],
            "announcer", stdin=subprocess.PIPE)
        until(lambda: "going" in self.p.log() or not self.p.alive(), 15,
              "the announcer has its connection ids")
        check(self.p.alive(), "the announcer ended: " + self.p.log()[-400:])

    def end(self):
        """Returns what was announced: a list of (infohash, endpoint, sent,
        acked, tracker); acked is None for what nobody acknowledged."""
        self.p.p.stdin.close()
        self.p.p.stdin = None
        same(self.p.wait(15, "the end of its input"), 0, "the announcer's exit "
             f"status ({self.p.log()[-400:]})")
        out, n_swarms, n_sources = [], len(self.swarms), len(self.sources)
        with open(self.out, encoding="utf-8") as f:
            for n, line in enumerate(f):
                sent, acked, by = line.split()
                out.append((self.swarms[n % n_swarms],
                            f"{self.sources[n % n_sources]}:"
                            f"{1024 + n // n_swarms}", float(sent),
                            None if acked == "-" else float(acked), int(by)))
        return out


class Asker:
    """Asks one tracker for whole swarms, as many clients in turn, so that no
    limit of one client's requests is met. It becomes a peer itself: port 1."""

    def __init__(self, tracker):
        self.clients = [Udp(tracker.ip, PORT, s) for s in SOURCES[200:]]
        self.turn = 0

    def peers(self, infohash):
        for _ in range(20):
            self.turn += 1
            try:
                got = self.clients[self.turn % len(self.clients)].announce(
                    infohash, 1, numwant=200)[2]
                check(len(got) < 195, "swarms are too large to be read at once")
                return {p for p in got if not p.endswith(":1")}
            except Failed as e:
                refused = e
                time.sleep(0.1)
        raise refused

    def close(self):
        for c in self.clients:
            c.close()


def missing_of(announced, askers_of):
    """Those of ANNOUNCED (pairs of infohash and endpoint) that are listed by
    none of ASKERS_OF(infohash)."""
    want, missing = {}, []
    for infohash, peer in announced:
        want.setdefault(infohash, set()).add(peer)
    for infohash, peers in want.items():
        for asker in askers_of(infohash):
            if peers:
                peers -= asker.peers(infohash)
        missing += [(infohash.hex(), p) for p in peers]
    return missing
