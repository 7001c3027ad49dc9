"""Shows that the comparison can fail: corrupt what testr did in one way after another, and see that it is noticed."""

import copy
import os
import random
import re
import tempfile

from . import rules
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
