#!/usr/bin/python3
"""Goal: whatever goes wrong, the person is told what, in a sentence that names
the thing, and the exit status is not 0."""
import os
import re
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import case, check, main, same, until
from torrent import MIB, Torrent, bdecode, bencode, random_file
from weir import WEIRCTL, WEIRFS, Mount, World, mounted


def fails(box, argv, *patterns, status=1):
    """ARGV ends soon with STATUS, having said all PATTERNS."""
    got = box.run(argv, seconds=10, status=status)
    text = got.stderr + got.stdout
    for p in patterns:
        check(re.search(p, text, re.IGNORECASE),
              f"{' '.join(map(str, argv))} says nothing of {p!r}: {text}")
    return text


def options(box, *more):
    return ["-o", ",".join((f"state={box.path('st')},data={box.path('da')},"
                            f"port={box.port()}", *more))]


def torrent(box, **info):
    path = random_file(box.path("src/file.bin"), MIB)
    return Torrent(path, box.path("t.torrent"), 65536, info=info)


def edited(box, edit, name="edited.torrent"):
    with open(torrent(box).path, "rb") as f:
        top = bdecode(f.read())
    edit(top)
    return box.write(name, bencode(top))


@case("not a torrent")
def no_torrent(box):
    point, bad = box.mkdir("mnt"), box.write("x.torrent", "<html>404</html>")
    fails(box, [WEIRFS, bad, point, *options(box)], "x.torrent", "torrent")
    fails(box, [WEIRCTL, "info", bad], "torrent")


@case("publish_dir and mount point inside one another, or no such folder")
def publish_within(box):
    point = box.mkdir("mnt")
    for where in (point, point + "/in", box.dir):
        fails(box, [WEIRFS, point, *options(box, f"publish_dir={where}")],
              "publish_dir", "inside")
    fails(box, [WEIRFS, point,
                *options(box, f"publish_dir={box.write('plain', b'')}")],
          "publish_dir")


REFUSED = {
    "pieces of a wrong length": (
        lambda t: t[b"info"].update({b"pieces": b"123"}), "pieces"),
    "no piece length": (
        lambda t: t[b"info"].pop(b"piece length"), "piece length"),
    "a negative length": (
        lambda t: t[b"info"].update({b"length": -1}), "length"),
    "too few pieces": (
        lambda t: t[b"info"].update({b"length": 1 << 40}), "piece"),
    "no name": (lambda t: t[b"info"].pop(b"name"), "name"),
    "no info": (lambda t: t.pop(b"info"), "info"),
}


def refused(box, edit, word):
    bad, point = edited(box, edit), box.mkdir("mnt")
    fails(box, [WEIRCTL, "info", bad], word)
    fails(box, [WEIRFS, bad, point, *options(box)], word)
    check(not mounted(point), "nothing is mounted")


for rule, (change, expected) in REFUSED.items():
    case(f"a torrent is refused: {rule}")(
        lambda box, e=change, w=expected: refused(box, e, w))


@case("no such source, unreadable source, a folder as source")
def no_source(box):
    point = box.mkdir("mnt")
    fails(box, [WEIRFS, box.path("none.torrent"), point, *options(box)],
          "none.torrent", "no such file")
    fails(box, [WEIRFS, box.mkdir("folder"), point, *options(box)], "folder")


@case("the mount point is missing, a file, or in use")
def bad_point(box):
    missing, file = box.path("nowhere"), box.write("file", "x")
    fails(box, [WEIRFS, missing, *options(box)], "nowhere", "no such|missing")
    fails(box, [WEIRFS, file, *options(box)], "file", "not a (folder|direc)")
    m = Mount(box)
    fails(box, [WEIRFS, m.point, *options(box)], re.escape(m.point),
          "mounted|busy|in use")


@case("no permission on /dev/fuse, and no /dev/fuse")
def no_device(box):
    point = box.mkdir("mnt")
    hide = ("mount -t tmpfs tmpfs /dev && {} exec "
            f"{WEIRFS} {point} {' '.join(options(box))}")
    fails(box, ["unshare", "-m", "sh", "-c", hide.format("")], "/dev/fuse")


@case("an unknown option names the nearest one; wrong values are named")
def bad_option(box):
    point = box.mkdir("mnt")
    fails(box, [WEIRFS, point, "-o", "read_timeuot=3"], "read_timeout",
          status=2)
    fails(box, [WEIRFS, point, "-o", "port=banana"], "banana", status=2)
    fails(box, [WEIRFS, point, "-o", "fill=some"], "fill", status=2)
    fails(box, [WEIRFS], "mount point", status=2)
    fails(box, [WEIRFS, "--nonsense", point], "nonsense", status=2)


@case("every key of the contract is accepted; what is not active warns")
def all_options(box):
    items = ["bootstrap=h:1", "overlay=h:1", "kenosis=0", "nodht", "nolsd",
             "nopex", "noutp", "encryption=prefer", "cache_size=1G",
             "seed_ratio=2", f"publish_dir={box.path('p')}",
             "publish_delay=2", "fill=none", "read_timeout=60",
             "max_peers=50", "down_limit=100M", "up_limit=100M",
             "announce_ip=10.9.0.1", "bind=10.9.0.1", "allow_other", "rw",
             "suid", "dev", "noatime", "_netdev", "x-gvfs-show",
             "tracker=http://10.9.0.3:1/announce", "peer=10.9.0.3:1"]
    m = Mount(box, options=items)
    for key in ("encryption", "cache_size"):
        check(key in m.p.log(), f"a word about {key}")


@case("--help is at most 80 columns wide and on stdout; --version too")
def help_text(box):
    for program in (WEIRFS, WEIRCTL):
        got = box.run([program, "--help"])
        same(got.stderr, "", "stderr")
        check(len(got.stdout.splitlines()) > 8, "there is some help")
        for line in got.stdout.splitlines():
            check(len(line) <= 80, f"too wide: {line}")
        check(re.fullmatch(r"\w+ \d+\.\d+\.\d+\n",
                           box.run([program, "--version"]).stdout), "version")


@case("a port that is taken")
def port_taken(box):
    with socket.socket() as s:
        s.bind(("0.0.0.0", 0))
        s.listen()
        port = s.getsockname()[1]
        fails(box, [WEIRFS, box.mkdir("mnt"), "-o",
                    f"state={box.path('st')},port={port}"], str(port))


@case("a state folder that cannot be made")
def bad_state(box):
    file = box.write("file", "x")
    fails(box, [WEIRFS, box.mkdir("mnt"), "-o", f"state={file}/st"],
          re.escape(file))


def sorry_tracker(box, reason):
    """An HTTP tracker that refuses everybody."""
    body = bencode({"failure reason": reason})
    s = socket.create_server(("10.9.0.1", 0))

    def serve():
        while True:
            try:
                c, _ = s.accept()
            except OSError:
                return
            c.recv(4096)
            c.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
                      b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            c.close()
    threading.Thread(target=serve, daemon=True).start()
    box.at_end(s.close)
    return f"http://10.9.0.1:{s.getsockname()[1]}/announce"


@case("the tracker's own failure reason is shown")
def tracker_says(box):
    reason = "passkey unknown, go away"
    path = random_file(box.path("src/file.bin"), MIB)
    t = Torrent(path, box.path("t.torrent"), 65536,
                announce=sorry_tracker(box, reason))
    m = Mount(box, t.path)
    until(lambda: reason in str(m.status("file.bin")), 10,
          "the reason in status.json")
    check(reason in m.control("status", "file.bin"), "and in weirctl status")


@case("no peers yet: the status says so")
def no_peers(box):
    w = World(box, has_peer=False)
    check("peer" in w.mount.status("file.bin")["message"], "a word of peers")


@case("weirctl without a mount to talk to")
def no_mount(box):
    fails(box, [WEIRCTL, "ls", "-o", f"state={box.path('none')}"],
          "none|running|mount")
    fails(box, [WEIRCTL, "nonsense"], "nonsense", status=2)
    fails(box, [WEIRCTL], "usage", status=2)


@case("weirctl get without a source says so, waits, and ends by SIGINT")
def get_nothing(box):
    t = torrent(box)
    p = box.spawn([WEIRCTL, "get", t.path, "--data", box.path("got"), "-o",
                   f"state={box.path('st')},port={box.port()}"])
    until(lambda: "no peers" in p.log(), 10, "a word of peers")
    check(p.alive(), "it waits for some")
    p.signal(signal.SIGINT)
    same(p.wait(5), 130, "exit status")


main()
