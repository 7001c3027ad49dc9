"""Shows that the comparison can fail: corrupt what testr did in one way after another, and see that it is noticed."""

import copy
import os
import random
import re
import tempfile

from . import account, rules
from .canon import Canon
from .cases import differences
from .histories import Step
from .packets import packet
from .projects import Project
from .sides import Side


def replaced(field, old, new):
    """Bytes of what is on stdout or in a file of the repository, once."""
    def change(seen):
        where, key = (seen["files"], field) if field in seen["files"] else (seen, field)
        was = where[key]
        where[key] = re.sub(old, new, was, count=1, flags=re.S)
        assert where[key] != was, "there is nothing to corrupt: %r in %s" % (old, field)
    return change


def in_log(kind, change):
    def found(seen):
        change(seen["log"], next(n for n, r in enumerate(seen["log"]) if r["k"] == kind and not r.get("listing") and "--list" not in r.get("command", ())))
    return found


def changed(key, value):
    return lambda log, n: log[n].__setitem__(key, value(log[n][key]))


def flipped_status(seen):
    """In a packet on stdout: success becomes fail, with a right checksum."""
    from .decode import packets
    event = next(e for e in packets(seen["out"])[0] if e["status"] == "success")
    seen["out"] += packet(event["id"], "fail", 1.0, event["tags"], None, False, event["route"])


def times(seen):
    id = sorted(i for i in seen["times"] if i != "process-returncode")[0]
    seen["times"][id] = "77.0"


RUN_TWO = ["run", "--parallel", "--concurrency", "2"]

# (the command, what is corrupted, how)
RUN, STREAM, SLOWEST, FAILING, LAST, SERIAL = range(1, 7)
KINDS = [
    (RUN, "exit status", lambda s: s.update(exit=0)),
    (RUN, "a count", replaced("out", rb"Ran (\d+) ", rb"Ran 9\1 ")),
    (RUN, "elapsed time", replaced("out", rb" in \d+\.", b" in 9999.")),
    (RUN, "verdict", replaced("out", b"FAILED", b"PASSED")),
    (RUN, "number of failures", replaced("out", rb"failures=\d+", b"failures=99")),
    (RUN, "a failure's id", replaced("out", b"FAIL: ", b"FAIL: x")),
    (RUN, "a failure's tags", replaced("out", b"tags: ", b"tags: x ")),
    (RUN, "a failure's details", replaced("out", rb"(tags: [^\n]*\n-+\n)", rb"\1x\n")),
    (RUN, "a failure is not shown", replaced("out", rb"={70}\nFAIL: .*?\n(?=={70}|Ran)", b"")),
    (RUN, "a running= line", replaced("out", b"running=", b"running= ")),
    (RUN, "a running= line is missing", replaced("out", rb"running=callout dispose[^\n]*\n", b"")),
    (RUN, "worker number on stdout", replaced("out", rb"(tags: [^\n]*)worker-1", rb"\1worker-0")),
    (RUN, "number of instances", in_log("provision", changed("args", lambda a: ["7"]))),
    (RUN, "dispose's ids", in_log("dispose", changed("args", lambda a: a[::-1]))),
    (RUN, "no dispose", in_log("dispose", lambda log, n: log.pop(n))),
    (RUN, "dispose twice", in_log("dispose", lambda log, n: log.append(log[n]))),
    (RUN, "an execute's command", in_log("execute", changed("command", lambda c: c + ["x"]))),
    (RUN, "an execute's instance", in_log("execute", changed("instance", lambda i: "another"))),
    (RUN, "order within a batch", in_log("suite", changed("ids", lambda i: i[::-1]))),
    (RUN, "a test too few in a batch", in_log("suite", changed("ids", lambda i: i[1:]))),
    (RUN, "a runner's stdin", in_log("suite", changed("stdin", lambda i: "more"))),
    (RUN, "a runner too many", in_log("suite", lambda log, n: log.append(log[n]))),
    (RUN, "a runner's directory", in_log("suite", changed("cwd", lambda i: i + "/x"))),
    (RUN, "a temporary file", lambda s: s["tmp"].append("tmpx")),
    (RUN, "a file in the repository", lambda s: s["stray"].append("tmpx")),
    (RUN, "a stored status", replaced("0", b"\nsuccessful: ", b"\nxfail: ")),
    (RUN, "a stored tag", replaced("0", rb"(tags: (?!-)[^\n]*)worker-0", rb"\1worker-1")),
    (RUN, "a stored time", replaced("0", b"time: 2017-07-14 02", b"time: 2017-07-14 01")),
    (RUN, "a stored attachment", replaced("0", b"Traceback", b"Tracebacc")),
    (RUN, "the type of a stored attachment", replaced("0", b"Content-Type: text/", b"Content-Type: texx/")),
    (RUN, "a stored id", replaced("0", rb"test: ([^\n]+)\n(.*?: )\1", rb"test: x\1\n\2x\1")),
    (RUN, "a stored test is missing", replaced("0", rb"test: .*?\n\]\n", b"")),
    (RUN, "failing", replaced("failing", b"\nfailure: ", b"\nsuccessful: ")),
    (RUN, "failing: details", replaced("failing", b"Traceback", b"Tracebacc")),
    (RUN, "next-stream", replaced("next-stream", b"1", b"2")),
    (RUN, "format", replaced("format", b"1", b"2")),
    (RUN, "a recorded time", times),
    (RUN, "a recorded time is missing", lambda s: s["times"].pop(sorted(s["times"])[0])),
    (STREAM, "a status in the stream", flipped_status),
    (STREAM, "text in the stream", lambda s: s.update(out=s["out"] + b"x")),
    (SLOWEST, "a row of slowest", replaced("out", rb"\d\.\d\d\d\n", b"9.999\n")),
    (SLOWEST, "the heading of slowest", replaced("out", b"Runtime", b"runtime")),
    (FAILING, "an id of failing --list", replaced("out", b"\n", b"x\n")),
    (LAST, "last's delta", replaced("out", rb"Ran (\d+)", rb"Ran \1 (+9)")),
    (SERIAL, "order of a stored run", lambda s: s["files"].update({"2": s["files"]["0"]})),
]


def report(id, change):
    """What is stored of a test in the newest run: bytes into bytes."""
    def found(seen):
        name = max((n for n in seen["files"] if n.isdigit()), key=int)
        was = seen["files"][name]
        pattern = rb"(?:(?:time|tags): [^\n]*\n)*test: %s\n.*?(?=(?:(?:time|tags): [^\n]*\n)*test: |\Z)" % re.escape(id.encode())
        seen["files"][name] = re.sub(pattern, lambda m: change(m[0]), was, count=1, flags=re.S)
        assert seen["files"][name] != was, "there is nothing to corrupt of %s" % id
    return found


def swapped(old, new):
    return lambda was: was.replace(old, new)


def recorded(id, time):
    def change(seen):
        assert seen["times"].pop(id) != time
        if time:
            seen["times"][id] = time
    return change


def runner(which, change, last=False):
    """The first or last of those that were given such tests."""
    def found(seen):
        given = [n for n, r in enumerate(seen["log"]) if r["k"] == "suite" and not r["listing"] and which(r["ids"])]
        change(seen["log"], given[-1 if last else 0])
    return found


def given(id):
    return lambda ids: id in ids


def alone(id):
    return lambda ids: ids == [id]


def parted(log, n):
    """One of a group goes to another runner."""
    other = next(r for r in log if r["k"] == "suite" and not r["listing"] and not {"m.t0", "m.t1", "m.t2"} & set(r["ids"]) and not r["died"])
    at = log[n]["ids"].index("m.t1")
    other["ids"].append(log[n]["ids"].pop(at))
    other["which"].append(log[n]["which"].pop(at))


# In a run where the runner of m.t4 dies, twice: what is corrupted of regatta's, and how.
LOSSES = [
    ("exit status of what regatta cannot do", lambda s: s.update(exit=3)),
    ("the crashed test passes", report("m.t4", swapped(b"failure: m.t4", b"successful: m.t4"))),
    ("the crashed test has no reason", report("m.t4", swapped(b"\nreason\n", b"\nrexson\n"))),
    ("the reason is another", report("m.t4", swapped(b"crashed: it was", b"crossed: it was"))),
    ("the reason names another end", report("m.t4", swapped(b": exit status 137", b": exit status 138"))),
    ("the crashed test is missing", report("m.t4", lambda was: b"")),
    ("what the last attempt wrote is missing", report("m.t4", swapped(b"log (attempt 2)", b"log"))),
    ("a test that went out again is missing", report("m.t6", lambda was: b"")),
    ("a test that went out again fails", report("m.t6", swapped(b"successful: m.t6", b"failure: m.t6"))),
    ("a test that went out again passes", report("m.t7", swapped(b"failure: m.t7", b"successful: m.t7"))),
    ("a test is stored twice", report("m.t6", lambda was: was + was)),
    ("a test that was done at once passes", report("m.t1", swapped(b"failure: m.t1", b"successful: m.t1"))),
    ("a detail of a test", report("m.t1", swapped(b"Traceback", b"Tracebacc"))),
    ("a test that nobody ran", report("m.t1", lambda was: was + was.replace(b"m.t1", b"m.t77"))),
    ("a worker's number", report("m.t8", lambda was: re.sub(rb"worker-\d", b"worker-0", was) if b"worker-0" not in was else was.replace(b"worker-0", b"worker-1"))),
    ("no process-returncode", report("process-returncode", lambda was: b"")),
    ("two of process-returncode", report("process-returncode", lambda was: was + was)),
    ("process-returncode of another end", report("process-returncode", swapped(b"returncode 137", b"returncode 138"))),
    ("failing lacks the crashed test", replaced("failing", rb"m\.t4", b"m.t44")),
    ("failing has a test that passed", replaced("failing", rb"m\.t1", b"m.t0")),
    ("a recorded time", recorded("m.t6", "77.0")),
    ("a recorded time is missing", recorded("m.t6", None)),
    ("a test did not go out again", runner(given("m.t6"), lambda log, n: [log[n]["which"].pop(log[n]["ids"].index("m.t6")), log[n]["ids"].remove("m.t6")],
                                              last=True)),
    ("the crashed test ran but once", runner(alone("m.t4"), lambda log, n: log.pop(n))),
    ("the crashed test ran three times", runner(alone("m.t4"), lambda log, n: log.insert(n, log[n]))),
    ("a test that had ended ran again", runner(given("m.t1"), lambda log, n: log.append(log[n]))),
    ("an instance is left", in_log("dispose", lambda log, n: log[n]["args"].pop())),
    ("an instance is disposed of twice", in_log("dispose", lambda log, n: log.append(log[n]))),
    ("a temporary file", lambda s: s["tmp"].append("tmpx")),
]
# Of stdout in that run.
SHOWN = [
    ("exit status", lambda s: s.update(exit=0)),
    ("a count", replaced("out", rb"Ran (\d+) ", rb"Ran 9\1 ")),
    ("verdict", replaced("out", b"FAILED", b"PASSED")),
    ("number of failures", replaced("out", rb"failures=\d+", b"failures=99")),
    ("the crashed test is not shown", replaced("out", rb"={70}\nFAIL: m\.t4\n.*?\n(?=={70}|Ran|running=)", b"")),
    ("a failure's id", replaced("out", b"FAIL: ", b"FAIL: x")),
]
# Of the batches of regatta's own schedule.
OWN = [
    ("the order of the listing", runner(lambda ids: len(ids) > 1 and "m.t4" not in ids,
                                        lambda log, n: [log[n]["ids"].reverse(), log[n]["which"].reverse()])),
    ("a group is divided", runner(given("m.t1"), parted)),
    ("a test that was not handed out", runner(given("m.t5"), lambda log, n: [log[n]["ids"].remove("m.t5"), log[n]["which"].pop()])),
]


def dying():
    """The same, where the runner of one test dies in it."""
    project = orderly()
    project.clock = 99.0
    file = ("log", "text/plain;charset=utf8", b"it was here\n")
    began = packet("m.t4", "inprogress", 99.0) + packet("m.t4", None, 99.0, None, file, True)
    project.suite["tests"]["m.t4"] = dict(variants=[began.hex()], fails=[False], present=False, die=["signal", 9])
    project.testr_conf += "group_regex=m\\.t[0-2]$\n"
    return project


def check_losses(tools):
    """The same of runs with losses, with testr's schedule and with regatta's own."""
    project, unnoticed = dying(), []
    project.here = False
    with tempfile.TemporaryDirectory(prefix="differential.") as root:
        sides = [Side(tool, os.path.join(root, name), tools.bindir, project) for name, tool in (("testr", tools.testr), ("regatta", tools.regatta))]
        canon = Canon(project)
        for n, (args, dynamic) in enumerate([(["init"], False), (RUN_TWO, False), (RUN_TWO, True), (RUN_TWO + ["--subunit"], True)]):
            step = Step(args, extra=[] if dynamic or args == ["init"] else ["--schedule", "static"])
            step.dynamic, step.present = dynamic, False
            theirs, ours = sides[0].observe(n, args, b"", {}), sides[1].observe(n, args + step.extra, b"", {})
            if args == ["init"]:
                continue
            sides[0].adopt(sides[1])
            end = Step(["last"])
            end.present = False
            last = sides[0].observe(n, end.args, b"", {})
            canon.learn(step, [theirs, ours])
            name = " ".join(args + step.extra)
            kinds = LOSSES + (SHOWN if "--subunit" not in args else []) + (OWN if dynamic else [])
            for kind, corrupt in [(None, lambda s: None)] + kinds:
                other = copy.deepcopy(ours)
                try:
                    corrupt(other)
                except (AssertionError, StopIteration, IndexError, KeyError) as error:
                    unnoticed.append("%s: %s: %s" % (name, kind, error or "there is nothing to corrupt"))
                    continue
                said = None
                if not dynamic:
                    want, got = canon.aspects(step, theirs), canon.aspects(step, other)
                    _, said = rules.apply(canon, step, theirs, other, want, got)
                if dynamic or said == "adopt":
                    faults = account.judge(canon, project, step, theirs, other) if dynamic else []
                    said = None if faults or account.told(canon, project, step, other, end, last) else "adopt"
                if (said == "adopt") != (kind is None):
                    unnoticed.append("%s: %s" % (name, kind or "what is right is called wrong"))
    return unnoticed


def orderly():
    """A project on instances with failures, tags and attachments, and nothing else that is out of the way."""
    project = Project(random.Random("mutate"))
    project.stamps, project.noisy, project.routed, project.attaches, project.tagged = "all", False, False, True, True
    project.ids, project.victim, project.instances, project.idlist = ["m.t%d" % n for n in range(9)], None, True, False
    project.began_and_exists = set()
    tests = {}
    for n, id in enumerate(project.ids):
        begin = packet(id, "inprogress", n)
        trace = packet(id, None, n, None, ("traceback", "text/plain;charset=utf8", b"Traceback of %d\n" % n), True)
        blob = begin + (trace if n % 2 else b"") + packet(id, "fail" if n % 2 else "success", n + n / 8 + 0.125, ["slow", "worker-9"])
        tests[id] = dict(variants=[blob.hex()], fails=[bool(n % 2)], present=False)
    project.suite.update(tests=tests, order=project.ids, idlist=[], before="", after="", present=False, exit=0, listing_exit=0, unknown={},
                         listing=b"".join(packet(id, "exists") for id in project.ids).hex())
    project.suite["callouts"].update(first=0, provision_fails_at=-1, execute_exit=0, dispose_exit=0)
    project.testr_conf = """[DEFAULT]
test_command=suite $LISTOPT $IDOPTION
test_id_option=--load-list $IDFILE
test_list_option=--list
instance_provision=callout provision $INSTANCE_COUNT
instance_execute=callout execute $INSTANCE_ID $FILES -- $COMMAND
instance_dispose=callout dispose $INSTANCE_IDS
"""
    return project


def check(tools):
    """The kinds of corruption that were not noticed."""
    project = orderly()
    project.here = False
    steps = [Step(a) for a in (["init"], ["run", "--parallel", "--concurrency", "2"], ["run", "--subunit"], ["slowest", "--all"],
                               ["failing", "--list"], ["last"], ["run"])]
    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="differential.") as root:
        side, canon = Side(tools.testr, os.path.join(root, "testr"), tools.bindir, project), Canon(project)
        for n, step in enumerate(steps):
            step.present = False
            seen = side.observe(n, step.args, b"", {})
            before = copy.deepcopy(canon)
            canon.learn(step, [seen, seen])
            if differences(canon.aspects(step, seen), canon.aspects(step, copy.deepcopy(seen))):
                unnoticed.append("command %d differs from itself" % n)
            for at, name, corrupt in KINDS:
                if at != n:
                    continue
                other, mine = copy.deepcopy(seen), copy.deepcopy(before)
                try:
                    corrupt(other)
                except (AssertionError, StopIteration, IndexError) as error:
                    unnoticed.append("%s: %s" % (name, error))
                    continue
                mine.learn(step, [seen, other])
                want, got = mine.aspects(step, seen), mine.aspects(step, other)
                _, end = rules.apply(mine, step, seen, other, want, got)
                if end or not differences(want, got):
                    unnoticed.append(name)
    return unnoticed
