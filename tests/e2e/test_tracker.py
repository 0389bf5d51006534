#!/usr/bin/python3
"""Goal: weir-tracker as a program: what it takes and refuses, its signals, what
outlives its end, lists and certificates at run time, pages and logs."""
import os
import pwd
import re
import signal
import socket
import ssl
import stat
import struct
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import (HOSTS, HOSTS6, LIB, Failed, Skip, case, check, main, same,
                     until)
from pytracker import make_certificates
from weirtracker import PROGRAM, WeirTracker, refused

A, B, C = b"a" * 20, b"b" * 20, b"c" * 20


@case("what is wrong on the command line is named, with status 2")
def usage(box):
    for options, says in ((["--port", "70000"], "--port"),
                          (["--frobnicate"], "--frobnicate"),
                          (["--allow", "x", "--deny", "y"], "--allow"),
                          (["--max-memory", "1"], "--max-memory"),
                          (["stray"], "stray")):
        text = refused(box, *options, status=2)
        check(says in text and "--help" in text, text)


@case("--help fits a terminal, --version is one line")
def help_and_version(box):
    text = box.run([PROGRAM, "--help"]).stdout
    check(max(map(len, text.splitlines())) <= 80, "lines of --help")
    for word in ("--state FILE", "--allow FILE", "-h, --help", "HUP"):
        check(word in text, f"no {word} in --help")
    text = box.run([PROGRAM, "--version"]).stdout
    check(text.startswith("weir-tracker ") and text.count("\n") == 1, text)


@case("bash completes every option, and files after those that take one")
def completion(box):
    def words(*line):
        return box.run(
            ["bash", "-c", 'source "$1"; shift; COMP_WORDS=("$@"); '
             'COMP_CWORD=$(($# - 1)); compopt() { :; }; _weir_tracker; '
             'printf "%s\\n" "${COMPREPLY[@]}"', "bash",
             os.path.join(LIB, "../../tools/completions/weir-tracker.bash"),
             PROGRAM, *line]).stdout.split()
    text = box.run([PROGRAM, "--help"]).stdout
    options = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))
    check(len(options) > 30, f"{len(options)} options")
    same(set(words("--")), options, "completed")
    same(words("--realm"), ["--realm-key"], "of --realm")
    path = box.write("some.list", "")
    for option in re.findall(r"(--[a-z-]+) FILE", text):
        same(words(option, path[:-2]), [path], f"after {option}")
    same(words("--port", ""), [], "after --port")


@case("a port that is taken, a file that is not there: said, with advice")
def places(box):
    t = WeirTracker(box)
    text = refused(box, "--port", t.port)
    check("in use" in text and "--port" in text, text)
    t.p.end()
    text = refused(box, "--port", box.port(), "--bind", "192.0.2.77")
    check("192.0.2.77" in text and "--bind" in text, text)
    text = refused(box, "--state", box.path("none/state"))
    check("no folder" in text and box.path("none") in text, text)
    text = refused(box, "--state", box.mkdir("folder"))
    check("directory" in text, text)
    text = refused(box, "--allow", box.path("none"))
    check(box.path("none") in text, text)
    text = refused(box, "--deny", box.write("list", "# x\n\nabc\n"))
    check("list:3:" in text, text)
    text = refused(box, "--user", "no-such-user-at-all")
    check("no such user" in text, text)
    text = refused(box, "--https-port", box.port(), "--cert", box.path("none"))
    check(box.path("none") in text, text)


@case("ports below 1024: who may not is told what to do")
def low_ports(box):
    if os.getuid():
        raise Skip("needs root to become somebody else")
    text = refused(box, "--port", "80", argv=[
        "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
        "--bounding-set", "-all", "--inh-caps", "-all"]) \
        if unprivileged_start() == "1024" else None
    if text is None:
        raise Skip("anybody may open low ports here")
    check("--user" in text and "1024" in text, text)


def unprivileged_start():
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start",
              encoding="ascii") as f:
        return f.read().strip()


@case("IPv4 and IPv6 over HTTP and UDP, each peer hears of the others")
def all_ways(box):
    t = WeirTracker(box)
    for host in (HOSTS[0], HOSTS6[0]):
        t.announce(A, 1001, host=host)
        got = t.announce(A, 1002, host=host, left=0)
        check(any(p.endswith(":1001") for p in got["all"]), got)
    same(t.scrape(A), (2, 0, 2), "scrape over HTTP")
    for host in (HOSTS[0], HOSTS6[0]):
        u = t.udp(host)
        seeders, leechers, peers = u.announce(A, 1003)
        check(seeders == 2 and leechers >= 3, (seeders, leechers))
        check(any(p.endswith(":1001") for p in peers), peers)
        check(not any(p.endswith(":1003") for p in peers), "told of itself")
    same(t.udp().scrape(A, B), [(2, 0, 4), (0, 0, 0)], "scrape over UDP")
    same(t.stats()["udp"]["announces"], 2, "announces over UDP in statistics")


@case("--no-udp and --no-http leave one out, --udp-port moves it")
def one_of_two(box):
    t = WeirTracker(box, "--no-udp")
    t.announce(A, 1)
    try:
        t.udp().connect()
        raise Failed("UDP is answered")
    except OSError:
        pass
    t.stop()
    t = WeirTracker(box, "--no-http", "--udp-port", box.port())
    try:
        t.get("/")
        raise Failed("HTTP is answered")
    except ConnectionRefusedError:
        pass


@case("peers, counters and who left outlive SIGTERM and SIGINT")
def restart(box):
    state = box.path("state")
    t = WeirTracker(box, "--state", state)
    for sig in (signal.SIGTERM, signal.SIGINT):
        port = 1000 + sig
        t.announce(A, port)
        t.announce(A, port, left=0, event="completed")
        t.announce(A, port, host=HOSTS6[0])
        before = t.scrape(A)
        t.stop(sig)
        t.start()
        same(t.scrape(A), before, f"scrape after signal {sig}")
        got = t.announce(A, 9)["all"]
        check({f"127.0.0.1:{port}", f"[{HOSTS6[0]}]:{port}"} <= got, got)
    same(t.scrape(A)[1], 2, "completed")
    same(stat.S_IMODE(os.stat(state).st_mode), 0o600, "mode of the state")
    same(sorted(os.listdir(box.dir + "/."))[-1] != "state.tmp", True,
         "nothing half-written is left")


@case("after kill -9 the last save is used, saved every --save-every seconds")
def killed(box):
    state = box.path("state")
    t = WeirTracker(box, "--state", state, "--save-every", "1")
    t.announce(A, 1001)
    until(lambda: t.stats()["saved_at"], 10, "a save")
    saved = t.stats()["saved_at"]
    until(lambda: t.stats()["saved_at"] > saved, 10, "a save after that")
    t.announce(B, 1002)  # perhaps not saved
    t.stop(signal.SIGKILL, status=-signal.SIGKILL)
    t.start()
    same(t.scrape(A), (0, 0, 1), "what was saved")
    t.wait_log("state loaded")
    t.announce(C, 1003)
    t.stop()
    t.start()
    same(t.scrape(C), (0, 0, 1), "what was saved at the end")


@case("a damaged state: the one before; both damaged: kept aside, told")
def damaged(box):
    state = box.path("state")
    t = WeirTracker(box, "--state", state)
    t.announce(A, 1001)
    t.stop()
    t.start()
    t.announce(B, 1002)
    t.stop()
    with open(state, "r+b") as f:
        f.truncate(os.path.getsize(state) - 5)
    t.start()
    t.wait_log("one save earlier")
    same((t.scrape(A), t.scrape(B)), ((0, 0, 1), None), "the save before")
    t.stop()
    for path in (state, state + ".1"):
        box.write(path, b"weirtrkr rubbish")
    t.start()
    t.wait_log("state lost")
    check(os.path.exists(state + ".bad"), "nothing was kept")
    same(t.scrape(A), None, "a torrent of a lost state")
    t.announce(A, 1)
    t.stop()
    t.start()
    same(t.scrape(A), (0, 0, 1), "a new state")


@case("a state of another version is not believed, and not thrown away")
def other_version(box):
    state = box.path("state")
    for version in (0, 2):
        head = b"weirtrkr" + struct.pack(">IQ", version, 1900000000)
        box.write("state", head + bytes(40))
        t = WeirTracker(box, "--state", state)
        t.wait_log(f"of version {version}")
        with open(state + ".bad", "rb") as f:
            same(f.read()[:20], head, "the file kept aside")
        t.stop()
        for end in ("", ".1", ".bad"):
            if os.path.exists(state + end):
                os.unlink(state + end)


@case("a state that is too old is empty but for its counters")
def old_state(box):
    state = box.path("state")
    t = WeirTracker(box, "--state", state)
    t.announce(A, 1001)
    t.announce(A, 1001, left=0, event="completed")
    t.stop()
    age_state(state, 3600 * 24)
    t.start()
    t.wait_log("peers=0 expired=1")
    same(t.scrape(A), (0, 1, 0), "counters of a torrent without peers")


def age_state(path, seconds):
    """As if it had been written so much earlier: the header and all peers."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    at, = struct.unpack_from(">Q", data, 12)
    struct.pack_into(">Q", data, 12, at - seconds)
    struct.pack_into(">I", data, 20, zlib.crc32(data[:20]))
    pos = 24
    while pos < len(data):
        kind, _, size = struct.unpack_from(">III", data, pos)
        entry, end = pos + 12, pos + 12 + size
        while kind == 2 and entry < end:
            n, = struct.unpack_from(">I", data, entry + 24)
            entry += 28
            for _ in range(n):
                minute, = struct.unpack_from(">I", data, entry + 1)
                struct.pack_into(">I", data, entry + 1, minute - seconds // 60)
                entry += 23 if data[entry] & 16 else 11
        struct.pack_into(">I", data, end, zlib.crc32(data[pos:end]))
        pos = end + 4
    with open(path, "wb") as f:
        f.write(data)


def is_refused(t, infohash, port=1, udp=True):
    try:
        t.announce(infohash, port)
        return False
    except Failed as e:
        check("refused" in str(e), str(e))
    if udp:
        try:
            t.udp().announce(infohash, port)
            raise Failed("refused over HTTP, not over UDP")
        except Failed as e:
            check("refused" in str(e), str(e))
    return True


@case("an allow list: read again at SIGHUP, what is off it is dropped")
def allow(box):
    path = box.write("list", A.hex() + "\n" + B.hex() + " # and why\n")
    t = WeirTracker(box, "--allow", path)
    t.announce(A, 1)
    t.announce(B, 1)
    check(is_refused(t, C), "C is tracked")
    box.write("list", A.hex() + "\n" + C.hex() + "\n")
    t.reload("list read again entries=2 torrents_dropped=1")
    check(is_refused(t, B), "B is still tracked")
    same(t.scrape(B), None, "B")
    t.announce(C, 1)
    box.write("list", "nonsense\n")
    t.reload(r"list:1: 'nonsense'")
    t.announce(C, 1)  # as before
    os.unlink(path)
    t.reload("No such file")
    t.announce(C, 1)
    same(t.stats()["listed"], 2, "entries in statistics")


@case("a deny list: read again at SIGHUP")
def deny(box):
    path = box.write("list", "")
    t = WeirTracker(box, "--deny", path)
    t.announce(A, 1)
    box.write("list", A.hex().upper() + "\n")
    t.reload("list read again entries=1 torrents_dropped=1")
    check(is_refused(t, A), "A is tracked")
    t.announce(B, 1)
    box.write("list", "")
    t.reload("list read again entries=0")
    t.announce(A, 1)


def tls_serial(port, ca):
    context = ssl.create_default_context(cafile=ca)
    with socket.create_connection(("127.0.0.1", port), 5) as s, \
            context.wrap_socket(s, server_hostname="localhost") as tls:
        tls.sendall(b"GET /stats.json HTTP/1.0\r\n\r\n")
        answer = b""
        while more := tls.recv(65536):
            answer += more
        check(b" 200 " in answer.split(b"\r\n")[0], answer[:200])
        return tls.getpeercert()["serialNumber"]


@case("HTTPS, with a certificate that is replaced at run time")
def https(box):
    folder = box.path("tls")
    make_certificates(folder)
    port = box.port()
    t = WeirTracker(box, "--https-port", port, "--cert", folder + "/cert.pem",
                    "--key", folder + "/key.pem")
    first = tls_serial(port, folder + "/ca.pem")
    make_certificates(folder)
    t.reload("certificate read again")
    second = tls_serial(port, folder + "/ca.pem")
    check(first != second, "the old certificate is still used")
    box.write("tls/cert.pem", "rubbish")
    t.reload("certificate not read again")
    same(tls_serial(port, folder + "/ca.pem"), second, "the certificate")


@case("pages: one for people, JSON, metrics; --stats-from says for whom")
def pages(box):
    t = WeirTracker(box)
    t.announce(A, 1)
    stats = t.stats()
    same(stats["swarms"]["torrents"], 1, "torrents")
    check({"version", "http", "udp", "uptime_s"} <= set(stats), stats)
    status, headers, body = t.get("/")
    check(status == 200 and "html" in headers["content-type"], headers)
    _, _, body = t.get("/metrics")
    lines = body.decode().splitlines()
    check("weir_tracker_torrents 1" in lines, lines)
    names = [line.split()[0] for line in lines if line[:1] != "#"]
    same(len(names), len(set(names)), "names of metrics, once each")
    for name in names:
        check(f"# TYPE {name} " in body.decode(), f"no type of {name}")
    t.stop()
    t = WeirTracker(box, "--stats-from", HOSTS[1], "--no-full-scrape")
    t.announce(A, 1)
    for path in ("/stats.json", "/metrics"):
        check(t.get(path)[0] != 200, f"{path} is shown")
    check(A not in t.get("/scrape")[2], "all torrents are told")
    status, _, _ = t.get("/stats.json", host=HOSTS[0], source=HOSTS[1])
    same(status, 200, "status of /stats.json for who may")


@case("--access-log writes a line for each request; SIGUSR1 logs statistics")
def logs(box):
    t = WeirTracker(box, "--access-log")
    t.announce(A, 4711)
    t.get("/no/such/page")
    line = t.wait_log("port=4711")
    check("127.0.0.1" in line and " 200" in line, line)
    t.wait_log('"/no/such/page" 404')
    t.p.signal(signal.SIGUSR1)
    t.wait_log("statistics uptime_s=.* torrents=1 peers4=1")
    t.wait_log("statistics udp_connects=0 .* http_announces=1")


@case("--user: a low port, then somebody else for good, who saves the state")
def user(box):
    if os.getuid():
        raise Skip("needs root")
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise Skip("there is no user nobody") from None
    folder = box.mkdir("var")
    text = refused(box, "--port", box.port(), "--user", "nobody", "--state",
                   folder + "/state")
    check("cannot be made in" in text, text)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    t = WeirTracker(box, "--user", "nobody", "--state", folder + "/state",
                    port=80)
    with open(f"/proc/{t.p.pid}/status", encoding="ascii") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f
                      if ":\t" in line)
    same(set(status["Uid"].split()), {str(nobody.pw_uid)}, "user ids")
    same(set(status["Gid"].split()), {str(nobody.pw_gid)}, "group ids")
    same(int(status["CapEff"], 16), 0, "capabilities")
    t.announce(A, 1)
    t.stop()
    same(os.stat(folder + "/state").st_uid, nobody.pw_uid, "owner of the state")
    t.start()
    same(t.scrape(A), (0, 0, 1), "what nobody saved")


@case("a service manager hears READY, RELOADING and STOPPING")
def notify(box):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(box.path("notify"))
        s.settimeout(5)
        t = WeirTracker(box, env={"NOTIFY_SOCKET": box.path("notify")})
        same(s.recv(100), b"READY=1", "after the start")
        t.p.signal(signal.SIGHUP)
        check(s.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC="), "HUP")
        same(s.recv(100), b"READY=1", "after SIGHUP")
        t.stop()
        same(s.recv(100), b"STOPPING=1", "at the end")


@case("it ends within seconds with clients that hold on to connections")
def ends_in_time(box):
    t = WeirTracker(box, "--state", box.path("state"))
    held = [socket.create_connection(("127.0.0.1", t.port)) for _ in range(50)]
    held[0].sendall(b"GET /announce?")
    t.announce(A, 1)
    start = time.monotonic()
    t.stop(seconds=5)
    check(time.monotonic() - start < 20, "slow")
    for s in held:
        s.close()


@case("--max-torrents holds, --rate refuses who asks too often")
def limits(box):
    t = WeirTracker(box, "--rate", "1", "--limit-private")
    why = None
    for n in range(20):  # four at once, then one a second
        try:
            t.udp().announce(bytes([n]) * 20, 1000 + n)
        except Failed as e:
            why = str(e)
            break
    check(why and "too many requests from your network" in why, why)
    check(n >= 4, n)
    try:  # one table for both
        t.announce(A, 1)
        check(False, "HTTP has a table of its own")
    except Failed as e:
        check("too many requests" in str(e), e)
    stats = t.stats()
    check(stats["udp"]["rate_limited"] >= 1, stats["udp"])
    t.stop()
    t = WeirTracker(box, "--max-torrents", "10", "--interval", "60")
    for n in range(40):
        got = t.announce(bytes([n]) * 20, 1)
    check(54 <= got[b"interval"] <= 66, got)
    check(t.stats()["swarms"]["torrents"] <= 11, t.stats()["swarms"])


if __name__ == "__main__":
    main()
