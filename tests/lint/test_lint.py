#!/usr/bin/python3
"""Goal: every lint rule finds a planted violation, and nothing in a good tree.

Each tree below is written to a private folder. TAP on stdout.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import links
import lint

GOOD = {
    ".clang-format": "BasedOnStyle: LLVM\nSortIncludes: false\n",
    ".github/STYLE.md": "# Style\n",
    "LICENSE": "", "README.md": "", "meson.build": "",
    "engine/README.md": "x\n" * 60,
    "engine/base/log.h": "#pragma once\n",
    "engine/base/log.c": '#include "engine/base/log.h"\n\n#include <time.h>\n',
    "engine/base/http.c": "#include <curl/curl.h>\n",
    "engine/engine.h": '#pragma once\n#include "engine/base/log.h"\n',
    "engine/picker.h": "#pragma once\n",
    "dht/dht.h": '#pragma once\n#include "engine/base/log.h"\n',
    "tracker/server/options.c": "/* clang-format off */\n"
                                '{ TEXT, "state", AT(state), 0, 0, "FILE",\n',
    "tracker/weir-tracker.8.scd": "*--state* _FILE_\n",
    "tools/completions/weir-tracker.bash": "--state)\n",
    "tracker/tracker.h": '#pragma once\n#include "dht/dht.h"\n',
    "fs/tree.h": "#pragma once\n",
    "fs/session.h": '#pragma once\n#include "engine/engine.h"\n',
    "fs/session.c": '#include "fs/session.h"\n'
                    '#include "tracker/tracker.h"\n',
    "fs/main.c": '#include <fuse_lowlevel.h>\n#include "dht/dht.h"\n'
                 '#include "fs/session.h"\n',
    "tools/weirctl.c": '#include "fs/session.h"\n',
    "tests/engine/test_picker.c": "/* Goal: none. */\n"
                                  '#include "engine/picker.h"\n',
}

# (rule, file, its text, what the complaint must say or None for none)
CASES = [
    ("layers", "engine/base/bad.c", '#include "engine/engine.h"\n',
     "engine/base must not include"),
    ("layers", "engine/bad.c", '#include "dht/dht.h"\n', "engine must not"),
    ("layers", "engine/bad.c", '  #  include "tracker/tracker.h"\n',
     "engine must not"),
    ("layers", "engine/bad.c", '#include "fs/tree.h"\n', "engine must not"),
    ("layers", "dht/bad.c", '#include "engine/engine.h"\n', "dht must not"),
    ("layers", "dht/bad.c", '#include "tracker/tracker.h"\n', "dht must not"),
    ("layers", "tracker/bad.c", '#include "engine/picker.h"\n',
     "tracker must not"),
    ("layers", "fs/bad.c", '#include "engine/picker.h"\n', "fs must not"),
    ("layers", "fs/bad.c", '#include "tracker/tracker.h"\n', "fs must not"),
    ("layers", "fs/session.c", '#include "engine/picker.h"\n', "fs must not"),
    ("layers", "engine/bad.c", '#include "tests/x.h"\n', "engine must not"),
    ("layers", "engine/bad.c", "#include <fuse3/fuse.h>\n", "belongs to fs/"),
    ("layers", "tools/bad.c", "#include <fuse.h>\n", "belongs to fs/"),
    ("layers", "tracker/bad.c", "#include <curl/curl.h>\n", "belongs to"),
    ("layers", "engine/store.c", "#include <sqlite3.h>\n", "belongs to"),
    ("layers", "engine/state.c", "#include <sqlite3.h>\n", None),
    ("layers", "engine/bad.c", '#include "picker.h"\n', "engine must not"),
    ("layers", "tests/bad.c", '#include "engine/none.h"\n', "no file of ours"),
    ("layers", "tests/fine.c", '#include "fs/tree.h"\n', None),
    ("weirctl", "fs/session.c", "#include <fuse.h>\n", "in weirctl"),
    ("weirctl", "fs/session.h", "#pragma once\n#include <fuse.h>\n",
     "through"),
    ("weirctl", "tools/weirctl.c", "#include <fuse_lowlevel.h>\n",
     "in weirctl"),
    ("weirctl", "fs/tree.c", '#include "fs/tree.h"\n#include <fuse.h>\n',
     None),
    ("banned", "engine/bad.c", "int f(void)\n{\n\treturn atoi(s);\n}\n",
     "bad.c:3: atoi"),
    ("banned", "tests/bad.c", "strcpy (a, b);\n", "strcpy"),
    ("banned", "tools/bad.c", "x = rand();\n", "rand"),
    ("banned", "fs/bad.c", "signal(SIGTERM, f);\n", "signal"),
    ("banned", "engine/fine.c", "/* strcpy(a, b) */ // gets(x)\n"
     'char *s = "atoi(\\"1\\") strcat(a)";\nsnprintf(a, 1, b); a.signal(1);\n'
     "sem->signal(1); strtok_r(a, b, c); my_rand(); rand_r(&x);\n", None),
    ("banned", "engine/bad.c", "x = htons(80);\n", "htons"),
    ("banned", "engine/base/addr.c", "x = htons(80);\n", None),
    ("banned", "engine/bad.c", "exit(1);\n", "a library returns"),
    ("banned", "tracker/main.c", "exit(1);\n", None),
    ("banned", "tests/engine/bad.c", "usleep(1);\n", "virtual time"),
    ("banned", "tests/e2e/fine.c", "usleep(1);\n", None),
    ("length", "engine/bad.c", "\n" * 701, "701 lines"),
    ("length", "tools/bad", "#!/bin/sh\n" + "\n" * 700, "701 lines"),
    ("length", "engine/fine.c", "\n" * 700, None),
    ("words", "engine/bad.c", "/* TO" "DO: more */\n", "NEEDSWORK"),
    ("words", "tools/bad.sh", "# FIX" "ME\n", "NEEDSWORK"),
    ("words", "tools/fine.sh", "mktemp /tmp/a.XXXXXX\n", None),
    ("words", "README.md", "see /wor" "k/x\n", "machine"),
    ("words", "README.md", "see /tmp/w" "t/x\n", "machine"),
    ("words", "README.md", "see /home/ann/work/films\n", None),
    ("headers", "engine/bad.h", "int x;\n", "#pragma once"),
    ("headers", "engine/picker.c",
     '#include <stdio.h>\n#include "engine/picker.h"\n', "comes first"),
    ("headers", "engine/picker.c", '#include "engine/picker_private.h"\n',
     None),
    ("options", "tracker/server/options.c", "int x;\n", "no options"),
    ("options", "tracker/server/options.c",
     '{ TEXT, "state", AT(state), 0, 0, "FILE",\n', None),
    ("options", "tracker/server/options.c",
     '{ TEXT, "state", AT(state), 0, 0, "FILE",\n{ FLAG, "x", AT(x), 0, 0, ""',
     "--x is not in tracker/weir-tracker.8.scd"),
    ("options", "tracker/server/options.c",
     '{ TEXT, "state", AT(state), 0, 0, "FILE",\n'
     '{ TEXT, "dfile", AT(state) },\n', "--dfile is not in"),
    ("options", "tools/completions/weir-tracker.bash", "--states)",
     "--state FILE is not in"),
    ("options", "tracker/weir-tracker.8.scd", "*--state*\n\n*--old* _FILE_\n",
     "--old is not in tracker/server/options.c"),
    ("goals", "tests/base/test_x.c", "int x;\n", "Goal"),
    ("goals", "tests/fuzz/fuzz_x.c", "\n/* Goal: y. */\n", "Goal"),
    ("goals", "tests/fuzz/replay.c", "int x;\n", None),
    ("tree", "docs/x.md", "x\n", "no place"),
    ("tree", "Makefile", "x\n", "no place"),
    ("tree", ".gitlab/x", "x\n", None),
    ("tree", "dht/README.md", "x\n" * 61, "61 lines"),
    ("tree", ".github/STYLE.md", None, "missing"),
    ("format", "engine/bad.c", "int  x ;\n", "bad.c:1:"),
]


def plant(top, files):
    for name, text in files.items():
        path = os.path.join(top, name)
        if text is None:
            os.unlink(path)
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)


def run_case(rule, files, want):
    """None if all is well, else what is not."""
    with tempfile.TemporaryDirectory() as top:
        plant(top, GOOD)
        plant(top, files)
        found = lint.check(rule, top)
    if want is None:
        return "\n".join(found) or None
    if len(found) != 1 or want not in found[0]:
        return f"wanted {want!r}, got {found}"
    return None


def archive(top, name, source):
    c, o, a = (os.path.join(top, name + end) for end in (".c", ".o", ".a"))
    with open(c, "w", encoding="utf-8") as f:
        f.write(source)
    subprocess.run(["cc", "-c", c, "-o", o], check=True)
    subprocess.run(["ar", "rcsT", a, o], check=True)
    return a


def run_links():
    """The ground floor calls upstairs through a prototype of its own."""
    with tempfile.TemporaryDirectory() as top:
        base = archive(top, "base", "int up(void); int down(void)"
                                    "{ return up(); }\n")
        engine = archive(top, "engine", "int down(void); int up(void)"
                                        "{ return down(); }\n")
        found = list(links.check([("base", [""], base),
                                  ("engine", ["base"], engine)]))
    if len(found) != 1 or "base calls up of engine" not in found[0]:
        return f"got {found}"
    return None


def main():
    tests = [(f"{rule}: a good tree is clean", rule, {}, None)
             for rule in lint.RULES]
    tests += [(f"{rule}: {name} {'refused' if want else 'accepted'}", rule,
               {name: text}, want) for rule, name, text, want in CASES]
    print(f"1..{len(tests) + 1}")
    status = 0
    for n, (what, rule, files, want) in enumerate(tests, 1):
        try:
            wrong = run_case(rule, files, want)
        except lint.Skip as e:
            print(f"ok {n} - {what} # SKIP {e}")
            continue
        print(f"{'not ' if wrong else ''}ok {n} - {what}")
        if wrong:
            status = 1
            print("# " + wrong.replace("\n", "\n# "))
    wrong = run_links() if shutil.which("cc") else None
    print(f"{'not ' if wrong else ''}ok {len(tests) + 1} - links: base calling "
          "engine refused")
    if wrong:
        print("# " + wrong)
    return 1 if wrong else status


if __name__ == "__main__":
    sys.exit(main())
