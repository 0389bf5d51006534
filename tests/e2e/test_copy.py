#!/usr/bin/python3
"""Goal: no tool that looks for holes ever mistakes missing bytes for zeros:
copies of an absent file have the right bytes, or the copy fails."""
import filecmp
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import case, check, main, need, same
from weir import PIECE, World

TOOLS = {
    "cp": ["cp", "{src}", "{dst}"],
    "cp --sparse=always": ["cp", "--sparse=always", "{src}", "{dst}"],
    "cp --reflink=auto -a": ["cp", "--reflink=auto", "-a", "{src}", "{dst}"],
    "tar -S": ["sh", "-c", "tar -C {folder} -S -cf {box}/t.tar file.bin &&"
               " tar -C {box}/out -xf {box}/t.tar"],
    "rsync -S": ["rsync", "-S", "{src}", "{dst}"],
    "dd conv=sparse": ["dd", "if={src}", "of={dst}", "conv=sparse", "bs=64k"],
    "cat": ["sh", "-c", "cat {src} > {dst}"],
}


def copy(box, w, tool):
    """(exit status, path of the copy)"""
    need(TOOLS[tool][0])
    out = os.path.join(box.mkdir("out"), "file.bin")
    argv = [a.format(src=w.path, dst=out, folder=os.path.dirname(w.path),
                     box=box.dir) for a in TOOLS[tool]]
    return box.run(argv, seconds=40, status=None).returncode, out


def with_seeder(box, tool):
    w = World(box, gives=1 << 30)
    status, out = copy(box, w, tool)
    same(status, 0, "exit status")
    check(filecmp.cmp(w.torrent.data, out, False), "the copy is right")


def without_seeder(box, tool):
    w = World(box, "read_timeout=2", size=5 * PIECE)
    status, _ = copy(box, w, tool)
    check(status != 0, f"{tool} says that it failed")


for t in TOOLS:
    case(f"{t} of an absent file, with a seeder: right")(
        lambda box, t=t: with_seeder(box, t))
    case(f"{t} of a file that stays absent: an error, no zeros")(
        lambda box, t=t: without_seeder(box, t))


@case("an absent file has blocks, and no holes for SEEK_HOLE")
def no_holes(box):
    w = World(box)
    st = os.stat(w.path)
    check(st.st_blocks >= 8, f"st_blocks is {st.st_blocks}")
    fd = os.open(w.path, os.O_RDONLY)
    try:
        same(os.lseek(fd, 0, os.SEEK_DATA), 0, "where data begins")
        same(os.lseek(fd, 0, os.SEEK_HOLE), st.st_size, "the first hole")
        same(os.lseek(fd, 5 * PIECE, os.SEEK_DATA), 5 * PIECE, "data within")
    finally:
        os.close(fd)


@case("st_blocks never says that something is missing")
def blocks(box):
    w = World(box, gives=1 << 30)
    for _ in range(2):
        check(os.stat(w.path).st_blocks * 512 >= w.torrent.size, "blocks")
        box.run(["cp", w.path, box.path("copy")])


main()
