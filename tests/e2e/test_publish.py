#!/usr/bin/python3
"""Goal: what is copied into publish/ by the tools people use is a torrent soon
after, and a leecher that has nothing but its magnet link gets the same bytes."""
import errno
import json
import mmap
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from clients import leech_libtorrent
from harness import HOSTS, Failed, case, check, main, need, same, until
from torrent import MIB, random_file, random_tree, sha256
from weir import Mount, weirctl

DELAY = 1


def publisher(box, *more, name="w"):
    return Mount(box, name=name,
                 options=[f"publish_delay={DELAY}", "nodht",
                          f"bind={HOSTS[0]}", *more])


def entry(m, name):
    for e in m.status()["publish"]:
        if e["path"] == name:
            return e
    return {"state": "absent"}


def published(m, name, seconds=20, other_than=""):
    """The magnet link of the entry NAME, once it is a torrent."""
    def there():
        e = entry(m, name)
        if e["state"] != "published" or e["infohash"] == other_than:
            return None
        try:
            return os.getxattr(m.path("publish", name), "user.weirfs.magnet")
        except OSError as gone:  # it is looked at once more after a rename
            if gone.errno != errno.ENODATA:
                raise
            return None
    return until(there, seconds,
                 f"{name} is published: {entry(m, name)}").decode()


def leech(box, m, magnet, want):
    """A libtorrent that knows the magnet and where we are."""
    to = box.mkdir(f"leech-{box.count}")
    p = leech_libtorrent(box, magnet, to, [f"{HOSTS[0]}:{m.port}"])
    same(p.wait(60, "the leecher is done"), 0, "its exit status: "
         + p.log()[-300:])
    name = os.path.basename(want)
    names = os.listdir(to)
    check(names, "the leecher has nothing")
    got = os.path.join(to, name if name in names else names[0])
    box.run(["diff", "-r", "--exclude=.*", want, got])


def whole(box, m, name, want, seconds=20):
    leech(box, m, published(m, name, seconds), want)


def info(box, torrent):
    return json.loads(weirctl(box, "info", "--json", torrent).stdout)


def content(box, size=3 * MIB + 77, seed=1, name="film.mkv"):
    return random_file(box.path("src/" + name), size, seed)


def tree(box, files=40):
    path = box.path("src/tree")
    random_tree(path, files=files)
    return path


@case("cp: the torrent and its magnet are there in publish_delay + 1 s")
def cp(box):
    src, m = content(box), publisher(box)
    box.run(["cp", src, m.path("publish/film.mkv")])
    began = time.monotonic()
    until(lambda: os.path.exists(m.path("torrents/film.mkv.torrent")), 10,
          "film.mkv.torrent is there")
    check(time.monotonic() - began < DELAY + 1 + 0.5,
          f"took {time.monotonic() - began:.1f} s")
    magnet = published(m, "film.mkv")
    with open(m.path("torrents/film.mkv.magnet"), encoding="utf-8") as f:
        same(f.read().strip(), magnet, "torrents/film.mkv.magnet")
    leech(box, m, magnet, src)
    same(sha256(m.file("film.mkv")), sha256(src), "through files/")


@case("cp -r of a folder")
def cp_r(box):
    src, m = tree(box), publisher(box)
    box.run(["cp", "-r", src, m.path("publish")])
    whole(box, m, "tree", src)


@case("mv from another file system")
def mv(box):
    src, m = content(box), publisher(box)
    kept = shutil.copy(src, box.path("kept"))
    box.run(["mv", src, m.path("publish/film.mkv")])
    whole(box, m, "film.mkv", kept)


@case("mv within publish/: under a name that is not published, then its own")
def mv_within(box):
    src, m = content(box), publisher(box)
    box.run(["cp", src, m.path("publish/film.mkv.part")])
    time.sleep(DELAY + 1)
    same(m.status()["publish"], [], "entries of a .part file")
    box.run(["mv", m.path("publish/film.mkv.part"),
             m.path("publish/film.mkv")])
    whole(box, m, "film.mkv", src)


@case("rsync -a, --inplace, --partial: files and folders")
def rsync(box):
    need("rsync")
    src, one, m = tree(box), content(box), publisher(box)
    box.run(["rsync", "-a", src, m.path("publish")])
    box.run(["rsync", "--inplace", one, m.path("publish/a.mkv")])
    box.run(["rsync", "--partial", one, m.path("publish/b.mkv")])
    whole(box, m, "tree", src)
    whole(box, m, "a.mkv", one)
    whole(box, m, "b.mkv", one)


@case("tar x")
def tar(box):
    src, m = tree(box), publisher(box)
    box.run(["tar", "-C", os.path.dirname(src), "-cf", box.path("t.tar"),
             "tree"])
    box.run(["tar", "-C", m.path("publish"), "-xf", box.path("t.tar")])
    whole(box, m, "tree", src)


@case("unzip")
def unzip(box):
    need("unzip")
    src, m = tree(box, 10), publisher(box)
    shutil.make_archive(box.path("t"), "zip", os.path.dirname(src), "tree")
    box.run(["unzip", "-q", box.path("t.zip"), "-d", m.path("publish")])
    whole(box, m, "tree", src)


@case("curl -o")
def curl(box):
    need("curl")
    src, m = content(box), publisher(box)
    box.run(["curl", "-s", "-o", m.path("publish/film.mkv"), "file://" + src])
    whole(box, m, "film.mkv", src)


@case("dd, with a hole filled later; fallocate before the bytes come")
def dd(box):
    src, m = content(box), publisher(box)
    out = m.path("publish/film.mkv")
    box.run(["dd", f"if={src}", f"of={out}", "bs=64k", "skip=20", "seek=20",
             "status=none"])
    box.run(["dd", f"if={src}", f"of={out}", "bs=64k", "count=20",
             "conv=notrunc", "status=none"])
    whole(box, m, "film.mkv", src)
    out = m.path("publish/two.mkv")
    box.run(["fallocate", "-l", str(os.path.getsize(src)), out])
    box.run(["dd", f"if={src}", f"of={out}", "bs=10007", "conv=notrunc",
             "status=none"])
    whole(box, m, "two.mkv", src)


@case("gio copy, as a file manager does it")
def gio(box):
    need("gio")
    src, m = content(box), publisher(box)
    box.run(["gio", "copy", src, m.path("publish/film.mkv")])
    whole(box, m, "film.mkv", src)


@case("an editor saves: writes another file and renames it over the first")
def editor(box):
    m = publisher(box)
    path = m.path("publish/notes.txt")
    with open(path, "wb") as f:
        f.write(b"first\n" * 1000)
    first = published(m, "notes.txt")
    for name in (".notes.txt.swp", "notes.txt~", ".goutputstream-A1B2C3"):
        with open(m.path("publish", name), "wb") as f:
            f.write(b"second\n" * 2000)
            os.fsync(f.fileno())
    os.rename(m.path("publish/.goutputstream-A1B2C3"), path)
    second = published(m, "notes.txt", other_than=first.split(":")[3][:40])
    check(first != second, "a new torrent for new bytes")
    want = box.write("notes.txt", b"second\n" * 2000)
    leech(box, m, second, want)
    same(len(m.status()["torrents"]), 1, "torrents: the old one has left")


@case("writers through a mapping, and several writers at once")
def mapped(box):
    src, m = content(box), publisher(box)
    data = open(src, "rb").read()
    path = m.path("publish/film.mkv")
    with open(path, "w+b") as f:
        f.truncate(len(data))
        with mmap.mmap(f.fileno(), len(data)) as mm:
            for at in range(0, len(data), 100_000):
                mm[at:at + 100_000] = data[at:at + 100_000]
    whole(box, m, "film.mkv", src)
    path = m.path("publish/two.mkv")
    open(path, "wb").close()
    workers = [subprocess.Popen(
        ["dd", f"if={src}", f"of={path}", "bs=4k", f"skip={k * 250}",
         f"seek={k * 250}", "count=250", "conv=notrunc", "status=none"])
        for k in range(4)]
    same([w.wait() for w in workers], [0] * 4, "exit statuses of dd")
    whole(box, m, "two.mkv", src)


@case("sub-folders made later: a new torrent, the old one leaves")
def later(box):
    m = publisher(box)
    os.mkdir(m.path("publish/show"))
    random_file(m.path("publish/show/one"), MIB, 1)
    first = published(m, "show")
    os.mkdir(m.path("publish/show/season 2"))
    random_file(m.path("publish/show/season 2/two"), MIB, 2)
    second = published(m, "show", other_than=first.split(":")[3][:40])
    leech(box, m, second, m.path("publish/show"))
    same(len(m.status()["torrents"]), 1, "torrents")


@case("a changed file is not given away as it was, and is published anew")
def changed(box):
    src, m = content(box), publisher(box)
    path = m.path("publish/film.mkv")
    box.run(["cp", src, path])
    first = published(m, "film.mkv")
    hold = os.open(path, os.O_WRONLY)
    os.pwrite(hold, b"X" * 10, 5)
    e = entry(m, "film.mkv")
    same(e["state"], "writing", "state")
    t = m.status("film.mkv")
    same(t["num_pieces"] - t["have_pieces"], 1, "pieces withdrawn at once")
    os.close(hold)
    second = published(m, "film.mkv", other_than=first.split(":")[3][:40])
    leech(box, m, second, path)
    # The same bytes again: the same torrent again.
    with open(path, "r+b") as f:
        f.seek(5)
        f.write(open(src, "rb").read()[5:15])
    same(published(m, "film.mkv", other_than=second.split(":")[3][:40]),
         first, "the magnet of the same bytes")
    same(os.listdir(m.path("torrents")), ["film.mkv.torrent"], "torrents/")


@case("a renamed file is seeded on under its old name; rm ends it")
def renamed(box):
    src, m = content(box), publisher(box)
    box.run(["cp", src, m.path("publish/film.mkv")])
    first = published(m, "film.mkv")
    os.rename(m.path("publish/film.mkv"), m.path("publish/movie.mkv"))
    same(published(m, "movie.mkv"), first, "the magnet")
    leech(box, m, first, src)
    m.term()
    m = publisher(box)
    same(published(m, "movie.mkv"), first, "the magnet in the next run")
    os.unlink(m.path("publish/movie.mkv"))
    until(lambda: not m.status()["torrents"], 5, "no torrent is left")
    m.term()
    m = publisher(box)
    same(m.status()["torrents"], [], "torrents in the next run")
    same(m.status()["publish"], [], "entries in the next run")


@case("publish=hold waits, publish=now does not, and the last close counts")
def held(box):
    src, m = content(box), Mount(box, options=["publish_delay=600", "nodht"])
    path = m.path("publish/film.mkv")
    with open(path, "wb") as f:
        f.write(open(src, "rb").read())
        os.setxattr(path, "user.weirfs.publish", b"now")
        time.sleep(0.5)
        same(entry(m, "film.mkv")["state"], "writing", "while it is open")
    published(m, "film.mkv", 3)
    box.run(["cp", src, m.path("publish/two.mkv")])
    os.setxattr(m.path("publish/two.mkv"), "user.weirfs.publish", b"hold")
    same(entry(m, "two.mkv")["state"], "writing", "held")
    os.setxattr(m.path("publish/two.mkv"), "user.weirfs.publish", b"now")
    published(m, "two.mkv", 3)
    for value in (b"", b"soon"):
        try:
            os.setxattr(path, "user.weirfs.publish", value)
            raise Failed(f"publish={value} was taken")
        except OSError:
            pass


@case("what is left out, and what is nothing")
def left_out(box):
    m = publisher(box)
    os.mkdir(m.path("publish/set"))
    for name in ("real", "Thumbs.db", "desktop.ini", ".DS_Store", "core"):
        box.run(["cp", "/etc/hostname", m.path("publish/set", name)])
    os.symlink("real", m.path("publish/set/link"))
    os.mkdir(m.path("publish/set/empty"))
    os.mkdir(m.path("publish/nothing"))
    published(m, "set")
    out = info(box, m.path("torrents/set.torrent"))
    files = out["files"]
    same([f["path"] for f in files], ["real"], "files of the torrent")
    until(lambda: entry(m, "nothing")["state"] == "empty", 15, "nothing")
    same(len(m.status()["torrents"]), 1, "torrents")


@case("defaults of a folder: .weirfs-publish")
def defaults(box):
    m = publisher(box)
    with open(m.path("publish/.weirfs-publish"), "w", encoding="utf-8") as f:
        f.write("announce = http://tracker.example.org/announce\n"
                "comment = from here\n")
    os.mkdir(m.path("publish/set"))
    with open(m.path("publish/set/.weirfs-publish"), "w",
              encoding="utf-8") as f:
        f.write("private = yes\n")
    box.run(["cp", "/etc/hostname", m.path("publish/set/a")])
    box.run(["cp", "/etc/hostname", m.path("publish/one")])
    for name, private in (("set", True), ("one", False)):
        published(m, name)
        out = info(box, m.path(f"torrents/{name}.torrent"))
        same(out["private"], private, f"{name}: private")
        check("tracker.example.org" in json.dumps(out["trackers"]),
              f"trackers {out['trackers']}")
    with open(m.path("publish/set/.weirfs-publish"), "w",
              encoding="utf-8") as f:
        f.write("privat = yes\n")
    box.run(["cp", "/etc/hosts", m.path("publish/set/b")])
    until(lambda: entry(m, "set")["state"] == "failed", 15, "it fails")
    check("privat" in entry(m, "set")["error"], entry(m, "set")["error"])


@case("behind our back: put there, changed, renamed and removed by others")
def behind(box):
    src, m = content(box), publisher(box)
    back = os.path.join(m.state, "publish")
    shutil.copy(src, back + "/film.mkv")
    first = published(m, "film.mkv")
    leech(box, m, first, src)
    with open(back + "/film.mkv", "r+b") as f:
        f.write(b"other bytes")
    second = published(m, "film.mkv", other_than=first.split(":")[3][:40])
    leech(box, m, second, back + "/film.mkv")
    os.rename(back + "/film.mkv", back + "/b.mkv")
    published(m, "b.mkv")
    until(lambda: entry(m, "film.mkv")["state"] == "absent", 10, "it is gone")
    os.unlink(back + "/b.mkv")
    until(lambda: not m.status()["publish"], 10, "no entries")
    until(lambda: not m.status()["torrents"], 10, "no torrents")


@case("the next run: all is published, nothing is hashed again")
def again(box):
    src, folder, m = content(box), tree(box), publisher(box)
    box.run(["cp", src, m.path("publish/film.mkv")])
    box.run(["cp", "-r", folder, m.path("publish")])
    first = published(m, "film.mkv"), published(m, "tree")
    m.term()
    m = publisher(box)
    until(lambda: entry(m, "tree")["state"] == "published", 3, "at once")
    same((published(m, "film.mkv"), published(m, "tree")), first, "magnets")
    reads = m.io()["rchar"]
    check(reads < MIB, f"{reads} bytes were read")
    leech(box, m, first[0], src)
    m.term()
    # Changed while nobody looked.
    with open(os.path.join(m.state, "publish/film.mkv"), "ab") as f:
        f.write(b"more")
    m = publisher(box)
    published(m, "film.mkv", other_than=first[0].split(":")[3][:40])


@case("a mirror's own tree, read-only: a torrent for each match, a web seed")
def mirror(box):
    top = box.mkdir("mirror")
    box.run(["mount", "-t", "tmpfs", "none", top])
    box.at_end(subprocess.run, ["umount", "-l", top])
    for name in ("debian/12/one.iso", "debian/12/SUMS", "x y/two.iso"):
        os.makedirs(os.path.dirname(os.path.join(top, name)), exist_ok=True)
        random_file(os.path.join(top, name), MIB + len(name), len(name))
    os.makedirs(top + "/debian/live.iso")
    box.run(["cp", "/etc/hostname", top + "/debian/live.iso/a"])
    box.run(["mount", "-o", "remount,ro", top])
    m = publisher(box, f"publish_dir={top}", "publish_match=*.iso",
                  "publish_webseed=http://mirror.example.org/pub/")
    magnet = published(m, "debian/12/one.iso")
    published(m, "x y/two.iso")
    published(m, "debian/live.iso")
    same(sorted(os.listdir(m.path("torrents"))),
         ["live.iso.torrent", "one.iso.torrent", "two.iso.torrent"],
         "torrents/")
    base = "http://mirror.example.org/pub/"
    for name, url in (("one", "debian/12/one.iso"), ("two", "x%20y/two.iso"),
                      ("live", "debian/")):
        out = info(box, m.path(f"torrents/{name}.iso.torrent"))
        same(out["webseeds"], [base + url], f"web seeds of {name}")
    leech(box, m, magnet, top + "/debian/12/one.iso")
    for fn in (lambda: open(m.path("publish/new"), "w"),
               lambda: os.unlink(m.path("publish/debian/12/one.iso"))):
        try:
            fn()
            raise Failed("a read-only tree was changed")
        except OSError as e:
            same(e.errno, errno.EROFS, "errno")
    # A new image comes: seen although it lies deep.
    box.run(["mount", "-o", "remount,rw", top])
    box.run(["cp", top + "/x y/two.iso", top + "/debian/12/three.iso"])
    published(m, "debian/12/three.iso")


@case("a full disk reaches the writer, and nothing of it is published")
def full(box):
    top = box.mkdir("small")
    box.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", top])
    box.at_end(subprocess.run, ["umount", "-l", top])
    m = publisher(box, f"publish_dir={top}")
    with open(m.path("publish/big"), "wb", buffering=0) as f:
        try:
            for _ in range(80):
                f.write(bytes(100_000))
            raise Failed("8 MB went into 4 MiB")
        except OSError as e:
            same(e.errno, errno.ENOSPC, "errno")
        same(entry(m, "big")["state"], "writing", "state")
    os.unlink(m.path("publish/big"))
    box.run(["cp", "/etc/hostname", m.path("publish/small")])
    published(m, "small")
    same(os.listdir(m.path("torrents")), ["small.torrent"], "torrents/")


@case("the infohash is libtorrent's, and that of weirctl make")
def infohash(box):
    folder, m = tree(box), publisher(box)
    box.run(["cp", "-r", folder, m.path("publish")])
    magnet = published(m, "tree")
    out = box.path("lt.torrent")
    lt = os.path.join(os.path.dirname(__file__), "../lib/lt.py")
    box.run(["/usr/bin/python3", lt, "make", folder, out, "262144", "hybrid"])
    ours = box.path("ours.torrent")
    weirctl(box, "make", folder, "-o", ours)
    for made in (info(box, out), info(box, ours)):
        for key in ("infohash_v1", "infohash_v2"):
            check(made[key] in magnet, f"{made[key]} in {magnet}")
    for name, size in (("one", 1), ("odd", 5 * MIB + 3), ("large", 70 * MIB)):
        path = random_file(box.path("src/" + name), size, size)
        box.run(["cp", path, m.path("publish")])
        magnet = published(m, name)
        weirctl(box, "make", path, "-o", ours)
        check(info(box, ours)["infohash_v2"] in magnet, f"{name}: {magnet}")


if __name__ == "__main__":
    main()
