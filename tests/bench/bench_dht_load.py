#!/usr/bin/python3
"""Queries a second that a DHT node answers over loopback, and what each costs
it: `weirctl dht` beside libtorrent's node, under the same load (dht_load.c).

    tests/bench/bench_dht_load.py

Each has a table of the same ten nodes. The load comes from 50,000 addresses, 64
queries in flight; the limits for all of them would end it at 250 a second, and
are raised on both sides: `weirctl dht --queries` (which raises what addresses
that share a slot may ask, too), libtorrent's dht_upload_rate_limit and
dht_block_ratelimit.
WEIRFS_BENCH_RUNS (3).
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from bench import RUNS, cpu_s, median, rounds, row, wait_quiet
from clients import PY
from harness import Failed
from weir import BUILD, WEIRCTL

LOAD = BUILD + "/tests/bench/dht_load"
SECONDS, IN_FLIGHT, ADDRESSES = 3, 64, 50000
NODES = 10
LT = """
import libtorrent as lt, sys, time
s = lt.session(dict(listen_interfaces="127.0.0.1:" + sys.argv[1],
    enable_dht=True, dht_bootstrap_nodes=sys.argv[2], enable_lsd=False,
    enable_upnp=False, enable_natpmp=False, alert_mask=0,
    dht_restrict_routing_ips=False, dht_restrict_search_ips=False,
    dht_ignore_dark_internet=False, dht_enforce_node_id=False,
    dht_upload_rate_limit=2000000000, dht_block_ratelimit=2000000000))
while s.status().dht_nodes < int(sys.argv[3]):
    time.sleep(0.1)
print("ready", flush=True)
time.sleep(600)
"""


def server(box, name, first, port):
    if name.startswith("weirctl"):
        p = box.spawn([WEIRCTL, "dht", "--queries", "1000000", "--json", "-o",
                       f"bind=127.0.0.1,port={port},bootstrap={first}"],
                      "weirctl", stdout=subprocess.PIPE, text=True)
    else:
        p = box.spawn([PY, "-c", LT, port, first, str(NODES - 2)],
                      "libtorrent", stdout=subprocess.PIPE, text=True)
    if not p.p.stdout.readline():
        raise Failed(p.log()[-400:])
    return p


def one(box, name):
    first, port = "none", box.port()
    for n in range(NODES):
        at = f"127.0.0.{n + 2}"
        node = box.port()
        box.spawn([WEIRCTL, "dht", "-q", "-o",
                   f"bind={at},port={node},bootstrap={first}"], "node")
        first = f"127.0.0.2:{node}" if first == "none" else first
    method = name.rsplit(" ", 1)[1]
    p = server(box, name, first, port)
    noise = wait_quiet()
    with subprocess.Popen([LOAD, str(port), method, str(SECONDS), str(IN_FLIGHT),
                           str(ADDRESSES)], stdout=subprocess.PIPE,
                          text=True) as load:
        if load.stdout.readline() != "begin\n":
            raise Failed("dht_load did not begin")
        was = cpu_s(p.pid)
        rate, part, errors = load.stdout.readline().split()
        cost = cpu_s(p.pid) - was
    return (float(rate), cost / SECONDS / float(rate) * 1e6, float(part),
            int(errors), noise)


def main():
    names = [f"{who} {method}" for method in ("ping", "find_node")
             for who in ("weirctl dht", "libtorrent")]
    got = rounds(names, one)
    print(f"{IN_FLIGHT} in flight, {ADDRESSES} addresses, medians of {RUNS} "
          "runs")
    row("", "answers/s", "min", "max", "cpu us each", "answered", "errors",
        "others' cores")
    for name, runs in got.items():
        if runs:
            rate, cost, part, errors, noise = zip(*runs)
            row(name, f"{median(rate):.0f}", f"{min(rate):.0f}",
                f"{max(rate):.0f}", f"{median(cost):.2f}",
                f"{median(part):.3f}", str(max(errors)), f"{max(noise):.1f}")


main()
