#!/usr/bin/python3
"""Goal: help is complete and fits a terminal, wrong usage is told apart from
failure, completion knows what help knows."""
import os
import re

from weirctl import PROGRAM, USAGE, weirctl
from harness import case, check, main, need, same

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
COMPLETIONS = os.path.join(TOP, "tools", "completions")


def commands(box):
    return weirctl(box, "--commands").stdout.split()


def options(box, command):
    return set(re.findall(r"--[a-z][a-z0-9-]*",
                          weirctl(box, command, "--help").stdout))


@case("help goes to standard output and fits in 80 columns")
def width(box):
    for args in ((), *((c,) for c in commands(box))):
        r = weirctl(box, *args, "--help")
        check(r.stdout.startswith("usage: weirctl"), r.stdout[:100])
        same(r.stderr, "", "standard error")
        for line in r.stdout.splitlines():
            check(len(line) <= 80, f"{args}: {line!r}")


@case("help names every command; each has its own")
def complete(box):
    text = weirctl(box, "--help").stdout
    for command in ("info", "make", "check"):
        check(command in commands(box), command)
    for command in commands(box):
        check(re.search(rf"^  {command} +\S", text, re.M), command)
        check(f"usage: weirctl {command} " in
              weirctl(box, command, "--help").stdout, command)


@case("--version")
def version(box):
    check(re.fullmatch(r"weirctl \d+\.\d+\.\d+\n",
                       weirctl(box, "--version").stdout), "version")


@case("wrong usage: exit status 2, a hint on standard error, no output")
def usage(box):
    for args in ((), ("nonsense",), *((c, "--nonsense")
                                      for c in commands(box)),
                 ("info",), ("make",), ("check",), ("info", "a", "b"),
                 *(("dht", "--queries", n)
                   for n in ("", "0", "-1", "x", "1x", "1000001"))):
        r = weirctl(box, *args, status=USAGE)
        same(r.stdout, "", args)
        check(r.stderr, args)


def bash_completes(box, *words):
    script = f"""
        PATH={os.path.dirname(PROGRAM)}:$PATH
        compopt() {{ :; }}
        . {COMPLETIONS}/weirctl.bash
        COMP_WORDS=({' '.join(f"'{w}'" for w in words)})
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _weirctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return box.run(["bash", "-c", script], cwd=box.dir).stdout.split("\n")[:-1]


@case("bash completion: commands, options, files")
def bash(box):
    box.write("a.torrent", b"")
    box.write("b.txt", b"")
    box.mkdir("folder")
    same(set(bash_completes(box, "weirctl", "")),
         {*commands(box), "--help", "--version"}, "commands")
    same(bash_completes(box, "weirctl", "ma"), ["make"], "ma")
    for command in ("info", "make", "check"):
        same(set(bash_completes(box, "weirctl", command, "--")),
             options(box, command) | {"--help"}, command)
    same(set(bash_completes(box, "weirctl", "info", "")),
         {"a.torrent", "folder", "home"}, "files")
    same(set(bash_completes(box, "weirctl", "check", "a.torrent", "--data",
                            "f")), {"folder"}, "--data")
    check("b.txt" in bash_completes(box, "weirctl", "make", ""), "make")


@case("zsh completion is zsh")
def zsh(box):
    box.run([need("zsh"), "-n", COMPLETIONS + "/_weirctl"])


main()
