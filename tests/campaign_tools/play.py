"""One run: the project is laid out, regatta runs and is perhaps interrupted, and what there is then is read."""

import io
import marshal
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import runner

HERE = os.path.dirname(os.path.abspath(__file__))
CALLOUTS = os.path.join(os.path.dirname(os.path.dirname(HERE)), "callouts")

# How long a run may take.
TIMEOUT = 90

# Writes down what is handed out, before anything can go wrong.
HAND = """#!/bin/sh
file=${2#--}
[ -z "$file" ] || printf '%%s\\t%%s\\t%%s\\n' "$1" "${file##*/}" "$(paste -s "$file")" >>"$REGATTA_CAMPAIGN/batches"
exec %s/chaos execute "$@"
"""


class Seen:
    """Everything that is known of a run when it is over."""

    def __init__(self):
        self.events = []    # what was done with it
        self.notes = {}     # files of it, by name
        self.complaints = []


class Play:
    def __init__(self, plan, regatta, home):
        self.plan, self.regatta, self.home = plan, regatta, home
        self.project = os.path.join(home, "project")
        self.repository = os.path.join(self.project, ".testrepository")
        self.root = os.path.join(home, "root")
        self.seen = Seen()

    def path(self, name):
        return os.path.join(self.home, name)

    def lay_out(self):
        for name in ("project", "home", "tmp", "chaos"):
            os.makedirs(self.path(name))
        # Paths that need no quoting and name no machine's directories.
        for name, target in (("chaos", "chaos"), ("local", "local")):
            os.symlink(os.path.join(CALLOUTS, target), self.path("project/" + name))
        shutil.copy(os.path.join(HERE, "runner.py"), self.path("project/runner.py"))
        self.write("project/hand", (HAND % self.project).encode())
        os.chmod(self.path("project/hand"), 0o755)
        self.write("plan", marshal.dumps(self.plan.for_runner()))
        python = os.path.realpath(sys.executable)
        self.write("project/.testr.conf", self.plan.conf(python, self.project).encode())

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)

    def environment(self):
        plan = self.plan
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC",
            "HOME": self.path("home"), "TMPDIR": self.path("tmp"), "REGATTA_CAMPAIGN": self.home,
            "REGATTA_LOCAL_ROOT": self.root, "REGATTA_LOCAL_GRACE": "1" if plan.slow_kill else "0",
            "REGATTA_CHAOS_DIR": self.path("chaos"), "REGATTA_CHAOS_SEED": str(plan.seed % 1_000_000_000),
            "REGATTA_CHAOS_RATE": str(plan.rate), "REGATTA_CHAOS_LIMIT": str(plan.limit),
            "REGATTA_CHAOS_FAULTS": " ".join(plan.faults), "REGATTA_CHAOS_VERBS": " ".join(plan.verbs),
            "REGATTA_CHAOS_PAUSE": str(plan.pause),
        }

    def call(self, *words, stdin=b""):
        """Run regatta to its end, without a signal."""
        env = self.environment()
        done = subprocess.run([self.regatta, *words], cwd=self.project, env=env, input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=TIMEOUT)
        return done

    def run(self):
        self.lay_out()
        self.remember()
        seen = self.seen
        seen.first = self.runs()
        seen.began = time.time()
        seen.exit, seen.signalled = self.main_run()
        seen.took = time.time() - seen.began
        seen.stdout, seen.stderr = (self.read(name) for name in ("stdout", "stderr"))
        seen.left = self.left_behind(wait=self.plan.pause + 2 if "stay-open" in self.read("chaos/log").decode() else 1)
        seen.failing_then = self.failing()
        seen.new = [n for n in self.runs() if n not in seen.first]
        self.read_logs()
        seen.recovery, seen.recovered = None, []
        if seen.exit == -signal.SIGKILL or seen.left:
            self.recover()
        seen.journal = self.journal()
        seen.stored = {n: self.stored(n) for n in self.runs() if n not in seen.first}
        seen.records = {n: self.read("project/.testrepository/regatta/%d.jsonl" % n) for n in seen.stored}
        seen.failing = self.failing()
        seen.temporary = os.listdir(self.path("tmp")) if seen.exit != -signal.SIGKILL else []
        return seen

    def read_logs(self):
        """As they are when regatta ended: what goes on after it is another matter."""
        for name in ("batches", "runner.log", "chaos/log", "chaos/calls"):
            setattr(self.seen, re.sub(r"\W", "_", name), self.read(name).decode("utf8", "replace"))
        streams = self.path("streams")
        names = os.listdir(streams) if os.path.isdir(streams) else []
        self.seen.streams = {name: self.read("streams/" + name) for name in names}

    def read(self, name):
        try:
            with open(self.path(name), "rb") as f:
                return f.read()
        except FileNotFoundError:
            return b""

    def runs(self):
        names = os.listdir(self.repository) if os.path.isdir(self.repository) else []
        return sorted(int(name) for name in names if name.isdigit())

    def failing(self):
        return self.read("project/.testrepository/failing")

    def journal(self):
        path = os.path.join(self.repository, "regatta", "journal")
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def remember(self):
        """A run before, in which some failed."""
        stream = b"".join(runner.packet(test, "inprogress") + runner.packet(test, "fail") for test in self.plan.before)
        done = self.call("load", "--force-init", stdin=stream)
        if done.returncode != (1 if self.plan.before else 0):
            self.seen.complaints.append("load ended with %d: %s" % (done.returncode, done.stderr.decode()))

    # --- the run

    def main_run(self):
        with open(self.path("stdout"), "wb") as out, open(self.path("stderr"), "wb") as err:
            process = subprocess.Popen([self.regatta, *self.plan.arguments()], cwd=self.project, env=self.environment(),
                                       stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        until = time.monotonic() + TIMEOUT
        waiting = list(self.plan.signals)
        sent = []
        at = time.monotonic() + self.plan.moment[1] if self.plan.moment[0] is None else None
        while process.poll() is None:
            now = time.monotonic()
            if waiting and (now >= at if at is not None else self.has_lines(*self.plan.moment)):
                name = waiting.pop(0)
                process.send_signal(getattr(signal, "SIG" + name))
                sent.append(name)
                at = now + self.plan.between
            if now > until:
                self.seen.complaints.append("it had not ended after %d s" % TIMEOUT)
                process.kill()
                process.wait()
                break
            time.sleep(0.002)
        return process.returncode, sent

    def has_lines(self, name, count):
        return self.read(name).count(b"\n") >= count

    def recover(self):
        """A run without chaos, of nothing, in which what is left has to go."""
        self.write("chaos/off", b"")
        self.write("project/nothing", b"")
        seen, before = self.seen, self.runs()
        words = ("run", "--parallel", "--partial", "--load-list", "nothing")
        if self.plan.kill_recovery is not None:
            null = subprocess.DEVNULL
            process = subprocess.Popen([self.regatta, *words], cwd=self.project, env=self.environment(), stdin=null, stdout=null,
                                       stderr=null, start_new_session=True)
            try:
                process.wait(self.plan.kill_recovery)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                # A callout that it was about to start holds its locks for as long as it takes to become one.
                time.sleep(0.05)
        done = self.call(*words)
        seen.recovery = (done.returncode, done.stdout.decode("utf8", "replace"), done.stderr.decode("utf8", "replace"))
        # The runs of nothing have no outcome.
        seen.recovered = [n for n in self.runs() if n not in before and b"\ntest: " in b"\n" + self.stored(n)]
        seen.left_after = self.left_behind(wait=1)

    def stored(self, number):
        return self.read("project/.testrepository/%d" % number)

    # --- what is left

    def left_behind(self, wait):
        """What should not be there, once it had time to end."""
        until = time.monotonic() + wait
        while True:
            found = self.left_now()
            if not any(line.startswith("process") for line in found) or time.monotonic() > until:
                return found
            time.sleep(0.01)

    def left_now(self):
        found = []
        names = sorted(os.listdir(self.root)) if os.path.isdir(self.root) else []
        found += ["instance " + name for name in names if not name.startswith(".")]
        ports = os.path.join(self.root, ".ports")
        if os.path.isdir(ports):
            found += ["port lock " + name for name in sorted(os.listdir(ports)) if name.isdigit()]
        found += ["journal " + name for name in self.journal()]
        found += ["process %d: %s" % pair for pair in self.processes()]
        return found

    def processes(self):
        """Those that come from this run, by the mark in their environment."""
        mark = b"REGATTA_CAMPAIGN=" + self.home.encode() + b"\0"
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                with open("/proc/%s/environ" % name, "rb") as f:
                    if mark not in f.read() + b"\0":
                        continue
                with open("/proc/%s/cmdline" % name, "rb") as f:
                    found.append((int(name), f.read().replace(b"\0", b" ").decode("utf8", "replace").strip()))
            except OSError:
                continue
        return found

    def end_processes(self):
        for pid, _ in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass


def testr(directory, *words):
    """Real testr, in this process: exit status and stdout."""
    from testrepository.commands import run_argv
    out, err = io.BytesIO(), io.BytesIO()
    wrapped = io.TextIOWrapper(out, "utf8", "replace", write_through=True)
    status = run_argv(["testr", words[0], "-d", directory, *words[1:]], io.TextIOWrapper(io.BytesIO()), wrapped,
                      io.TextIOWrapper(err, "utf8", "replace", write_through=True))
    wrapped.flush()
    return status, out.getvalue(), err.getvalue()


def temporary():
    # A short name: sockets and command lines have limits.
    return tempfile.mkdtemp(prefix="campaign.")
