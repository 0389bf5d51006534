#!/usr/bin/python3
"""Goal: the emulated link has the delay, the rate and the loss it was given,
so that a figure taken across it means something."""
import json
import subprocess
import sys

from harness import case, check, main
from link import B, Link

ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 9))
print("up", flush=True)
while True:
    d, a = s.recvfrom(99)
    s.sendto(d, a)
"""
# In rounds of 20, so that no round overflows a queue.
PING = f"""
import json, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.5)
times = []
for i in range(25):
    sent = time.monotonic()
    for j in range(20):
        s.sendto(b"x" * 40, ("{B}", 9))
    try:
        for j in range(20):
            s.recv(99)
            if not j:
                times.append((time.monotonic() - sent) * 1e3)
            got = j
    except OSError:
        pass
print(json.dumps([sorted(times)[len(times) // 2], len(times)]))
"""
COUNT = f"""
import json, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
s.settimeout(0.6)
got = 0
for i in range(50):
    for j in range(20):
        s.sendto(b"x" * 40, ("{B}", 9))
    time.sleep(0.005)
try:
    while True:
        s.recv(99)
        got += 1
except OSError:
    pass
print(json.dumps(got))
"""
SINK = """
import socket
s = socket.create_server(("0.0.0.0", 8))
print("up", flush=True)
while True:
    c, _ = s.accept()
    while c.recv(1 << 16):
        pass
    c.close()
"""
PUSH = f"""
import json, socket, time
s = socket.create_connection(("{B}", 8))
sent = time.monotonic()
for i in range(64):
    s.sendall(bytes(1 << 16))
s.shutdown(socket.SHUT_WR)
s.recv(1)
print(json.dumps((64 << 16) * 8e-6 / (time.monotonic() - sent)))
"""


def server(box, text):
    p = box.spawn(Link.inside("b", [sys.executable, "-c", text]), "server",
                  stdout=subprocess.PIPE, text=True)
    check(p.p.stdout.readline() == "up\n", "the server starts")


def measure(box, text):
    return json.loads(box.run(
        Link.inside("a", [sys.executable, "-c", text])).stdout)


@case("a delay of 25 ms is a round trip of 50 ms")
def delay(box):
    Link(box, 25, 0)
    server(box, ECHO)
    median, answered = measure(box, PING)
    check(50 <= median < 65, f"the median round trip was {median:.1f} ms")
    check(answered == 25, "every round was answered")


@case("20 Mbit/s carry 15 to 20 Mbit/s of TCP")
def rate(box):
    Link(box, 5, 20)
    server(box, SINK)
    mbit = measure(box, PUSH)
    check(15 < mbit < 20, f"TCP carried {mbit:.1f} Mbit/s")


@case("10 % loss each way lose 19 % of the echoes")
def loss(box):
    link = Link(box, 1, 0, 10)
    server(box, ECHO)
    got = measure(box, COUNT)
    check(740 <= got <= 880, f"{got} of 1000 came back; 810 expected")
    check("lost=" in link.end(), "counters are told")


@case("no loss is no loss")
def lossless(box):
    Link(box, 1, 0, 0)
    server(box, ECHO)
    got = measure(box, COUNT)
    check(got == 1000, f"{got} of 1000 came back")


main()
