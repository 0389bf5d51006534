#!/usr/bin/python3
"""Runs one suite of a build folder with `meson test`, one line per case, live.

    suite.py BUILD SUITE COUNTS [MESON-ARGUMENT...]

A case is a TAP line of a test, or the whole test if it speaks no TAP. Appends
"PASSED FAILED SKIPPED" and the reasons of skips and failures to the file
COUNTS. Exit status 1 if anything failed.
"""
import json
import os
import re
import subprocess
import sys

START = re.compile(r"^\s*(\d+)/\d+\s+(?:\S+ / )?(\S+)\s+RUNNING")
LIVE = re.compile(r"^▶\s+(\d+)/\d+\s+- (.*?)\s+(OK|FAIL|SKIP)\S*\s*$")
DONE = re.compile(r"^\s*\d+/\d+\s+(?:\S+ / )?(\S+)\s+"
                  r"(OK|FAIL|ERROR|SKIP|TIMEOUT)\b\s+([\d.]+)s")
CASE = re.compile(r"^(not )?ok\b(?:\s+\d+)?(?:\s+-)?\s*(.*?)"
                  r"(?:\s+# (SKIP|TODO)\b\s*(.*))?$", re.IGNORECASE)
FAILED = ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT", "UNEXPECTEDPASS")


def say(line):
    print(line, flush=True)


def run(build, suite, args):
    """Runs meson and shows each case when it ends."""
    argv = ["meson", "test", "-C", build, "--no-rebuild", "-v",
            "--suite", suite, *args]
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         errors="replace", env={**os.environ, "TERM": "dumb"})
    tail, names, tap = [], {}, set()
    for line in p.stdout:
        tail = tail[-20:] + [line]
        start, live, done = (r.match(line) for r in (START, LIVE, DONE))
        if start:
            names[start[1]] = start[2]
        elif live:
            name = names.get(live[1], "?")
            tap.add(name)
            say(f"  {live[3].lower():4} {suite}/{name}: {live[2]}")
        elif done:
            what = done[2].lower() if done[1] not in tap else "="
            say(f"  {what:4} {suite}/{done[1]} ({done[3]} s)")
    return p.wait(), tail


def results(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return [json.loads(line) for line in f if line.strip()]
    except OSError:
        return []


def tally(entry):
    """(passed, [failed], [(skipped, reason)]) of one meson test."""
    name, out = entry["name"].split(" / ")[-1], entry.get("stdout") or ""
    passed, failed, skipped = 0, [], []
    for line in out.splitlines():
        m = CASE.match(line)
        if not m:
            continue
        case = f"{name}: {m[2]}"
        if (m[3] or "").upper() == "SKIP":
            skipped.append((case, m[4] or "no reason given"))
        elif m[1]:
            failed.append(case)
        else:
            passed += 1
    whole = re.search(r"^1\.\.0\s*# SKIP\s*(.*)", out, re.M)
    if entry["result"] in FAILED and not failed:
        failed.append(f"{name}: {entry['result'].lower()}")
    elif entry["result"] == "SKIP" and not skipped:
        lines = out.strip().splitlines()
        skipped.append((name, whole[1] if whole else
                        lines[-1] if lines else "no reason given"))
    elif not passed and not failed and not skipped:
        passed = 1
    return passed, failed, skipped


def main(build, suite, counts, *args):
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    code, tail = run(build, suite, args)
    passed, failed, skipped = 0, [], []
    for entry in results(log):
        ok, bad, skip = tally(entry)
        passed, failed, skipped = passed + ok, failed + bad, skipped + skip
        if bad:
            say(f"--- {entry['name']}: output")
            for key in ("stdout", "stderr"):
                lines = (entry.get(key) or "").rstrip().splitlines()
                for line in lines[-150:]:
                    say("    " + line)
            say("---")
    if not passed and not failed and not skipped and not code:
        skipped.append((suite, "this build has no test of the suite"))
    if code and not failed:
        sys.stdout.write("".join(tail))
        failed.append(f"{suite}: meson test exited with status {code}")
    with open(counts, "a", encoding="utf-8") as f:
        f.write(f"count {passed} {len(failed)} {len(skipped)}\n")
        f.writelines(f"skip {suite}/{c}: {why}\n" for c, why in skipped)
        f.writelines(f"fail {suite}/{c}\n" for c in failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
