"""What a run of regatta has to come to, worked out from what its runners really said.

For runs where testr's own result is no measure: when runners die with tests missing (regatta runs these again), and with
regatta's own schedule. Each runner noted which ids it was given, what it wrote and how it ended; what one process wrote
is read by python-subunit, as testr reads it. All that follows from this is looked at: which tests may go out again, each
test's outcome, what is stored beside, `failing`, recorded times, and that nothing is left.
"""

import collections
import datetime
import functools
import io
import json
import re

import subunit
import testtools

from . import decode, fake

LOST_LIMIT = 2
# Made by both tools themselves.
RETURNCODE, PARSER = "process-returncode", "subunit.parser"
OWN = (RETURNCODE, PARSER)
FINAL = ("success", "uxsuccess", "skip", "fail", "xfail")


class Call:
    """A runner that was given tests: a line of the log, and what can be known from it."""

    def __init__(self, plan, record):
        self.instance = record["instance"]
        if record["k"] == "execute":
            # The callout ended by itself, and no runner ran.
            self.ids, self.end, data = record["lists"][0], plan["callouts"]["execute_exit"], b""
        else:
            self.ids, self.end = record["ids"], record["end"]
            # What a shell says of a runner that a signal ended; without a shell between it is the signal.
            self.end = 128 - self.end if self.end < 0 else self.end
            data = fake.said(plan, record["ids"], record["which"], record["died"])
        self.rows, self.ends, self.open, self.speaks = read(data)
        # Results of ids that nobody asked for count as well: what came is counted against what went out. But what is in
        # progress has not come.
        waits = any(id in self.open and self.ends.get(id, 0) < self.ids.count(id) for id in self.ids)
        self.is_short = waits or sum(self.ends.values()) < len(self.ids)
        self.missing = [id for id in self.ids if not self.ends.get(id)] if self.is_short else []

    @property
    def is_bad(self):
        """It ended so that what is missing was lost, not left out."""
        return bool(self.missing) and (self.end != 0 or any(id in self.open for id in self.missing))

    def of(self, id):
        return [row for row in self.rows if row[0] == id]


@functools.lru_cache(256)
def read(data):
    """(rows as they are stored, how often each id ended, ids in progress, whether there was any packet)."""
    events, out = decode.Events(), io.BytesIO()
    stored = testtools.StreamToExtendedDecorator(subunit.TestProtocolClient(out))
    # With a tag of its own each packet has tags, and the last ones hold.
    result = testtools.CopyStreamResult([events, testtools.StreamTagger([stored], add=["worker-0"])])
    result.startTestRun()
    subunit.ByteStreamToStreamResult(io.BytesIO(data), non_subunit_name="\0between").run(result)
    result.stopTestRun()
    ends, progress, speaks = collections.Counter(), {}, False
    for event in events.rows:
        if event["file"] == "\0between":
            continue
        speaks = True
        id, key = event["id"], (event["id"], event["route"])
        if id is None or id == PARSER:
            continue
        if event["status"] in FINAL:
            ends[id] += 1
        if event["status"] in FINAL or event["status"] == "exists":
            progress.pop(key, None)
        else:
            progress[key] = True
    return decode.stored(out.getvalue()), ends, {id for id, _ in progress}, speaks


def calls(project, seen):
    """The runners that were given tests, in order of start."""
    failing_execute = project.suite["callouts"]["execute_exit"]
    return [Call(project.suite, r) for r in seen["log"] if r["k"] == "suite" and not r["listing"] or
            r["k"] == "execute" and failing_execute and "--list" not in r["command"]]


def is_accounted(step, seen):
    """Whether regatta handed out ids, rather than letting a runner decide (a serial run is testr's)."""
    return step.command == "run" and (step.has("--failing", "--load-list", "--isolated", "--analyze-isolation") or
                                      any(r["k"] == "suite" and r["listing"] for r in seen["log"]))


class Run:
    """One stored run and its calls; `faults` says what is wrong. `twice` are ids that were to be run more than once."""

    def __init__(self, calls, rows, step, twice=frozenset(), is_dynamic=False, is_stopped=False, is_noisy=False):
        self.calls, self.rows, self.is_dynamic, self.is_stopped, self.is_noisy = calls, rows, is_dynamic, is_stopped, is_noisy
        self.plain = functools.partial(plain, timeless=step.present)
        self.attempts = {}
        for call in calls:
            for id in call.ids:
                self.attempts.setdefault(id, []).append(call)
        # Of what is handed out twice it is not known which is which, and the tools' own failures are no tests.
        self.own = set(OWN) & set(self.attempts)
        self.twice = twice | self.own
        self.lost, self.faults = [], []

    def check(self):
        expected = collections.Counter()
        for id, tries in self.attempts.items():
            if id not in self.twice:
                expected.update(self.test(id, tries))
            elif id not in self.own and not [r for r in self.rows if r[0] == id] and not all(id in call.missing and not call.is_bad for call in tries):
                self.faults.append("%s was handed out, and has no outcome" % id)
        for call in self.calls:
            expected.update(self.plain(row) for row in call.rows if row[0] not in self.attempts and row[0] != PARSER)
        found = collections.Counter(self.plain(r) for r in self.rows if r[0] not in self.twice and r[0] not in OWN)
        damaged = any(row[0] == PARSER for row in self.rows)
        for row in (expected - found).elements():
            # Behind a damaged packet what was not handed out is not believed.
            if damaged and json.loads(row)[0] not in self.attempts:
                continue
            self.faults.append("not stored: " + row)
        for row in (found - expected).elements():
            self.faults.append("stored without a reason: " + row)
        if not self.own:
            self.tools_own()
        self.workers()
        return self.faults

    def tools_own(self):
        """The failures that stand for damaged packets and bad ends."""
        damaged, found = (sum(row[0] == PARSER for row in rows) for rows in ([r for call in self.calls for r in call.rows], self.rows))
        # Behind text that ends no line what looks like a packet, and is none, is text.
        if found > damaged or found < damaged and not self.is_noisy:
            self.faults.append("%d damaged packets, not %d" % (found, damaged))
        self.returncodes()

    def test(self, id, tries):
        """The rows that a test has to have."""
        charged, cut, route_cut = 0, 1, False
        for n, call in enumerate(tries):
            is_last = n == len(tries) - 1
            if call.ends.get(id) or id not in call.missing:
                if not is_last:
                    self.faults.append("%s ran again after it had ended" % id)
                break
            if call.is_bad:
                charged += id in call.open
                if charged > LOST_LIMIT or charged == LOST_LIMIT and not is_last:
                    self.faults.append("%s ran again after it had cost %d runners" % (id, charged))
            elif not is_last and not (self.is_dynamic and n == 0 or any(c.is_bad for c in tries[:n])):
                self.faults.append("%s ran again though no runner was lost" % id)
            if not is_last and id in call.open:
                cut += 1
        last = tries[-1]
        said = last.of(id)
        if cut > 1:
            said = [attempt(row, cut) for row in said]
        if last.ends.get(id) or id not in last.missing:
            return [self.plain(row) for row in said]
        if not last.is_bad:
            if self.is_dynamic and len(tries) == 1 and not self.is_stopped:
                self.faults.append("%s was left out, and did not go out again" % id)
            return [self.plain(row) for row in said]
        self.lost.append((id, last))
        if len(tries) < LOST_LIMIT and not self.is_stopped:
            self.faults.append("%s was lost with one runner, and did not go out again" % id)
        return [self.plain(row) for row in self.failed(id, last, said)]

    def failed(self, id, last, said):
        """A test that stayed without a status: what is stored of it, if it says why and is of the right kind."""
        mine = [row for row in self.rows if row[0] == id]
        if len(mine) != 1 or mine[0][1] != "fail":
            self.faults.append("%s stayed without a status, and is stored as %s" % (id, [row[1] for row in mine]))
            return mine
        details = dict(mine[0][3])
        reason = details.pop("reason", [None, ""])[1]
        kind = "crashed: it was in progress when its runner ended" if id in last.open else "lost: its runner ended before it began"
        endings = "exit status %d" % last.end, "signal %d" % (last.end - 128)
        where = "on %s: " % last.instance if last.instance else ""
        lines = reason.split("\n")
        if lines[0] != kind or len(lines) < 3 or where not in lines[1] or not lines[1].endswith(endings) or not lines[2].startswith("  line: "):
            self.faults.append("%s stayed without a status (%s, %s), and the reason is %r" % (id, kind, endings[0], reason))
        # Beside it what its last runner said of it.
        if details != {k: v for row in said for k, v in row[3].items()}:
            self.faults.append("%s stayed without a status, and its files are %s" % (id, sorted(details)))
        return mine

    def returncodes(self):
        """testr's failure for a runner that ended badly: where all its tests have a status, and once for what is lost."""
        ends = [(call.instance, call.end) for call in self.calls if call.end and not call.missing]
        expected = collections.Counter(end for _, end in (set(ends) if self.is_dynamic else ends))
        found = collections.Counter()
        for row in self.rows:
            if row[0] == RETURNCODE:
                said = re.fullmatch(r"returncode (-?\d+)", row[3].get("traceback", [None, ""])[1])
                end = int(said[1]) if said else 0
                found[128 - end if end < 0 else end] += 1
        more = found - expected
        for end in (expected - found).elements():
            self.faults.append("no process-returncode for %d" % end)
        lost = [call.end for _, call in self.lost if call.end]
        if self.twice & {id for call in self.calls if call.is_bad for id in call.missing}:
            return
        if sum(more.values()) != bool(lost) or not set(more) <= set(lost):
            self.faults.append("process-returncode %s for what is lost, that is %s" % (sorted(more.elements()), lost))

    def workers(self):
        """The tests of one process have its number, and those of another have another."""
        tags = collections.defaultdict(set)
        for row in self.rows:
            if row[0] in self.attempts and row[0] not in self.twice:
                at = next(n for n, call in enumerate(self.calls) if call is self.attempts[row[0]][-1])
                numbers = {t for t in row[2] if re.fullmatch(r"worker-\d+", t)}
                tags[at].add(tuple(sorted(numbers)))
        owned = collections.defaultdict(set)
        for at, sets in tags.items():
            # A test may itself have a tag that looks like one.
            common = set.intersection(*(set(one) for one in sets))
            if not common:
                self.faults.append("the tests of one runner have no worker in common: %s" % sorted(sets))
            for tag in common - {"worker-9"}:
                owned[tag].add(at)
        for tag, runners in owned.items():
            if len(runners) > 1:
                self.faults.append("%d runners are called %s" % (len(runners), tag))


def attempt(row, n):
    """A row as it is stored of the nth attempt."""
    return row[:3] + [{"%s (attempt %d)" % (name, n): file for name, file in row[3].items()}] + row[4:]


def plain(row, timeless=False):
    """A row as text, whichever worker it is of, and without times if they may be of the present."""
    id, status, tags, details, start, stop = row
    tags = sorted(t for t in tags if not re.fullmatch(r"worker-\d+", t))
    times = [] if timeless else [start, stop]
    return json.dumps([id, status, tags, dict(sorted(details.items()))] + times, ensure_ascii=False)


def split(step, calls, names):
    """The calls of each stored run."""
    if len(names) == 1:
        return {names[0]: calls}
    if not step.has("--isolated", "--until-failure") or not names:
        return None
    runs, over, charged = [], set(), collections.Counter()
    for call in calls:
        # A test that is over is run again by the next run only.
        if not runs or over & set(call.ids) or step.has("--isolated") and runs[-1][-1].ids != call.ids:
            runs.append([])
            over.clear()
            charged.clear()
        runs[-1].append(call)
        charged.update(call.open)
        over |= {id for id in call.ids if id not in call.missing or not call.is_bad or charged[id] == LOST_LIMIT}
    return dict(zip(names, runs)) if len(runs) == len(names) else None


def handed_out_twice(project, step):
    """Ids that are more than once in what the run is to be of. A list has each once."""
    if step.files:
        return set()
    ids = [e["id"] for e in decode.packets(bytes.fromhex(project.suite["listing"]))[0] if e["status"] == "exists"]
    return {id for id, n in collections.Counter(ids).items() if n > 1}


def has_losses(project, step, seen):
    """Whether regatta handed out tests that a runner left without a status by a bad end."""
    return is_accounted(step, seen) and any(call.is_bad for call in calls(project, seen))


def judge(canon, project, step, theirs, ours):
    """What is wrong with what regatta did, by itself and beside testr; None when it cannot be worked out."""
    if not is_accounted(step, ours):
        return None
    checked = check(project, step, ours)
    if checked is None:
        return None
    faults, runs = checked
    return faults + beside(canon, project, step, theirs, ours, runs) + schedule(canon, project, step, theirs, ours)


def beside(canon, project, step, theirs, ours, runs):
    """The same tests as testr's, and the same outcome of each that had one at once, where batches do not matter."""
    faults = []
    ids = [{id for call in calls(project, seen) for id in call.ids} for seen in (theirs, ours)]
    if ids[0] != ids[1]:
        faults.append("other tests were handed out: testr %s, regatta %s" % (sorted(ids[0] - ids[1]), sorted(ids[1] - ids[0])))
    kinds = [kinds_of_calls(canon, seen, ids[1]) for seen in (theirs, ours)]
    if kinds[0] != kinds[1]:
        faults.append("runners were called in other ways: testr %s, regatta %s" % (sorted(kinds[0] - kinds[1]), sorted(kinds[1] - kinds[0])))
    if canon.batches_matter():
        return faults
    new = [name for name in theirs["files"] if name.isdigit() and name not in theirs["was"]["files"]]
    rows = [row for name in new for row in decode.stored(theirs["files"][name])]
    for run in runs:
        for id, tries in run.attempts.items():
            if len(tries) == 1 and tries[0].ends.get(id) and id not in run.twice | canon.racing:
                a, b = [sorted(run.plain(row) for row in side if row[0] == id) for side in (rows, run.rows)]
                if a != b:
                    faults.append("%s: testr stored %s, regatta %s" % (id, a, b))
    return faults


def kinds_of_calls(canon, seen, ids):
    """How runners were called, but for the ids."""
    canon.root, canon.instances = seen["root"], {i for r in seen["log"] for i in r.get("made", ())}
    return {json.dumps([r["listing"], [canon.word(w) for w in r["argv"] if r["listing"] or w not in ids], r["file"], r["stdin"],
                        r["instance"] in canon.instances, r["cwd"].replace(seen["root"], "")]) for r in seen["log"] if r["k"] == "suite"}


def schedule(canon, project, step, theirs, ours):
    """What goes out for the first time: testr's batches, or whole groups, in the order of the listing."""
    seen, first, faults = set(), [], []
    if step.has("--isolated", "--until-failure"):
        return faults
    for call in calls(project, ours):
        if not seen & set(call.ids):
            first.append(call.ids)
        seen |= set(call.ids)
    if not step.dynamic:
        batches = [call.ids for call in calls(project, theirs)]
        if canon.by_worker and not step.set_order and sorted(batches) != sorted(first):
            faults.append("testr's batches are %s, and regatta's %s" % (sorted(batches), sorted(first)))
        return faults
    group = re.search("^group_regex=(.*)$", project.testr_conf, re.M)
    of = {}
    for n, ids in enumerate(first):
        if any(r["k"] == "suite" and r["listing"] for r in ours["log"]):
            places = [project.ids.index(id) for id in ids if id in project.ids]
            if places != sorted(places) and len(set(project.ids)) == len(project.ids) and "listed twice" not in project.features:
                faults.append("not in the order of the listing: %s" % ids)
        for id in ids:
            match = re.match(group[1], id) if group else None
            key = match.group(0) if match else None
            if key and of.setdefault(key, n) != n:
                faults.append("the group %r is divided: %s" % (key, first))
    return faults


def told(canon, project, step, seen, last_step, last):
    """Whether what was said on stdout is what testr says of the stored run, and the exit status is its verdict."""
    if step.has("--isolated", "--until-failure", "--analyze-isolation"):
        return []
    faults, canon.unordered = [], True
    stored = decode.stored(seen["files"][max((n for n in seen["files"] if n.isdigit()), key=int)])
    theirs = canon.aspects(last_step, last)["stdout"]
    if "--subunit" in step.args:
        ended = []
        summary = testtools.StreamToDict(lambda test: ended.append([test["id"], test["status"]]))
        summary.startTestRun()
        subunit.ByteStreamToStreamResult(io.BytesIO(seen["out"]), non_subunit_name="\0between").run(summary)
        summary.stopTestRun()
        rows = sorted([row[0], row[1]] for row in stored)
        ended = sorted([id, "fail" if status in ("inprogress", "unknown") else status] for id, status in ended if id and status != "exists")
        if ended != rows:
            faults.append("the stream says %s, and stored is %s" % (ended, rows))
    else:
        ours = canon.aspects(step, seen)["stdout"]
        # In a run a test that never ended is counted, and not shown.
        told = {row[0] for row in stored if "reason" in row[3]}
        unended = {"FAIL: " + id for call in calls(project, seen) for id in call.open - told}
        shown = [sorted(re.sub(" in .*", "", "\n".join(text.split("\n")[:2])) for kind, text in blocks
                        if kind == "failure" or kind == "summary" and "-q" not in step.args) for blocks in (theirs, ours)]
        shown = [[text for text in side if text != "Ran tests"] for side in shown]
        shown[0] = [text for text in shown[0] if text in shown[1] or text.split("\n")[0] not in unended]
        if shown[0] != shown[1]:
            faults.append("testr says of what is stored %s, and regatta said %s" % tuple(shown))
    if seen["exit"] != (0 if "--subunit" in step.args else last["exit"]):
        faults.append("exit status %s, and testr's of what is stored is %s" % (seen["exit"], last["exit"]))
    return faults


def check(project, step, seen):
    """What is wrong with what regatta did, as lines; (faults, runs), or None when it cannot be worked out."""
    made = calls(project, seen)
    was = seen["was"]
    names = sorted((n for n in seen["files"] if n.isdigit() and n not in was["files"]), key=int)
    parts = split(step, made, names)
    if parts is None:
        return None
    faults, runs = [], []
    is_stopped, twice = "stopped" in seen["err"], handed_out_twice(project, step)
    is_dynamic = step.dynamic and not step.has("--isolated")
    for name, mine in parts.items():
        run = Run(mine, decode.stored(seen["files"][name]), step, twice, is_dynamic, is_stopped, project.noisy)
        faults += run.check()
        runs.append(run)
    faults += failing(step, seen, runs) + times(seen, runs) + left_behind(project, seen)
    return faults, runs


def failing(step, seen, runs):
    """`failing` is what was there, without what ran and did not fail, and with what failed."""
    partial = step.has("--partial", "--failing", "--isolated", "--analyze-isolation")
    rows = {row[0]: plain(row) for row in decode.stored(seen["was"]["files"].get("failing", b""))}
    for run in runs:
        rows = rows if partial else {}
        for row in run.rows:
            rows.pop(row[0], None)
            if row[1] == "fail":
                rows[row[0]] = plain(row)
    found = sorted(plain(row) for row in decode.stored(seen["files"].get("failing", b"")))
    if sorted(rows.values()) == found:
        return []
    return ["failing lacks " + r for r in sorted(set(rows.values()) - set(found))] + \
        ["failing has " + r for r in sorted(set(found) - set(rows.values()))] + ["failing is not what failed"]


def times(seen, runs):
    """The recorded time of each test is that of its last result."""
    faults, expected = [], dict(seen["was"]["times"])
    known = {}
    for run in runs:
        for id, status, _, _, start, stop in run.rows:
            known.setdefault(id, []).append((start, stop, status))
    for id, spans in known.items():
        if id not in seen["times"]:
            if any(None not in span[:2] and "now" not in span[:2] and span[2] != "fail" for span in spans):
                faults.append("%s has no recorded time" % id)
            continue
        fixed = [span for span in spans if None not in span[:2] and "now" not in span[:2]]
        if len(fixed) == len(spans) and seen["times"][id] != expected.get(id):
            took = [(datetime.datetime.fromisoformat(b) - datetime.datetime.fromisoformat(a)).total_seconds() for a, b, _ in fixed]
            if float(seen["times"][id]) not in took:
                faults.append("%s took %s, and %s is recorded" % (id, took, seen["times"][id]))
    for id in expected.keys() - known.keys():
        if seen["times"].get(id) != expected[id]:
            faults.append("the recorded time of %s, which did not run, changed" % id)
    return faults


def of_earlier_runs(record):
    """Whether a disposal is of instances that an earlier command could not dispose of."""
    return record["k"] == "dispose" and all(int(id.split("-")[1]) < record["step"] for id in record["args"]) and bool(record["args"])


def left_behind(project, seen):
    """Every instance that was made is disposed of, once, and no file is left."""
    made = [i for r in seen["log"] for i in r.get("made", ())]
    gone = [r["args"] for r in seen["log"] if r["k"] == "dispose" and not of_earlier_runs(r)]
    faults = ["left behind: %s" % (seen["tmp"] + seen["stray"])] if seen["tmp"] or seen["stray"] else []
    if "instance_dispose" in project.testr_conf and (sorted(i for one in gone for i in one) != sorted(made) or any(one != sorted(one) for one in gone)):
        faults.append("%s were made, and disposed of %s" % (made, gone))
    return faults
