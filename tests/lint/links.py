#!/usr/bin/python3
"""Goal: no library calls what it may not know, headers or not.

    links.py NAME:ALLOWED,... ARCHIVE ...    pairs, one for each library
    links.py --without SONAME PROGRAM        PROGRAM does not load SONAME

An #include is not the only way down the wrong stairs: a prototype can be
written anywhere. So the symbols are asked: what NAME leaves undefined and only
a library outside ALLOWED defines is a complaint.
"""
import subprocess
import sys


def symbols(archive):
    """(defined, {undefined: object}) of a static library."""
    out = subprocess.run(["nm", "-A", "-g", archive], text=True,
                         capture_output=True, check=True).stdout
    defined, undefined = set(), {}
    for line in out.splitlines():
        where, _, rest = line.rpartition(":")
        words = rest.split()
        if len(words) >= 2 and words[-2] in ("U", "w", "v"):
            undefined[words[-1]] = where
        elif len(words) >= 2:
            defined.add(words[-1])
    return defined, undefined


def check(libraries):
    """Complaints about [(name, allowed, archive)]."""
    known = {name: symbols(archive) for name, _, archive in libraries}
    for name, allowed, _ in libraries:
        mine, wanted = known[name]
        for other, (theirs, _) in known.items():
            if other == name or other in allowed:
                continue
            for symbol in sorted(wanted.keys() & theirs - mine):
                yield f"{wanted[symbol]}: {name} calls {symbol} of {other}"


def check_without(soname, program):
    out = subprocess.run(["readelf", "-dW", program], text=True,
                         capture_output=True, check=True).stdout
    for line in out.splitlines():
        if "(NEEDED)" in line and soname in line:
            yield f"{program} needs {soname}"


def main(argv):
    if len(argv) == 3 and argv[0] == "--without":
        complaints = list(check_without(*argv[1:]))
    elif argv and len(argv) % 2 == 0:
        libraries = []
        for rule, archive in zip(argv[::2], argv[1::2]):
            name, _, allowed = rule.partition(":")
            libraries.append((name, allowed.split(","), archive))
        complaints = list(check(libraries))
    else:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
