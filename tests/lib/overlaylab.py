"""weir-trackers of one overlay on loopback, for tests of its clients: all on
one port, as URLs have only one."""
import json

from harness import HOSTS, check, same, until
from trackerclient import distance, http_scrape, key_id, krpc
from weir import WEIRCTL, Mount, weirctl
from weirtracker import WeirTracker

DOMAIN = "bt.swarm.test"
OWNERS = 3
MORE_HOSTS = [f"10.9.0.{n}" for n in range(4, 8)]


class Lab:
    """Trackers on HOSTS, by host, that know each other; DNS on DNS_PORT."""

    def __init__(self, box, hosts=HOSTS, dns_port=None):
        self.box, self.hosts, self.port = box, list(hosts), box.port()
        self.dns = dns_port or box.port()
        for host in self.hosts:
            if host not in HOSTS:
                box.run(["ip", "addr", "replace", host + "/24", "dev", "lo"])
        self.nodes = {h: self.start(h) for h in self.hosts}
        self.settle()

    def start(self, host, *more):
        joins = [h for h in self.hosts[:2] if h != host]
        return WeirTracker(
            self.box, "--bind", host, "--domain", DOMAIN, "--state",
            self.box.path(f"{host}.state"), "--dns", f"{host}:{self.dns}",
            "--access-log", *(x for h in joins
                              for x in ("--join", f"{h}:{self.port}")),
            *more, port=self.port)

    def settle(self):
        until(lambda: all(len(self.members(h)) == len(self.hosts)
                          for h in self.hosts), 30, "they have met")

    def stats(self, host):
        return json.loads(self.nodes[host].get("/stats.json", host)[2])

    def members(self, host):
        """IPs of whom HOST takes for a tracker, itself among them."""
        return sorted(m["addr"].split(":")[0] for m in
                      self.stats(host)["overlay"]["members"])

    def heard(self, host, protocol="udp"):
        """Announces that came to HOST itself, not from other owners."""
        return self.stats(host)[protocol]["announces"]

    def holds(self, host, infohash):
        """How many peers of INFOHASH it has."""
        got = http_scrape(host, self.port, infohash).get(infohash)
        return got[0] + got[2] if got else 0

    def ranks(self, key):
        """Hosts, closest to the 20 bytes KEY first."""
        ids = {h: krpc(h, self.port, DOMAIN, "kt_ping")[b"id"]
               for h in self.hosts}
        return sorted(ids, key=lambda h: distance(ids[h], key))

    def strange_key(self, infohash):
        """A KEY with owners that do not own the swarm without it."""
        usual = self.ranks(key_id(infohash.hex()))[:OWNERS]
        ids = {h: krpc(h, self.port, DOMAIN, "kt_ping")[b"id"]
               for h in self.hosts}
        for n in range(10000):
            key = f"Key.{n}"
            order = sorted(ids, key=lambda h: distance(ids[h], key_id(key)))
            if not set(order[:OWNERS]) & set(usual):
                return key, order[:OWNERS]
        check(False, "ids lie in one half of the space")
        return None

    # --- clients

    def url(self, key, scheme="udp"):
        return f"{scheme}://{key}.{DOMAIN}:{self.port}/announce"

    def o(self, *hosts):
        """Options of a client that begins with HOSTS (all)."""
        return ["nodht", *(f"overlay={h}:{self.port}"
                           for h in hosts or self.hosts)]

    def lookup(self, *what, status=0):
        out = weirctl(self.box, "lookup", "--tracker", *what, "--json", "-o",
                      ",".join(self.o()), status=status).stdout
        return json.loads(out or '{"owners": []}')

    def owners(self, what):
        return [o["addr"].split(":")[0] for o in self.lookup(what)["owners"]]

    def seed(self, path, parent, host=HOSTS[0], begin=()):
        """A seeder on HOST."""
        state = self.box.path(f"seed.{self.box.count}")
        return self.box.spawn(
            [WEIRCTL, "seed", path, "--data", parent, "--port",
             self.box.port(), "--bind", host, "-o",
             ",".join([*self.o(*begin), f"state={state}"])], "seed")

    def mount(self, *torrents, name="w", more=()):
        return Mount(self.box, *(t.path for t in torrents), name=name,
                     options=[*self.o(), *more])


def same_hosts(got, want, what):
    same(sorted(got), sorted(want), what)
