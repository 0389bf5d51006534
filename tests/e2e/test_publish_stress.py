#!/usr/bin/python3
"""Goal: others' programs that wear file systems out find nothing in publish/:
fio reads back what it wrote, stress-ng's file system class passes."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import LONG, Skip, case, check, main, need, same
from publish import Pub

# What stress-ng's file system class does that publish/, or any FUSE mount,
# does not have.
EXCLUDE = {
    "access": "the mount is noexec, and access(X_OK) says so",
    "bind-mount": "mounts over the root",
    "binderfs": "another file system",
    "fiemap": "FUSE tells of no extents",
    "link": "hard links are refused",
    "procfs": "another file system",
    "verity": "of ext4 and f2fs",
}
DAILY = """chmod chown copy-file dir dirdeep fallocate filename fpunch fstat
    getdent hdd iomix open rename sync-file touch utime xattr""".split()


def fio(box, *args):
    need("fio")
    p = Pub(box)
    box.run(["fio", "--name=v", f"--directory={p.at()}", "--verify=crc32c",
             "--verify_fatal=1", "--do_verify=1", "--group_reporting",
             "--verify_state_save=0",
             f"--size={256 if LONG else 24}m", *args], seconds=200)
    check(os.listdir(p.behind()), "the files lie in publish_dir")


FIO = {
    "random writes of mixed sizes, four jobs": [
        "--rw=randwrite", "--bsrange=1k-256k", "--numjobs=4",
        "--ioengine=psync", "--fsync=64"],
    "1 MiB in order, then read back by mmap": [
        "--rw=write", "--bs=1m", "--ioengine=mmap"],
    "random 4 KiB through mmap": [
        "--rw=randwrite", "--bs=4k", "--ioengine=mmap"],
    "O_DIRECT, many at a time": [
        "--rw=randwrite", "--bs=16k", "--direct=1", "--ioengine=libaio",
        "--iodepth=16"],
}
for name in FIO:
    case(f"fio --verify: {name}", limit=240)(
        lambda box, name=name: fio(box, *FIO[name]))


def stressors(box):
    need("stress-ng")
    out = box.run(["stress-ng", "--class", "filesystem?"], status=None)
    names = (out.stdout + out.stderr).split(": ", 1)[-1].split()
    if "chmod" not in names:
        raise Skip("stress-ng names no file system class")
    return [n for n in names if n not in EXCLUDE and (LONG or n in DAILY)]


@case("stress-ng: the file system class, one after another",
      limit=1200 if LONG else 240)
def stress_ng(box):
    p = Pub(box)
    os.mkdir(p.at("t"))
    small = [a for n in ("hdd", "fallocate", "iomix", "sync-file")
             for a in (f"--{n}-bytes", "16m")]
    for name in stressors(box):
        out = box.run(["stress-ng", f"--{name}", "1", "--verify", "--timeout",
                       "10" if LONG else "1", "--temp-path", p.at("t"),
                       *small], seconds=90, status=None)
        text = out.stdout + out.stderr
        check(not out.returncode and "fail:" not in text,
              f"{name}: status {out.returncode}\n{text[-1500:]}")
        same(os.listdir(p.at("t")), [], f"what {name} left behind")


main()
