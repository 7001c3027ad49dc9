"""One tool at work on one copy of a project: run a command, and note everything that it did."""

import io
import json
import os
import re
import runpy
import signal
import sys
import tempfile
import time
import traceback

TIMEOUT = 60


def install(bindir):
    """Put `suite` and `callout` on a directory for PATH."""
    with open(os.path.join(os.path.dirname(__file__), "fake.py"), encoding="utf8") as f:
        text = "#!%s -IS\n%s" % (os.path.realpath(sys.executable), f.read())
    for name in ("suite", "callout"):
        path = os.path.join(bindir, name)
        with open(path, "w", encoding="utf8") as f:
            f.write(text)
        os.chmod(path, 0o755)


class Program:
    """A program that is started anew for each command."""

    def __init__(self, path):
        self.path = path

    def start(self, args, cwd, env, files):
        pid = os.fork()
        if pid:
            return pid
        try:
            enter(cwd, files)
            os.execve(self.path, [self.path] + args, env)
        finally:
            os._exit(71)


def enter(cwd, files):
    """In a new process: a session of its own, these files as 0, 1 and 2, and this directory."""
    os.setsid()
    for n, file in enumerate(files):
        os.dup2(file.fileno(), n)
    os.chdir(cwd)


class ForkedScript:
    """Real testr, its own script and modules; Python and they are loaded once, and each command is a fork of that."""

    def __init__(self, path):
        self.path = path
        import testrepository.commands as commands
        list(commands.iter_commands())

    def start(self, args, cwd, env, files):
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            enter(cwd, files)
            os.environ.clear()
            os.environ.update(env)
            tempfile.tempdir = None
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for n, (name, mode, errors) in enumerate([("stdin", "r", "surrogateescape"), ("stdout", "w", "surrogateescape"),
                                                      ("stderr", "w", "backslashreplace")]):
                raw = io.open(n, mode + "b", closefd=False)
                setattr(sys, name, io.TextIOWrapper(raw, "utf8", errors, line_buffering=name == "stderr"))
            sys.argv = [self.path] + args
            try:
                runpy.run_path(self.path, run_name="__main__")
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            except BaseException:
                traceback.print_exc()
                code = 1
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code & 0xFF)


class Side:
    """One tool in one tree."""

    def __init__(self, program, root, bindir, project):
        self.program, self.root = program, os.path.realpath(root)
        self.proj = os.path.join(self.root, "proj") if project.here else self.root
        self.tmp, self.log = os.path.join(self.root, "tmp"), os.path.join(self.root, "log")
        self.base = os.path.join(self.proj, ".testrepository")
        for path in (self.proj, self.tmp):
            os.makedirs(path, exist_ok=True)
        self.write(os.path.join(self.proj, ".testr.conf"), project.testr_conf.encode())
        self.write(os.path.join(self.root, "plan.json"), json.dumps(project.suite).encode())
        self.env = dict(PATH=bindir + ":/usr/local/bin:/usr/bin:/bin", HOME=self.root, TMPDIR=self.tmp, LANG="C.UTF-8",
                        LC_ALL="C.UTF-8", DIFF_LOG=self.log, DIFF_PLAN=os.path.join(self.root, "plan.json"), PYTHONWARNINGS="ignore")

    def write(self, path, content):
        with open(path, "wb") as f:
            f.write(content)

    def observe(self, n, args, stdin, files):
        """Run one command. What came of it, as bytes and plain data."""
        for name, content in files.items():
            self.write(os.path.join(self.root, name), content)
        self.write(os.path.join(self.root, "in"), stdin)
        was = self.repository()
        mark = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        paths = [os.path.join(self.root, name) for name in ("in", "out", "err")]
        with open(paths[0], "rb") as i, open(paths[1], "wb") as o, open(paths[2], "wb") as e:
            pid = self.program.start(args, self.root, dict(self.env, DIFF_STEP=str(n)), (i, o, e))
            code = self.wait(pid)
        seen = dict(exit=code, out=self.read(paths[1]), err=self.read(paths[2]).decode("utf8", "backslashreplace"), args=args,
                    root=self.root, tmp=sorted(os.listdir(self.tmp)), log=[], was=was)
        if os.path.exists(self.log):
            with open(self.log, "rb") as f:
                f.seek(mark)
                seen["log"] = [json.loads(line) for line in f]
        seen.update(self.repository())
        return seen

    def wait(self, pid):
        end = time.monotonic() + TIMEOUT
        pause = 0.0005
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return "no end within %d s" % TIMEOUT

    def adopt(self, other):
        """Go on with the other tool's repository, without what is its own."""
        for name in os.listdir(self.base) if os.path.isdir(self.base) else []:
            if name != "regatta":
                os.unlink(os.path.join(self.base, name))
        os.makedirs(self.base, exist_ok=True)
        for name in os.listdir(other.base):
            if name != "regatta":
                self.write(os.path.join(self.base, name), self.read(os.path.join(other.base, name)))

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()

    def repository(self):
        """The stored files, as they are."""
        files, stray, times = {}, [], {}
        names = sorted(os.listdir(self.base)) if os.path.isdir(self.base) else []
        for name in names:
            if re.fullmatch(r"\d+|failing|format|next-stream", name):
                files[name] = self.read(os.path.join(self.base, name))
            elif not re.fullmatch(r"times\.dbm(\.(dat|dir|bak))?|regatta", name):
                stray.append(name)
        own = os.path.join(self.base, "regatta")
        if os.path.isdir(own):
            stray += ["regatta/" + name for name in os.listdir(own) if name.endswith(".v1")]
        if any(name.startswith("times.dbm") for name in names):
            import dbm
            with dbm.open(os.path.join(self.base, "times.dbm"), "r") as db:
                times = {key.decode("utf8", "backslashreplace"): db[key].decode() for key in db.keys()}
        return dict(files=files, stray=stray, times=times)
