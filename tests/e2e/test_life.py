#!/usr/bin/python3
"""Goal: starting, stopping and starting again: exit statuses, background,
mount(8), crashed mounts, and nothing fetched or hashed twice."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import SLOW, Skip, case, check, main, same, until
from torrent import MIB, sha256
from weir import WEIRFS, Mount, Reader, World, mounted


def daemons(point):
    """Processes of weirfs at POINT."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                argv = f.read().split(b"\0")
        except OSError:
            continue
        if os.fsencode(point) in argv and any(
                os.path.basename(a) == b"weirfs" for a in argv[:8]):
            out.append(int(pid))
    return out


def flags(box, name="bg"):
    return (f"state={box.path(name + '.state')},"
            f"data={box.path(name + '.data')},port={box.port()}")


@case("in the background: back when the mount is up, ends by fusermount3 -u")
def background(box):
    point = box.mkdir("mnt")
    box.run([WEIRFS, point, "-o", flags(box)], seconds=10)
    check(mounted(point), "mounted when the command returns")
    same(sorted(os.listdir(point)), [".weirfs", "by-hash", "files",
                                     "publish", "torrents"], "the root")
    pids = daemons(point)
    same(len(pids), 1, "daemons")
    same(os.readlink(f"/proc/{pids[0]}/fd/0"), "/dev/null", "stdin")
    same(os.readlink(f"/proc/{pids[0]}/cwd"), "/", "its folder")
    box.run(["fusermount3", "-u", point])
    until(lambda: not daemons(point), 5, "the daemon is gone")
    check(not mounted(point), "unmounted")


@case("in the background: a failure is the exit status, and is told")
def background_fails(box):
    point = box.mkdir("mnt")
    for argv in ([box.write("no.torrent", "nonsense"), point],
                 [box.path("absent.torrent"), point],
                 ["magnet:?xt=urn:btih:short", point]):
        got = box.run([WEIRFS, *argv, "-o", flags(box)], status=None)
        same(got.returncode, 1, f"exit status of {argv[0]}")
        check(len(got.stderr) > 20, "a sentence on stderr")
        check(not mounted(point), "nothing is mounted")
    same(daemons(point), [], "daemons left")


@case("relative paths work in the background")
def relative(box):
    w = World(box, gives=1 << 30)
    w.mount.term()
    box.mkdir("rel")
    box.run([WEIRFS, "file.torrent", "rel", "-o",
             f"state=st,data=da,port={box.port()},peer={w.peer.at}"],
            cwd=box.dir)
    same(sha256(box.path("rel/files/file.bin")), sha256(w.torrent.data),
         "content")
    check(os.path.isdir(box.path("da")), "data is where it was said")
    box.run(["fusermount3", "-u", box.path("rel")])
    until(lambda: not daemons(box.path("rel")) and not daemons("rel"), 5,
          "gone")


@case("mount -t fuse.weirfs SOURCE MNT -o ..., and umount")
def mount8(box):
    w = World(box, gives=1 << 30)
    w.mount.term()
    point = box.mkdir("m8")
    # mount(8) runs what it finds on the default path; ours alone sees this.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/usr/local/bin"],
                   check=True)
    box.at_end(subprocess.run, ["umount", "-l", "/usr/local/bin"])
    os.symlink(WEIRFS, "/usr/local/bin/weirfs")
    box.run(["mount", "-t", "fuse.weirfs", w.torrent.path, point, "-o",
             f"{flags(box)},peer={w.peer.at},_netdev,nofail,noatime,"
             "x-systemd.automount,user"])
    same(sha256(point + "/files/file.bin"), sha256(w.torrent.data), "content")
    with open("/proc/self/mounts", encoding="utf-8") as f:
        line = next(x for x in f if x.split()[1] == point)
    same(line.split()[2], "fuse.weirfs", "type")
    for word in ("nosuid", "nodev"):
        check(word in line.split()[3].split(","), f"{word} in {line}")
    box.run(["umount", point])
    until(lambda: not daemons(point), 5, "the daemon is gone")


@case("a dead daemon's mount point is cleared at the next start")
def dead_mount(box):
    w = World(box)
    w.mount.kill()
    try:
        os.listdir(w.mount.point)
        check(False, "the dead mount answers")
    except OSError as e:
        same(e.strerror, "Transport endpoint is not connected", "its answer")
    m = Mount(box, w.torrent.path, options=w.mount_options)
    same(Reader(box, m.file("file.bin"), 0, 65536).opened().result(),
         "ok " + w.sha(0, 65536), "content")
    m.term()
    check(not mounted(m.point), "one unmount is enough")


def restart(box, stop):
    w = World(box, gives=1 << 30, size=64 * MIB)
    same(sha256(w.path), sha256(w.torrent.data), "first run")
    stop(w.mount)
    w.peer.close()
    asked = len(w.peer.asked)
    m = Mount(box)
    same(m.status("file.bin")["state"], "seeding", "state at once")
    time.sleep(0.5)
    check(m.io()["rchar"] < 8 * MIB, f"{m.io()['rchar']} bytes read: it "
          "hashed what it had")
    same(sha256(m.file("file.bin")), sha256(w.torrent.data), "second run")
    same(len(w.peer.asked), asked, "blocks asked for")
    return m


@case("after SIGTERM everything read is there: no seeder, no hashing")
def restart_term(box):
    restart(box, lambda m: m.term())


@case("after an unmount everything read is there")
def restart_unmount(box):
    restart(box, lambda m: m.unmount())


@case("after kill -9 what was synced is there")
def restart_kill(box):
    def stop(m):
        time.sleep(6.5)  # the sync interval is 5 s
        m.kill()
    restart(box, stop)


@case("after kill -9 at once every byte is still right")
def restart_kill_now(box):
    w = World(box, gives=1 << 30, size=32 * MIB)
    Reader(box, w.path, 0, 24 * MIB).opened().result()
    w.mount.kill()
    m = Mount(box, options=w.mount_options)
    same(sha256(m.file("file.bin")), sha256(w.torrent.data), "second run")


@case("SIGTERM with nothing to do ends within 1 s")
def quick_end(box):
    w = World(box)
    took = w.mount.term()
    check(took < 1 * SLOW, f"it took {took:.1f} s")


@case("SIGTERM while connecting, looking up and announcing ends within 5 s")
def busy_end(box):
    w = World(box, "peer=10.9.0.250:9", "peer=nowhere.invalid:9",
              "tracker=http://10.9.0.250:9/announce",
              "tracker=udp://10.9.0.250:9/announce")
    time.sleep(0.3)
    w.mount.term()


@case("one state folder serves one process at a time")
def one_owner(box):
    m = Mount(box)
    other = box.mkdir("other")
    got = box.run([WEIRFS, other, "-f", "-o", f"state={m.state}"], status=1)
    check(m.state in got.stderr, f"the reason names it: {got.stderr}")


@case("two mounts with state of their own live side by side")
def two_mounts(box):
    w = World(box, gives=1 << 30)
    m = Mount(box, w.torrent.path, name="b", options=[f"peer={w.peer.at}"])
    same(sha256(m.file("file.bin")), sha256(w.torrent.data), "the second")
    same(sha256(w.path), sha256(w.torrent.data), "the first")


@case("SIGPIPE and readers that vanish leave it alone")
def signals(box):
    w = World(box)
    w.mount.p.signal(signal.SIGPIPE)
    w.check_alive(box)


@case("memory stays flat over 600 readings of status files")
def status_polling(box):
    with open(WEIRFS, "rb") as f:
        if b"__asan_init" in f.read():
            raise Skip("AddressSanitizer keeps freed memory")
    w = World(box, gives=1 << 30)
    w.mount.status()
    before = w.mount.rss()
    for _ in range(300):
        w.mount.status()
        w.mount.status("file.bin")
    check(w.mount.rss() - before < 4 * MIB, "RSS grew by "
          f"{(w.mount.rss() - before) / MIB:.1f} MiB")


main()
