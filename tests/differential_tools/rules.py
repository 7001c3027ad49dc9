"""Where regatta differs from testr on purpose: one table. Nothing else may differ.

A rule looks at one command: `theirs` and `ours` are what testr and regatta did (see sides.Side.observe), `want` and
`got` the same made canonical, to be changed in place. It gives None when it has nothing to say, "level" when it made
`want` and `got` alike in what it is about, and "end" when the histories part here: what regatta did instead has been
checked by the rule, and nothing later can be compared. With "adopt" it has been checked too, and testr goes on with what
regatta stored.
"""

import ast
import re

from . import account, decode
from .canon import settled


class Case:
    """One command of a case, for a rule to look at."""

    def __init__(self, canon, step, theirs, ours, want, got):
        self.canon, self.project, self.step = canon, canon.project, step
        self.theirs, self.ours, self.want, self.got = theirs, ours, want, got


def nothing_left_behind(c):
    """Every instance that regatta made is disposed of, once, and no file is left."""
    seen = c.ours
    made = [i for r in seen["log"] for i in r.get("made", ())]
    gone = [i for r in seen["log"] if r["k"] == "dispose" and not account.of_earlier_runs(r) for i in r["args"]]
    return not seen["tmp"] and not seen["stray"] and (gone == sorted(made) or "instance_dispose" not in c.project.testr_conf)


def empty_listing(c):
    if c.step.command not in ("run", "list-tests") or c.theirs["exit"] not in (0, 4) or c.ours["exit"] != 3:
        return None
    if "the listing has no tests" not in c.ours["err"] or c.project.ids:
        return None
    if c.step.command == "list-tests" and "but text" not in c.ours["err"]:
        return None
    if c.step.command == "list-tests":
        c.want["exit"] = 3
        return "level"
    before = {k for k in c.ours["files"] if k.isdigit()}
    return "end" if nothing_left_behind(c) and len(before) < len([k for k in c.theirs["files"] if k.isdigit()]) + c.step.has("--isolated") else None


def unfinished(c):
    """Ids that testr stored a failure of whose end has no time of its own: it is read as that of the beginning."""
    names = [n for n in c.theirs["files"] if n.isdigit()] + ["failing"] * ("failing" in c.theirs["files"])
    rows = [row for n in names for row in decode.stored(c.theirs["files"][n])]
    return {row[0] for row in rows if row[1] == "fail" and row[4] == row[5]}


def unfinished_time(c):
    changed = None
    ids = unfinished(c)
    for id in list(c.want["times"]):
        if c.theirs["times"][id] == "0.0" and id in ids and c.ours["times"].get(id) != "0.0":
            c.want["times"].pop(id)
            c.got["times"].pop(id, None)
            c.canon.unstable.add(id)
            c.canon.zeroed.add(id)
            changed = "level"
    return changed


def slowest_zero(c):
    if c.step.command != "slowest" or {c.theirs["exit"], c.ours["exit"]} != {0, 3}:
        return None
    failed, other, shown = (c.theirs, c.ours, c.got) if c.theirs["exit"] else (c.ours, c.theirs, c.want)
    if "math domain error" not in failed["err"]:
        return None
    # What the other shows has no time above 0 but such as are of the present, or testr's own for unfinished tests.
    rows = [line for line in other["out"].decode("utf8", "backslashreplace").split("\n")[2:] if line]
    if any(float(row.split()[-1]) > 0 and row.rpartition(" ")[0].strip() not in c.canon.unstable for row in rows):
        return None
    shown.update((c.want if shown is c.got else c.got))
    return "level"


def no_instance_left(c):
    if c.theirs["exit"] != 3 or "pop from an empty set" not in c.theirs["err"] or c.ours["exit"] not in (0, 1, 3, 4):
        return None
    ran = [r for r in c.ours["log"] if r["k"] == "suite"]
    made = {i for r in c.ours["log"] for i in r.get("made", ())}
    if not nothing_left_behind(c) or not all(r["instance"] in made for r in ran):
        return None
    if not account.is_accounted(c.step, c.ours) or c.ours["exit"] not in (0, 1):
        return "end"
    checked = account.check(c.project, c.step, c.ours)
    return "end" if checked is None else None if checked[0] else "adopt"


def one_instance_and_no_disposal(c):
    if not (c.project.instances and c.step.parallel and c.step.has("--failing", "--load-list")) or c.theirs["exit"] != 3 or c.ours["exit"] != 3:
        return None
    told = "Disposing of instances failed" in c.theirs["err"] and "instance_dispose failed" in c.ours["err"]
    asked = [[r["args"] for r in seen["log"] if r["k"] == "provision"][:1] for seen in (c.theirs, c.ours)]
    if not told or asked[0] != [["1"]] or asked[1] in ([], [["1"]]):
        return None
    checked = account.check(c.project, c.step, c.ours)
    return "end" if checked and not checked[0] else None


def all_together(c):
    tried = re.findall(r"(?m)^regatta: (.*): trying all (\d+) tests before it$", c.ours["err"])
    theirs, ours = (account.calls(c.project, seen) for seen in (c.theirs, c.ours))
    if len(tried) != 1 or not c.step.has("--analyze-isolation") or len(ours) != len(theirs) + 1:
        return None
    victim, before = tried[0]
    last, new = ours[-1], max((n for n in c.ours["files"] if n.isdigit()), key=int)
    if [call.ids for call in theirs] != [call.ids for call in ours[:-1]] or last.ids[-1:] != [victim] or len(last.ids) != int(before) + 1:
        return None
    rows = decode.stored(c.ours["files"][new])
    runs = {name: rows for name, rows in c.got["runs"].items() if name != new}
    fails = any(row[:2] == [victim, "fail"] for row in decode.stored(c.ours["files"]["failing"]))
    words = "several of the %s tests before it, together" % before if fails else "unknown - no conflicts"
    # What is shown ends with the table, of three lines.
    shown = [[text for _, text in side["stdout"]] for side in (c.want, c.got)]
    same = c.want["runs"] == runs and shown[0][:-3] == shown[1][:len(shown[0]) - 3] and c.want["exit"] == c.got["exit"]
    right = [one[-1] for one in shown] == ["%s  %s" % (victim, text) for text in ("unknown - no conflicts", words)]
    return "adopt" if same and right and not account.Run([last], rows, c.step).check() and nothing_left_behind(c) else None


def provisions_for_known_ids(c):
    if not (c.project.instances and c.step.parallel and c.step.has("--failing", "--load-list")) or c.theirs["exit"] == 3:
        return None
    if not nothing_left_behind(c) or not any(r["k"] == "provision" for r in c.theirs["log"]):
        return None
    for side in (c.want, c.got):
        side["calls"]["callouts"] = [r for r in side["calls"]["callouts"] if r[0] == "concurrency"]
        side["stdout"] = [b for b in side["stdout"] if not re.match("running=callout (provision|dispose)", b[1])]
    return "level"


def order_of_unfinished(c):
    said = None
    for name in c.want["runs"]:
        a, b = c.want["runs"][name], c.got["runs"].get(name)
        if b is not None and a != b and sorted(a, key=repr) == sorted(b, key=repr):
            if all(x == y or {x[0], y[0]} <= unfinished(c) for x, y in zip(a, b)):
                c.canon.unordered_runs.add(name)
                c.canon.failing_unordered, said = True, "level"
                a.sort(key=repr), b.sort(key=repr)
    if said and c.want["failing"] is not None and c.got["failing"] is not None:
        c.want["failing"].sort(key=repr), c.got["failing"].sort(key=repr)
    return said


def dispose_of_nothing(c):
    if any(r["k"] == "dispose" and not r["args"] for r in c.theirs["log"]) and not any(r["k"] == "dispose" for r in c.ours["log"]):
        c.want["calls"]["callouts"] = [r for r in c.want["calls"]["callouts"] if r[0] != "dispose"]
        c.want["stdout"] = [b for b in c.want["stdout"] if not b[1].startswith("running=callout dispose")]
        if c.theirs["exit"] == 3 and c.project.suite["callouts"]["dispose_exit"]:
            c.want["exit"] = c.got["exit"]
        return "level"
    return None


def provision_leak(c):
    if not any(r["k"] == "provision" for r in c.theirs["log"]) or c.theirs["exit"] != 3 or c.ours["exit"] != 3:
        return None
    if "Provisioning instances failed" not in c.theirs["err"]:
        return None
    if not nothing_left_behind(c):
        return None
    for side in (c.want, c.got):
        side["calls"]["callouts"] = [r for r in side["calls"]["callouts"] if r[0] != "dispose"]
        side["stdout"] = [b for b in side["stdout"] if not b[1].startswith("running=callout dispose")]
    return "level"


def isolated_asks_once(c):
    if not c.step.has("--isolated"):
        return None
    for side, seen in ((c.want, c.theirs), (c.got, c.ours)):
        calls = side["calls"]
        for kind in ("callouts", "suite", "execute"):
            first = [r for n, r in enumerate(calls[kind]) if r[0] not in ("concurrency", "listing") or r not in calls[kind][:n]]
            calls[kind] = first
        side["stdout"] = [b for n, b in enumerate(side["stdout"]) if "--list" not in b[1].split() or b not in side["stdout"][:n]]
    return "level"


def words_of_the_parser(c):
    """In stored runs, in failures that are shown, and in streams; the reason and the bytes stay."""
    def blur(value):
        if isinstance(value, str):
            value = re.sub(r"Bad checksum - calculated \((0x[0-9a-f]+)\), stored \((0x[0-9a-f]+)\)", r"<checksum \1 \2>", value)
            value = re.sub(r"Short read - got \d+ bytes, wanted \d+ bytes|cut off: the stream ended after \d+ bytes of it", "<cut off>", value)
            return re.sub(r"wrong checksum: the packet says (0x[0-9a-f]+) and its bytes give (0x[0-9a-f]+)", r"<checksum \2 \1>", value)
        if isinstance(value, list):
            return [blur(v) for v in value]
        return {k: blur(v) for k, v in value.items()} if isinstance(value, dict) else value

    said, ours = repr(c.want), repr(c.got)
    if not ("Bad checksum" in said and "wrong checksum" in ours or "Short read" in said and "cut off: the" in ours):
        return None
    for side in (c.want, c.got):
        side.update(blur(dict(side)))
        for rows in list(side["runs"].values()) + [side["failing"] or []]:
            for row in rows:
                # testr gives of a packet that is cut off what it had read in one go.
                if row[0] == "subunit.parser" and len(row) > 3 and row[3].get("Parser Error", [""])[-1] == "<cut off>":
                    row[3]["Packet data"] = "<cut off>"
        for key, rows in side.get("stream", {}).get("tests", {}).items():
            if key.startswith("subunit.parser "):
                for row, after in zip(rows, rows[1:]):
                    if row[3] == "Packet data" and after[5] == "<cut off>":
                        row[5] = "<cut off>"
        for name in c.canon.unordered_runs & set(side["runs"]):
            side["runs"][name].sort(key=repr)
        if c.canon.unordered:
            side["stdout"] = settled(side["stdout"], "failure")
    return "level"


def parameters_of_types(c):
    """Of stored types: testr's own reader keeps the first, `a=1`; regatta has `a=1,b=2`."""
    if c.step.command not in ("last", "failing"):
        return None
    text = repr(c.got)

    def first(value):
        if isinstance(value, str):
            return re.sub(r'([;=]"?[\w-]+"?),\w+=[\w-]+', r"\1", value)
        if isinstance(value, list):
            return [first(v) for v in value]
        return {k: first(v) for k, v in value.items()} if isinstance(value, dict) else value

    for side in (c.want, c.got):
        for aspect in ("stdout", "stream"):
            if aspect in side:
                side[aspect] = first(side[aspect])
    return "level" if repr(c.got) != text else None


def returncode_packet(c):
    if "stream" not in c.want or c.step.command != "run":
        return None
    ends = 0
    for key, rows in c.want["stream"]["tests"].items():
        if key.startswith("process-returncode "):
            for row in rows:
                row[6] = True
                ends += 1
    said = "level" if ends else None
    for route, text in list(c.want["stream"]["text"].items()):
        ours = c.got["stream"]["text"].get(route, "b''")
        if c.canon.by_worker and text != ours:
            # At most one line end for each, wherever text came before it.
            a, b = ast.literal_eval(text), ast.literal_eval(ours)
            if a.replace(b"\n", b"") == b.replace(b"\n", b"") and 0 < len(a) - len(b) <= ends:
                c.want["stream"]["text"].pop(route)
                c.got["stream"]["text"].pop(route, None)
    if said and not c.canon.by_worker:
        # Which workers' text stands in which order is not known: line ends are not counted.
        for side in (c.want, c.got):
            side["stream"]["text"] = {k: v.replace("10, ", "").replace(", 10", "") for k, v in side["stream"]["text"].items() if v != "[10]"}
    return said


def begun_and_exists(c):
    def count(files):
        rows = [row[0] for n, data in files.items() if n.isdigit() for row in decode.stored(data)]
        return {id: rows.count(id) for id in rows}

    theirs, ours = count(c.theirs["files"]), count(c.ours["files"])
    more = {id for id in theirs if theirs[id] != ours.get(id, 0)}
    return "end" if more and more <= c.project.began_and_exists and not set(ours) - set(theirs) else None


def disposal_once_more(c):
    """Once, before anything else, of what is known to be left."""
    first = next(iter(c.ours["log"]), None)
    if c.step.command not in ("run", "load") or not first or not account.of_earlier_runs(first) or not c.project.suite["callouts"]["dispose_exit"]:
        return None
    if sum(account.of_earlier_runs(r) for r in c.ours["log"]) != 1:
        return None
    c.got["calls"]["callouts"] = c.got["calls"]["callouts"][1:]
    return "level"


def text_before_a_packet(c):
    """In a serial run; where ids are handed out the account looks at it."""
    if not c.project.noisy or c.step.command != "run" or account.is_accounted(c.step, c.ours):
        return None
    names = [sorted((n for n in seen["files"] if n.isdigit() and n not in seen["was"]["files"]), key=int) for seen in (c.theirs, c.ours)]
    found = [[decode.stored(seen["files"][n]) for n in new] for seen, new in zip((c.theirs, c.ours), names)]
    damaged = [sum(row[0] == account.PARSER for rows in side for row in rows) for side in found]
    calls = account.calls(c.project, c.ours)
    if damaged[0] <= damaged[1] or len(calls) != len(names[1]):
        return None
    for call, rows in zip(calls, found[1]):
        if sorted(map(repr, (r[:2] for r in call.rows if r[0] != account.PARSER))) != sorted(repr(r[:2]) for r in rows if r[0] not in account.OWN):
            return None
    return "end"


def lost_go_out_again(c):
    if not account.has_losses(c.project, c.step, c.ours) or {c.theirs["exit"], c.ours["exit"]} - {0, 1}:
        return None
    return "adopt" if account.judge(c.canon, c.project, c.step, c.theirs, c.ours) == [] else None


# Name, why, what looks at a command. The words come first, so that rows which differ in nothing else are alike.
RULES = [
    ("lost tests go out again", "tests that a runner left without a status by a bad end go out again; with testr those in progress fail, and those "
     "that never began are silently missing", lost_go_out_again),
    ("words of subunit.parser", "what is wrong with a damaged packet is said in regatta's words", words_of_the_parser),
    ("empty listing", "a listing without any test is an error (exit 3, nothing stored); testr says PASSED", empty_listing),
    ("unfinished test's time", "a test that never ended took no known time; testr records 0.0 for it", unfinished_time),
    ("slowest of zeros", "testr's slowest stops with 'math domain error' when no time is above 0", slowest_zero),
    ("no instance left", "testr never gives an instance back after a run, nor makes enough for ids that it knows already, and stops "
     "with 'pop from an empty set'", no_instance_left),
    ("no instance left, nor disposed of", "the same where instance_dispose fails too, of which alone testr speaks", one_instance_and_no_disposal),
    ("all of them together", "where no half of the tests before a failing one makes it fail, --analyze-isolation tries all of them once more",
     all_together),
    ("instances for known ids", "with ids that it knows already testr makes one instance, whatever the concurrency; regatta makes as many as asked for",
     provisions_for_known_ids),
    ("order of unfinished tests", "tests that never ended are stored in the order in which they began; testr stores the last one first", order_of_unfinished),
    ("dispose of nothing", "testr calls instance_dispose without ids when no instance was made", dispose_of_nothing),
    ("isolated asks once", "with --isolated and --parallel or filters testr asks for the concurrency and the listing again for each test", isolated_asks_once),
    ("packet of process-returncode", "regatta's says that its file is whole, and is a packet of its own without testr's line end before it", returncode_packet),
    ("begun, then exists", "a test that begins and then only exists is no result; testr does not count it in the run, but stores it as a failure",
     begun_and_exists),
    ("parameters of types", "of a stored type with several parameters testr's reader keeps the first; regatta shows and keeps them all", parameters_of_types),
    ("disposal once more", "instances that could not be disposed of are tried again by the next run or load; testr forgets them", disposal_once_more),
    ("text before a packet", "behind text that ends no line what looks like a packet and is none, is text; testr calls it damaged", text_before_a_packet),
    ("failed provision", "ids that a failing provision printed are disposed of; testr leaks them", provision_leak),
]


def apply(canon, step, theirs, ours, want, got):
    """The names of the rules that had something to say, and "end" or "adopt" if one of them said so."""
    case, used, end = Case(canon, step, theirs, ours, want, got), [], False
    if want == got:
        return used, end
    for name, _, look in RULES:
        said = look(case)
        if said:
            used.append(name)
            if said in ("end", "adopt"):
                return used, said
    return used, end

