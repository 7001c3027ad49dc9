"""A case: one project and one history, a pure function of seed and number, played to both tools."""

import copy
import difflib
import json
import os
import random
import shutil
import tempfile
import traceback

from . import account, histories, rules
from .canon import Canon
from .projects import Project
from .sides import ForkedScript, Program, Side

CROSS = [["last"], ["failing", "--list"], ["slowest", "--all"]]


class Tools:
    """The two tools, and where the fake suite is."""

    def __init__(self, testr, regatta, bindir, fresh=False):
        self.testr = (Program if fresh else ForkedScript)(testr)
        self.regatta, self.bindir = Program(regatta), bindir


def generate(seed, number):
    """The project and the steps of a case."""
    project = Project(random.Random("regatta %d %d" % (seed, number)))
    steps = histories.history(project)
    # Of its own, so that it changes nothing else of a case.
    chance = random.Random("schedule %d %d" % (seed, number))
    for step in steps:
        if step.command == "run" and not step.has("--until-failure", "--analyze-isolation") and chance.random() < 0.4:
            step.extra, step.dynamic = [], True
    project.cross = project.rng.random() < 0.5
    for step in steps:
        step.present = project.stamps != "all" or any(t["present"] for t in project.suite["tests"].values()) or \
            "load of text" in project.features
    return project, steps


def pretty(value):
    if isinstance(value, list) and value and all(isinstance(b, list) and len(b) == 2 and isinstance(b[1], str) for b in value):
        return [line for _, text in value for line in text.split("\n")]
    return json.dumps(value, indent=1, ensure_ascii=False, default=repr).split("\n")


def differences(want, got):
    """Lines that say what differs, aspect by aspect; none when nothing does."""
    lines = []
    for aspect in want.keys() | got.keys():
        a, b = want.get(aspect), got.get(aspect)
        if a != b:
            lines.append("%s:" % aspect)
            lines += list(difflib.unified_diff(pretty(a), pretty(b), "testr", "regatta", lineterm="", n=2))
    return lines


def show(who, seen):
    """What one tool did, for reading."""
    lines = ["  %s: %s -> %s" % (who, " ".join(seen["args"]), seen["exit"])]
    lines += ["    out| " + line for line in seen["out"].decode("utf8", "backslashreplace").split("\n")[:80]]
    lines += ["    err| " + line for line in seen["err"].split("\n")[-15:] if line]
    lines += ["    log| %s" % json.dumps(r, ensure_ascii=False) for r in seen["log"]]
    return lines


def play(seed, number, tools, keep=None, verbose=False):
    """Play a case. Gives (features, names of rules used, lines of differences)."""
    project, steps = generate(seed, number)
    if keep:
        root = os.path.join(keep, "%d-%d" % (seed, number))
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root)
    else:
        root = tempfile.mkdtemp(prefix="differential.")
    used, lines = [], []
    if verbose:
        lines += ["  | " + line for line in project.testr_conf.split("\n")]
    bad = False
    try:
        sides = [Side(tool, os.path.join(root, name), tools.bindir, project)
                 for name, tool in (("testr", tools.testr), ("regatta", tools.regatta))]
        canon = Canon(project)
        for n, step in enumerate(steps):
            bad, end = command(n, step, sides, canon, project, used, lines, verbose)
            if bad or end:
                break
        if project.cross and not bad and not end:
            project.features.add("cross-use")
            bad = cross(len(steps), root, tools, sides, canon, project, used, lines, verbose)
    except Exception:
        bad = True
        lines += ["the harness failed:"] + traceback.format_exc().split("\n")
    finally:
        if not keep:
            shutil.rmtree(root, ignore_errors=True)
    features = sorted(project.features) + sorted("(blurred: %s)" % r for r in canon.reasons)
    return bad, features, used, lines if bad or verbose else []


def command(n, step, sides, canon, project, used, lines, verbose):
    """Give one command to both. Whether it differs, and whether the history ends there."""
    theirs = sides[0].observe(n, step.args, step.stdin, step.files)
    where = step.args.index("--") if "--" in step.args else len(step.args)
    ours = sides[1].observe(n, step.args[:where] + step.extra + step.args[where:], step.stdin, step.files)
    is_dynamic = step.dynamic and account.is_accounted(step, ours)
    chance = canon.learn(step, [ours, ours] if is_dynamic else [theirs, ours])
    if is_dynamic or chance:
        faults = account.judge(canon, project, step, theirs, ours) if ours["exit"] in (0, 1) and theirs["exit"] in (0, 1) else None
        if faults is None:
            canon.reasons.add("ended: " + (chance or "regatta's own schedule"))
            return False, True
        if is_dynamic:
            project.features.add("--schedule dynamic")
        return go_on(n, step, sides, canon, project, theirs, ours, faults, lines, verbose), False
    want, got = canon.aspects(step, theirs), canon.aspects(step, ours)
    said, end = rules.apply(canon, step, theirs, ours, want, got)
    used += said
    if end == "adopt":
        return go_on(n, step, sides, canon, project, theirs, ours, [], lines, verbose), False
    wrong = [] if end else differences(want, got)
    if wrong and account.has_losses(project, step, ours):
        wrong = account.judge(canon, project, step, theirs, ours) or wrong
    if wrong or verbose:
        lines += show("testr", theirs) + show("regatta", ours)
    if wrong:
        lines.append("command %d, %s: differs" % (n, " ".join(step.args)))
        lines += ["  " + line for line in wrong]
    return bool(wrong), end


def go_on(n, step, sides, canon, project, theirs, ours, faults, lines, verbose):
    """testr goes on with what regatta stored, if that is right and testr says of it what regatta said. Whether it is not."""
    if not faults:
        sides[0].adopt(sides[1])
        canon.known = {name for name in ours["files"] if name.isdigit()}
        last = histories.Step(["last"] + (["-d", "proj"] if project.here else []))
        faults = account.told(canon, project, step, ours, last, sides[0].observe(n, last.args, b"", {}))
    if faults or verbose:
        lines += show("testr", theirs) + show("regatta", ours)
    if faults:
        lines.append("command %d, %s: wrong" % (n, " ".join(step.args)))
        lines += ["  " + fault for fault in faults]
    return bool(faults)


def cross(n, root, tools, sides, canon, project, used, lines, verbose):
    """Each tool on the other's repository says what testr says on its own."""
    for args in CROSS:
        step = histories.Step(args + (["-d", "proj"] if project.here else []))
        step.present = False
        seen = {}
        for name, side, tool in (("testr on its own", 0, tools.testr), ("testr on regatta's", 1, tools.testr), ("regatta on testr's", 0, tools.regatta)):
            other = copy.copy(sides[side])
            other.program = tool
            seen[name] = other.observe(n, step.args, b"", {})
        own = seen.pop("testr on its own")
        for name, one in seen.items():
            canon.unordered = False
            want, got = canon.aspects(step, own), canon.aspects(step, one)
            used += rules.apply(canon, step, own, one, want, got)[0]
            wrong = differences({k: want[k] for k in ("exit", "stdout")}, {k: got[k] for k in ("exit", "stdout")})
            if wrong:
                lines += show("testr on its own", own) + show(name, one)
                lines += ["cross-use, %s, %s: differs" % (name, " ".join(args))] + ["  " + line for line in wrong]
                return True
    return False
