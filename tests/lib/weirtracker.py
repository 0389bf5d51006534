"""weir-tracker by itself, as a process of a test, on loopback.

WEIR_TRACKER names another program than that of the build folder.
"""
import json
import os
import re
import signal

from harness import HOSTS, LIB, Failed, same, until
from trackerclient import Udp, http_announce, http_get, http_scrape

BUILD = os.environ.get("WEIRFS_BUILD") or os.path.join(LIB, "../../build")
PROGRAM = os.environ.get("WEIR_TRACKER") or os.path.join(
    BUILD, "tracker/weir-tracker")


def refused(box, *options, status=1, env=None, argv=()):
    """What it says when it does not start."""
    p = box.run([*argv, PROGRAM, *options], seconds=10, status=status, env=env)
    return p.stderr


class WeirTracker:
    """Started by the time this is made; may be started again."""

    def __init__(self, box, *options, port=None, env=None):
        self.box, self.env, self.options = box, env, options
        self.port = port or box.port()
        self.p = None
        self.start()

    def start(self):
        self.p = self.box.spawn([PROGRAM, "--port", self.port, *self.options],
                                "weir-tracker", env=self.env)
        self.wait_log("ready version=")
        return self

    def wait_log(self, pattern, count=1, seconds=10):
        """Until the log has so many lines with PATTERN; the last of them."""
        def there():
            found = re.findall(f".*{pattern}.*", self.p.log())
            if len(found) < count and not self.p.alive():
                raise Failed(f"weir-tracker ended: {self.p.log()[-800:]}")
            return found if len(found) >= count else None
        return until(there, seconds, f"{pattern!r} in the log")[-1]

    def stop(self, sig=signal.SIGTERM, status=0, seconds=5):
        self.p.signal(sig)
        same(self.p.wait(seconds), status, "exit status of weir-tracker")

    def reload(self, pattern):
        """SIGHUP, until the log says PATTERN once more."""
        before = len(re.findall(pattern, self.p.log()))
        self.p.signal(signal.SIGHUP)
        return self.wait_log(pattern, before + 1)

    # --- what clients do; HOST as the tests' own addresses

    def announce(self, infohash, port, host="127.0.0.1", **more):
        return http_announce(host, self.port, infohash, port, **more)

    def udp(self, host="127.0.0.1", source=None):
        u = Udp(host, self.port, source)
        self.box.at_end(u.close)
        return u

    def scrape(self, infohash, host="127.0.0.1"):
        """(seeders, completed, leechers); None: not known."""
        return http_scrape(host, self.port, infohash).get(infohash)

    def get(self, path, host="127.0.0.1", **more):
        return http_get(host, self.port, path, **more)

    def stats(self):
        status, _, body = self.get("/stats.json")
        same(status, 200, "status of /stats.json")
        return json.loads(body)

    # --- as torrents name it

    def http_url(self, host=HOSTS[0]):
        return f"http://{self._host(host)}:{self.port}/announce"

    def udp_url(self, host=HOSTS[0]):
        return f"udp://{self._host(host)}:{self.port}/announce"

    @staticmethod
    def _host(host):
        return f"[{host}]" if ":" in host else host
