#!/usr/bin/python3
"""Rules of the house that a script can check.

    lint.py RULE [TOP]    one rule over the tree at TOP; `lint.py --list`

Each rule is a function below; its docstring is the rule. A complaint is a line
"path:line: what is wrong". Exit status 0 clean, 1 complaints, 77 skipped.
"""
import functools
import os
import posixpath
import re
import shutil
import subprocess
import sys

# --- the tree ---


class Skip(Exception):
    """The rule cannot be checked here; the text says why."""


class Tree:
    """Names and texts of the files that belong to the project."""

    def __init__(self, top):
        self.top = top

    def path(self, name):
        return os.path.join(self.top, name)

    def _git(self, *args):
        if not os.path.exists(self.path(".git")):
            return None
        try:
            out = subprocess.run(["git", "-C", self.top, *args, "-z"],
                                 capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return None
        return sorted({n for n in out.decode().split("\0") if n})

    def _walk(self):
        """A tree without git: all but build folders and dot-folders."""
        names = []
        for folder, dirs, files in os.walk(self.top):
            dirs[:] = sorted(d for d in dirs
                             if not d.startswith(("build", "__pycache__"))
                             and (d == ".github" or d[0] != "."))
            names += [os.path.relpath(os.path.join(folder, f), self.top)
                      for f in files]
        return sorted(names)

    @functools.cached_property
    def tracked(self):
        names = self._git("ls-files")
        return self._walk() if names is None else names

    @functools.cached_property
    def names(self):
        """Tracked files and those that soon will be."""
        names = self._git("ls-files", "-co", "--exclude-standard")
        names = self._walk() if names is None else names
        return [n for n in names if os.path.isfile(self.path(n))]

    @functools.cached_property
    def code(self):
        return [n for n in self.names if n.endswith((".c", ".h"))]

    @functools.lru_cache(maxsize=None)
    def text(self, name):
        """The text of a file, None if it is binary."""
        with open(self.path(name), "rb") as f:
            raw = f.read()
        try:
            return None if b"\0" in raw else raw.decode()
        except UnicodeDecodeError:
            return None

    def lines(self, name):
        text = self.text(name)
        return [] if text is None else text.splitlines()


TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|"""
                   r"""'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def bare(text):
    """C without comments and the insides of strings; line numbers hold."""
    def blank(match):
        token = match[0]
        if token[0] == "/":
            return " " + "\n" * token.count("\n")
        return token[0] * 2
    return TOKEN.sub(blank, text)


def is_test(name):
    return name.startswith("tests/")


# --- the rules ---

# What a folder may include, by the first words of the path. The most specific
# folder counts. tools and tests may use all, and nobody uses them.
MAY_INCLUDE = {
    "engine/base": ("engine/base/",),
    "engine": ("engine/",),
    "dht": ("dht/", "engine/base/"),
    "tracker": ("tracker/", "dht/", "engine/base/"),
    "tracker/overlay": ("tracker/overlay/", "tracker/request.h",
                        "tracker/server/swarms.h", "tracker/server/tellq.h",
                        "dht/", "engine/base/"),
    "fs": ("fs/", "engine/base/", "engine/engine.h", "engine/metainfo.h",
           "engine/magnet.h", "engine/sched.h", "engine/state.h",
           "engine/store.h", "engine/store_fs.h", "engine/filehash.h",
           "engine/make.h", "engine/make_info.h"),
}
# These plug everything together; follow.c speaks to the node that they made.
MAY_ALSO = {
    "fs/follow.c": ("dht/dht.h",),
    "fs/main.c": ("tracker/", "dht/"),
    "fs/session.c": ("tracker/", "dht/"),
    "fs/session_dht.c": ("dht/",),
    "fs/session_dht.h": ("dht/dht.h",),
}
# Libraries with a home of their own. "": the roots of what must stay free.
SYSTEM_HOMES = {
    "curl/": ("engine/base/http", "tests/"),
    "sqlite3.h": ("engine/state", "tests/"),
    "fuse": ("fs/", "tests/"),
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def includes(tree, name):
    """(line, quote, path) of each #include."""
    text = tree.text(name) or ""
    for m in INCLUDE.finditer(text):
        yield text.count("\n", 0, m.start()) + 1, m[1], m[2]


def home(name):
    for folder in sorted(MAY_INCLUDE, key=len, reverse=True):
        if name.startswith(folder + "/"):
            return folder
    return None


def rule_layers(tree):
    """An #include goes down the drawing of the house, never up or across."""
    for name in tree.code:
        folder = home(name)
        may = MAY_INCLUDE.get(folder, ()) + MAY_ALSO.get(name, ())
        for line, quote, path in includes(tree, name):
            if quote == '"' and folder and not path.startswith(may):
                yield name, line, f'{folder} must not include "{path}"'
            elif quote == '"' and path not in tree.code:
                yield name, line, (f'"{path}" is no file of ours; the path '
                                   "starts at the top")
            elif quote == "<":
                for prefix, homes in SYSTEM_HOMES.items():
                    if path.startswith(prefix) and \
                            not name.startswith(homes):
                        yield name, line, (f"<{path}> belongs to "
                                           + " and ".join(homes))


def rule_weirctl(tree):
    """Nothing that weirctl is made of includes a header of libfuse.

    It is made of tools/weirctl*.c, fs/session.c, and the .c beside each header
    of fs/ that one of them includes, and so on.
    """
    todo = [n for n in tree.code
            if n.startswith("tools/weirctl") or n == "fs/session.c"]
    why = {n: n for n in todo}
    while todo:
        name = todo.pop()
        for line, quote, path in includes(tree, name):
            if quote == "<" and path.startswith("fuse"):
                yield name, line, f"<{path}> in weirctl, through {why[name]}"
            if quote != '"' or not path.startswith("fs/"):
                continue
            for part in (path, posixpath.splitext(path)[0] + ".c"):
                if part in tree.code and part not in why:
                    why[part] = f"{name}:{line}"
                    todo.append(part)


BANNED = ("strcpy strcat sprintf vsprintf strncpy strtok atoi gets alloca rand "
          "signal localtime").split()
# What only some places may call: (words, a pattern of where, the reason).
RESTRICTED = [
    ("htons htonl ntohs ntohl", r"engine/base/addr\.c|tests/.*",
     "bytes.h loads and stores big-endian"),
    ("exit _exit abort", r".*main\.c|engine/base/mem\.c|(fs|tools|tests)/.*",
     "a library returns errors"),
    ("sleep usleep nanosleep",
     r"(?!tests/(base|engine|dht|tracker|fs|fuzz)/).*",
     "unit tests run in virtual time"),
]


def calls(words):
    return re.compile(r"(?<![\w.>])(" + "|".join(words) + r")\s*\(")


def rule_banned(tree):
    """No function that cannot be used safely, or not from here."""
    checks = [(calls(BANNED), None, "is banned")]
    checks += [(calls(words.split()), re.compile(where), why)
               for words, where, why in RESTRICTED]
    for name in tree.code:
        text = bare(tree.text(name) or "")
        for pattern, where, why in checks:
            if where and where.fullmatch(name):
                continue
            for m in pattern.finditer(text):
                line = text.count("\n", 0, m.start()) + 1
                yield name, line, f"{m[1]}(): {why}"


FILE_LINES = 700


def rule_length(tree):
    """A source file has at most 700 lines; past 600 it holds two nouns."""
    for name in tree.names:
        if name.endswith((".c", ".h", ".py", ".sh", "meson.build")) or \
                (tree.text(name) or "").startswith("#!"):
            n = len(tree.lines(name))
            if n > FILE_LINES:
                yield name, n, f"{n} lines, at most {FILE_LINES}"


# Put together here so that this file does not find itself.
UNDONE = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "XX" "X"))
                    + r")\b")
MACHINE = re.compile(r"(?<![\w.])/(?:work|root)/|/tmp/w" r"t\b")
TAP_READER = "tests/lib/suite.py"  # the word is a directive of TAP


def rule_words(tree):
    """Nothing marked as undone, no path of the machine it was written on."""
    for name in tree.names:
        if "/corpus/" in name or "/data/" in name:
            continue
        for line, text in enumerate(tree.lines(name), 1):
            m = UNDONE.search(text)
            if m and name != TAP_READER:
                yield name, line, f"{m[1]}: do it, or say NEEDSWORK: and why"
            m = MACHINE.search(text)
            if m:
                yield name, line, f"a path of one machine: {m[0]}"


def rule_headers(tree):
    """Headers begin guarded; a .c file includes its own header first.

    X_private.h, which begins with X.h, will do for X.c.
    """
    for name in tree.code:
        if name.endswith(".h"):
            if not re.search(r"^#pragma once$", tree.text(name) or "", re.M):
                yield name, 1, "no #pragma once"
            continue
        stem = name[:-2]
        line, _, first = next(includes(tree, name), (1, "", ""))
        if stem + ".h" in tree.code and \
                not first.startswith((stem + ".h", stem + "_")):
            yield name, line, f'"{stem}.h" comes first, it must stand alone'


def rule_goals(tree):
    """A test states its goal in its first line."""
    for name in tree.code:
        if re.match(r"tests/.*/(test|fuzz)_[^/]*\.c$", name):
            if not tree.lines(name)[:1] or \
                    not tree.lines(name)[0].startswith("/* Goal: "):
                yield name, 1, 'the first line is not "/* Goal: ..."'


TOP_NAMES = ("fs engine dht tracker tests tools meson.build README.md "
             "LICENSE").split()
README_LINES = 60


def rule_tree(tree):
    """The top level, folder READMEs and the style guide are as agreed."""
    for name in sorted({n.split("/")[0] for n in tree.tracked}):
        if name[0] != "." and name not in TOP_NAMES:
            yield name, 1, "has no place on the top level"
    for name in tree.names:
        n = len(tree.lines(name))
        if name.endswith("/README.md") and n > README_LINES:
            yield name, n, f"{n} lines, at most {README_LINES}"
    if ".github/STYLE.md" not in tree.names:
        yield ".github/STYLE.md", 1, "is missing"


FORMAT_MAJOR = "14"  # others break lines elsewhere


OPTIONS_OF = {"tracker/server/options.c": ("tracker/weir-tracker.8.scd",
                                           "tools/completions/weir-tracker.bash")}
# { KIND, "name", what it sets[, least, most, "VALUE", ...
OPTION = re.compile(r'\{ ([A-Z_]+), "([a-z0-9-]+)", AT\(\w+\)'
                    r'(?:, [^,{}]+, [^,{}]+, "(\w*)")?')


def rule_options(tree):
    """Manual pages have each option; completions know which are files.

    Other options are asked of the program by the completion.
    """
    for name, (manual, completion) in OPTIONS_OF.items():
        if name not in tree.names:
            continue
        found, text = set(), tree.text(name)
        for m in OPTION.finditer(text):
            line = text.count("\n", 0, m.start()) + 1
            found.add(m[2])
            if f"*--{m[2]}*" not in tree.text(manual):
                yield name, line, f"--{m[2]} is not in {manual}"
            if m[3] == "FILE" and not re.search(
                    rf"--{m[2]}(?![a-z-])", tree.text(completion)):
                yield name, line, f"--{m[2]} FILE is not in {completion}"
        if not found:
            yield name, 1, "no options are found: has their form changed?"
            continue
        lines = tree.text(manual).splitlines()
        for number, line in enumerate(lines, 1):
            if not line.startswith("*-"):
                continue
            for option in re.findall(r"\*--([a-z0-9-]+)\*", line):
                if option not in found:
                    yield manual, number, f"--{option} is not in {name}"


def clang_format():
    for program in ("clang-format-" + FORMAT_MAJOR, "clang-format"):
        if not shutil.which(program):
            continue
        version = subprocess.run([program, "--version"], text=True,
                                 capture_output=True, check=True).stdout
        if re.search(rf"version {FORMAT_MAJOR}\.", version):
            return program
    raise Skip(f"no clang-format {FORMAT_MAJOR}")


def rule_format(tree):
    """clang-format has nothing to change."""
    if not tree.code:
        return
    run = subprocess.run([clang_format(), "--dry-run", *tree.code],
                         cwd=tree.top, text=True, capture_output=True,
                         check=False)
    found = dict.fromkeys(re.findall(r"^(.*?):(\d+):\d+: (?:warning|error)",
                                     run.stderr, re.M))
    for name, line in found:
        yield name, int(line), "clang-format -i would change this"
    if run.returncode and not found:
        yield ".clang-format", 1, run.stderr.strip()


# --- running them ---

RULES = {name[5:]: value for name, value in globals().items()
         if name.startswith("rule_")}


def check(rule, top):
    """Sorted complaints as text."""
    found = RULES[rule](Tree(top))
    return [f"{name}:{line}: {what}" for name, line, what in sorted(found)]


def main(argv):
    if argv == ["--list"]:
        for name, rule in RULES.items():
            print(f"{name:10}{rule.__doc__.splitlines()[0]}")
        return 0
    if len(argv) not in (1, 2) or argv[0] not in RULES:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    top = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    try:
        complaints = check(argv[0], argv[1] if argv[1:] else top)
    except Skip as e:
        print(e)
        return 77
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
