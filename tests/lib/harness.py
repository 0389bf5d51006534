"""Cases, their private world, and what must be true after each of them.

A test script registers cases and calls main(). The whole script runs in
namespaces of its own (processes, mounts, network): it sees only loopback, and
when it ends, however it ends, its processes and mounts are gone. Each case
gets a Box: a folder, processes, mounts; all ended before the next case starts.
Results are printed as TAP. Arguments of the script select cases by substring.
"""
import ctypes
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

LONG = os.environ.get("WEIRFS_TEST_LONG") == "1"
LIB = os.path.dirname(os.path.abspath(__file__))
INSIDE = "WEIRFS_TEST_INSIDE"
HOSTS = [f"10.9.0.{n}" for n in range(1, 4)]
HOSTS6 = [f"fd09::{n}" for n in range(1, 3)]
# Programs run slower under sanitizers and valgrind: limits are stretched.
SLOW = float(os.environ.get("WEIRFS_TEST_SLOW", "1"))
SICK = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
        "WARNING: ThreadSanitizer", "DEADLYSIGNAL")
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_cases = []


class Skip(Exception):
    """The case cannot run here; the text says why."""


class Failed(AssertionError):
    pass


def check(truth, why):
    if not truth:
        raise Failed(why)


def same(got, want, what):
    if got != want:
        raise Failed(f"{what}: got {got!r:.300}, want {want!r:.300}")


def until(condition, seconds, what):
    """Polls CONDITION until it is true; returns what it returned."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds * SLOW:g} s: {what}")
        time.sleep(0.02)


def need(program):
    path = shutil.which(program)
    if not path:
        raise Skip(f"{program} is not installed")
    return path


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def isolate():
    """Runs this script again inside fresh namespaces; returns only there."""
    if os.environ.get(INSIDE) == str(os.getpid()) and os.getpid() == 1:
        # Named namespaces, sockets and locks of the system stay out of it.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        # Addresses that are not 127/8: clients refuse peers from there.
        for argv in (["link", "set", "lo", "up"],
                     *(["addr", "add", a + "/24", "dev", "lo"] for a in HOSTS),
                     *(["-6", "addr", "add", a + "/64", "dev", "lo", "nodad"]
                       for a in HOSTS6)):
            subprocess.run(["ip", *argv], check=True)
        return
    flags = ["--mount", "--pid", "--net", "--fork", "--mount-proc",
             "--kill-child=SIGKILL"]
    if os.getuid():
        flags += ["--user", "--map-root-user"]
    probe = subprocess.run(["unshare", *flags, "true"], capture_output=True,
                           text=True)
    if probe.returncode:
        print(f"1..0 # SKIP no namespaces here: {probe.stderr.strip()}")
        sys.exit(0)
    os.environ[INSIDE] = "1"  # the child is process 1 of its namespace
    os.execvp("unshare", ["unshare", *flags, sys.executable,
                          os.path.abspath(sys.argv[0]), *sys.argv[1:]])


class Proc:
    """A child process that dies with the test. Output goes to a file."""

    def __init__(self, name, argv, log, **kw):
        self.name, self.argv, self.log_path = name, [str(a) for a in argv], log
        if kw.get("stdout") is None:
            self.out = open(log, "ab")
            kw["stdout"] = self.out
        else:
            self.out = None
        kw.setdefault("stderr", open(log, "ab") if self.out is None
                      else subprocess.STDOUT)
        kw.setdefault("stdin", subprocess.DEVNULL)
        self.p = subprocess.Popen(self.argv, preexec_fn=die_with_parent, **kw)
        self.pid = self.p.pid
        self.began = time.monotonic()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def alive(self):
        return self.p.poll() is None

    def signal(self, sig):
        if self.alive():
            self.p.send_signal(sig)

    def wait(self, seconds, what="its end"):
        """Exit status (negative: the signal), or a failed case."""
        try:
            return self.p.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs after {seconds * SLOW:g} s "
                         f"({what}), state {self.state()}") from None

    def state(self):
        """The letter of /proc/PID/stat: S asleep, D uninterruptible, ..."""
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8") as f:
                return f.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            return "gone"

    def end(self):
        """By whatever means."""
        if self.alive():
            self.p.terminate()
            try:
                self.p.wait(3)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait(10)
        if self.p.stdout:
            self.p.stdout.close()
        if self.p.stdin:
            self.p.stdin.close()


class Box:
    """All that one case owns."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="weirfs-test.")
        os.chmod(self.dir, 0o755)  # some daemons drop to another user
        self.procs, self.closers, self.expired = [], [], False
        self.count = 0

    def path(self, name):
        return os.path.join(self.dir, name)

    def mkdir(self, name):
        try:
            os.makedirs(self.path(name))
        except FileExistsError:
            pass  # perhaps a mount that answers no more
        return self.path(name)

    def write(self, name, data):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb" if isinstance(data, bytes) else "w") as f:
            f.write(data)
        return path

    def env(self, more=None):
        env = {**os.environ, "HOME": self.mkdir("home"), **(more or {})}
        for key in [k for k in env if k.startswith("XDG_")]:
            del env[key]
        # A daemon has no stderr: findings go to a file each.
        for tool in ("ASAN", "UBSAN", "TSAN"):
            had = env.get(tool + "_OPTIONS", "")
            env[tool + "_OPTIONS"] = \
                f"{had}{':' if had else ''}log_path={self.path('sanitizer')}"
        return env

    def spawn(self, argv, name=None, env=None, **kw):
        self.count += 1
        name = name or os.path.basename(str(argv[0]))
        p = Proc(name, argv, self.path(f"{self.count:02}-{name}.log"),
                 env=self.env(env), **kw)
        self.procs.append(p)
        return p

    def run(self, argv, seconds=60, status=0, env=None, **kw):
        """Runs to its end. STATUS: what it must exit with; None: any."""
        p = self.spawn(argv, env=env, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, **kw)
        try:
            out, err = p.p.communicate(timeout=seconds * SLOW)
        except subprocess.TimeoutExpired:
            p.p.kill()
            raise Failed(f"still runs after {seconds * SLOW:g} s: "
                         f"{' '.join(p.argv)}") from None
        finally:
            self.procs.remove(p)
        if err:
            with open(p.log_path, "a", encoding="utf-8") as f:
                f.write(err)
        if status is not None and p.p.returncode != status:
            raise Failed(f"exit status {p.p.returncode}, not {status}: "
                         f"{' '.join(p.argv)}\n{out}{err}")
        return subprocess.CompletedProcess(p.argv, p.p.returncode, out, err)

    def quick(self, argv, seconds=1):
        """Must succeed within so many seconds (a mount that hangs does not)."""
        t = time.monotonic()
        self.run(argv, seconds=seconds)
        return time.monotonic() - t

    def at_end(self, fn, *args):
        self.closers.append((fn, args))

    def port(self):
        """A port that is free for TCP and UDP, v4 and v6."""
        for _ in range(50):
            with socket.socket(socket.AF_INET6) as t, \
                    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as u:
                t.bind(("::", 0))
                try:
                    u.bind(("::", t.getsockname()[1]))
                except OSError:
                    continue
                return t.getsockname()[1]
        raise Failed("no free port")

    def strangers(self):
        """Processes of this namespace that are not ours: daemons."""
        mine = {1, os.getpid()} | {p.pid for p in self.procs}
        return [int(d) for d in os.listdir("/proc")
                if d.isdigit() and int(d) not in mine]

    def kill_all(self):
        for p in self.procs:
            if p.alive():
                p.p.kill()
        for pid in self.strangers():
            _kill(pid)

    def expire(self):
        self.expired = True
        self.kill_all()  # also wakes whoever sleeps on a mount

    def mounts(self):
        with open("/proc/self/mounts", encoding="utf-8") as f:
            at = [line.split()[1] for line in f]
        return [m for m in at if m.startswith(self.dir + "/")]

    def close(self):
        """Ends everything; returns what went wrong while ending."""
        wrong = []
        for fn, args in reversed(self.closers):
            try:
                fn(*args)
            except (OSError, Failed, subprocess.SubprocessError) as e:
                wrong.append(f"while ending: {e}")
        for p in reversed(self.procs):
            p.end()
        if os.getpid() == 1:
            for pid in self.strangers():
                _kill(pid)
        for mnt in reversed(self.mounts()):
            subprocess.run(["umount", "-l", mnt], stderr=subprocess.DEVNULL)
        _reap()
        return "\n".join(wrong)

    def sick(self):
        """What a sanitizer found in any process of this case."""
        for name in sorted(os.listdir(self.dir)):
            path = self.path(name)
            if name.endswith(".log") or name.startswith("sanitizer."):
                with open(path, encoding="utf-8", errors="replace") as f:
                    text = f.read()
                if any(s in text for s in SICK):
                    return f"{name}:\n{text[:6000]}"
        return None

    def tell(self):
        """Ends of all logs, as TAP comments."""
        for name in sorted(os.listdir(self.dir)):
            if not name.endswith(".log"):
                continue
            with open(self.path(name), encoding="utf-8",
                      errors="replace") as f:
                lines = f.read().splitlines()[-25:]
            if lines:
                print(f"# --- {name}")
                for line in lines:
                    print("#    " + line[:300])

    def delete(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _reap():
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def case(goal, limit=60):
    """Registers a case; GOAL is a sentence, LIMIT in seconds."""
    def register(fn):
        _cases.append((goal, limit, fn))
        return fn
    return register


def _run(number, goal, limit, fn):
    box, began = Box(), time.monotonic()
    timer = threading.Timer(limit * SLOW, box.expire)
    timer.daemon = True
    timer.start()
    verdict, trace = "ok", None
    try:
        fn(box)
    except Skip as e:
        verdict = f"skip {e}"
    except Exception:  # whatever it is, the case failed
        verdict, trace = "not ok", traceback.format_exc()
    finally:
        timer.cancel()
        wrong = box.close()
    sick = box.sick()
    if sick or wrong or box.expired:
        verdict = "not ok"
    took = f"{time.monotonic() - began:.1f} s"
    if verdict.startswith("skip"):
        print(f"ok {number} - {goal} # SKIP {verdict[5:]}", flush=True)
    else:
        print(f"{verdict} {number} - {goal} ({took})", flush=True)
    if verdict == "not ok":
        if box.expired:
            print(f"# timed out after {limit * SLOW:g} s")
        for text in (trace, wrong, sick):
            for line in (text or "").splitlines():
                print("# " + line)
        box.tell()
    if verdict != "not ok" or not os.environ.get("WEIRFS_TEST_KEEP"):
        box.delete()
    else:
        print(f"# kept {box.dir}")
    sys.stdout.flush()
    return verdict != "not ok"


def main():
    isolate()
    chosen = [c for c in _cases
              if len(sys.argv) == 1 or any(a in c[0] for a in sys.argv[1:])]
    print(f"1..{len(chosen)}", flush=True)
    good = [_run(n, *c) for n, c in enumerate(chosen, 1)]
    sys.exit(0 if all(good) else 1)


def errno_name(number):
    return errno.errorcode.get(number, str(number))
