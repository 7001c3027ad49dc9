"""Observations made comparable. Only what testr itself leaves to chance is taken out, and only where it does."""

import re

from . import decode

RULE, THIN = "=" * 70, "-" * 70
SUMMARY = re.compile(r"^(Ran |PASSED\b|FAILED\b)")
# Made by the tools, one for each worker that it happened to: whose comes last is a race.
OF_THE_TOOL = ("process-returncode", "subunit.parser")


class Canon:
    """What has to be remembered of a history, the same for both tools.

    by_worker: which worker an id is on is testr's set order, or depends on recorded times of the present.
    unstable: ids whose recorded time is of the present, or of whichever worker came last.
    present_runs: stored runs with a time of the present.
    """

    def __init__(self, project):
        self.project, self.by_worker = project, True
        self.unstable, self.present_runs, self.racing = set(), set(), set()
        self.reasons = set()
        # ids that testr alone has a time for: 0.0, since they never ended.
        self.zeroed = set()
        # Stored runs, and `failing`, whose order is chance.
        self.unordered_runs, self.failing_unordered = set(), False
        self.known = set()

    def learn(self, step, seen):
        """Look at what both did, before either is made canonical."""
        new = [{n for n in one["files"] if n.isdigit() and n not in self.known} for one in seen]
        self.known = {n for one in seen for n in one["files"] if n.isdigit()}
        if step.has("--failing", "--analyze-isolation"):
            step.set_order = step.set_order or self.failing_unordered
        self.unordered = step.parallel or step.set_order or step.command == "load" and len(step.files) > 1
        if any(new):
            if self.unordered:
                self.unordered_runs |= new[0] | new[1]
            partial = step.has("--partial", "--failing", "--isolated", "--analyze-isolation")
            self.failing_unordered = self.unordered or partial and self.failing_unordered
        self.present = any(r.get("present") for one in seen for r in one["log"]) or step.command == "load" and bool(step.present)
        ran = {id for one in seen for r in one["log"] if r["k"] == "suite" for id in r["ids"]}
        if step.parallel and self.by_worker and (step.set_order or ran & self.unstable):
            self.by_worker = False
            self.reasons.add("ids in set order, in parallel" if step.set_order else "split by times of the present")
        race = False
        for one, names in zip(seen, new):
            for name in names:
                workers, latest, failed = {}, {}, {}
                for id, status, tags, _, start, stop in decode.stored(one["files"][name]):
                    workers.setdefault(id, set()).update(t for t in tags if re.fullmatch(r"worker-[0-8]", t))
                    failed.setdefault(id, set()).add(status == "fail")
                    latest[id] = latest.get(id, False) or "now" in (start, stop)
                if any(latest.values()):
                    self.present_runs.add(name)
                for id, now in latest.items():
                    if len(workers[id]) > 1 and (step.parallel or step.command == "load"):
                        self.racing.add(id)
                        race = race or len(failed[id]) > 1
                    (self.unstable.add if now or id in self.racing else self.unstable.discard)(id)
        by_batch = self.batches_matter()
        # Which tests run together, or in which order, is not known: where results depend on it, nothing is.
        if by_batch and ran and (step.parallel and not self.by_worker or step.set_order):
            return "results depend on batches that are chance"
        table = seen[0]["out"].partition(b"caused by test\n")[2]
        if step.has("--analyze-isolation") and table.count(b"\n") > 2:
            return "several failures are analysed in set order"
        return race and "workers disagree on one id"

    def batches_matter(self):
        """Whether results depend on which tests run together."""
        suite = self.project.suite
        return suite["exit"] != 0 or self.project.victim or any("die" in t for t in suite["tests"].values()) or \
            "filter_tags=worker-0" in self.project.testr_conf

    def aspects(self, step, seen):
        """The canonical observation: {aspect: plain data}."""
        self.step, self.root = step, seen["root"]
        self.instances = {i for r in seen["log"] for i in r.get("made", ())}
        latest = max((n for n in seen["files"] if n.isdigit()), key=int, default="")
        self.unordered = self.unordered or step.command == "last" and latest in self.unordered_runs
        self.unordered = unordered = self.unordered or step.command == "failing" and self.failing_unordered
        found = dict(exit=seen["exit"], tmp=len(seen["tmp"]), stray=len(seen["stray"]))
        if "--subunit" in step.args:
            events, text = decode.packets(seen["out"])
            found["stream"] = self.stream(events)
            found["stdout"] = self.stdout(text, unordered, seen)
        else:
            found["stdout"] = self.stdout(seen["out"].decode("utf8", "backslashreplace"), unordered, seen)
        found["calls"] = self.calls(seen["log"])
        files = seen["files"]
        for name in ("format", "next-stream"):
            found[name] = files.get(name, b"-").decode("utf8", "backslashreplace")
        found["runs"] = {}
        for name in sorted(files, key=lambda n: n.rjust(9)):
            if name.isdigit():
                rows = self.rows(files[name])
                found["runs"][name] = sorted(rows, key=repr) if name in self.unordered_runs else rows
        failing = self.rows(files["failing"]) if "failing" in files else None
        if failing is not None:
            failing = [[r[0], "one of several workers'"] if r[0] in self.racing or r[0] in OF_THE_TOOL else r for r in failing]
            failing = sorted(failing, key=repr) if self.failing_unordered else failing
        found["failing"] = failing
        found["times"] = {id: "now" if id in self.unstable or id in OF_THE_TOOL else t for id, t in sorted(seen["times"].items())}
        return found

    # names

    def worker(self, text):
        return text if self.by_worker else re.sub(r"\bworker-[0-8]\b", "worker-?", text)

    def route(self, route):
        return route if self.by_worker or route is None else re.sub(r"^\d+", "?", route)

    def word(self, text):
        text = re.sub(re.escape(self.root) + r"/tmp/[^\s'\"]+", "<LIST>", text).replace(self.root, "<ROOT>")
        for id in self.instances:
            text = re.sub(r"(?<![\w-])%s(?![\w-])" % re.escape(id), "<INSTANCE>", text)
        return text

    def command(self, words):
        out = [self.word(w) for w in words]
        if not self.by_worker or self.step.set_order:
            ids = set(self.project.suite["idlist"]) | {"gone.1", "process-returncode", "subunit.parser"}
            known = sorted(w for w in out if w in ids) if self.step.set_order and not self.step.parallel else ["<IDS>"] * any(w in ids for w in out)
            at = next((n for n, w in enumerate(out) if w in ids), len(out))
            out = [w for w in out[:at]] + known + [w for w in out[at:] if w not in ids]
        return out

    # stdout

    def stdout(self, text, unordered, seen):
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        blocks, at = [], 0
        while at < len(lines):
            line = lines[at]
            at += 1
            if line == RULE and at < len(lines) and lines[at].startswith("FAIL: "):
                block = [lines[at]]
                at += 1
                if at < len(lines) and lines[at].startswith("tags: "):
                    block.append("tags: " + " ".join(sorted(self.worker(lines[at][6:]).split(" "))))
                    at += 1
                while at < len(lines) and not (lines[at] == RULE or lines[at].startswith("running=") or SUMMARY.match(lines[at])):
                    block.append(lines[at])
                    at += 1
                blocks.append(["failure", "\n".join(block)])
            elif line.startswith("running="):
                while line.endswith("\\") and at < len(lines):
                    line += "\n" + lines[at]
                    at += 1
                kept = line if re.match(r"running=callout (provision|dispose)", line) else " ".join(self.command(line.split(" ")))
                blocks.append(["running", kept])
            elif SUMMARY.match(line):
                line = self.summary(line, seen)
                if line:
                    blocks.append(["summary", line])
            elif line.startswith("Test id ") and at < len(lines) and lines[at].startswith("---"):
                blocks.append(["table", self.table([line] + lines[at:], seen)])
                break
            else:
                blocks.append(["text", self.worker(line)])
        if unordered:
            blocks = settled(blocks, "failure")
        if not self.by_worker:
            blocks = settled(blocks, "running", drop_copies=True)
        if self.step.command == "failing" and self.failing_unordered:
            blocks = settled(settled(blocks, "failure"), "text")
        if self.step.command == "failing":
            for id in [r for r in self.racing] + list(OF_THE_TOOL):
                blocks = [["failure", "FAIL: %s, one of several workers'" % id] if b[0] == "failure" and b[1].split("\n")[0] == "FAIL: " + id else b
                          for b in blocks]
        return blocks

    def summary(self, line, seen):
        """Elapsed times of the present are taken out: of the run itself, or of the one it is compared with."""
        if self.step.command == "failing":
            stored = any("now" in row[4:] for row in decode.stored(seen["files"].get("failing", b"")))
            return re.sub(r" in \d+\.\d+s", "", line) if stored or self.racing else line
        runs = sorted((n for n in seen["files"] if n.isdigit()), key=int)
        shown = re.search(r"id=(\d+)", line)
        number = int(shown.group(1)) if shown else self.shown(line, seen)
        mine, before = str(number) in self.present_runs, str(number - 1) in self.present_runs
        if self.step.command != "last" and self.present:
            mine = True
        if not runs or mine:
            line = re.sub(r" in -?\d+\.\d+s( \([+-]\d+\.\d+s\))?$", "", line)
            return "" if line in ("Ran", "Ran tests") else line
        return re.sub(r" \([+-]\d+\.\d+s\)$", " (d)", line) if before else line

    def shown(self, line, seen):
        """The run of a `Ran` line: that of the next line with an id."""
        text = seen["out"].decode("utf8", "backslashreplace")
        after = re.search(re.escape(line) + r"\n(?:PASSED|FAILED) \(id=(\d+)", text)
        return int(after.group(1)) if after else -1

    def table(self, lines, seen):
        """`slowest`: rows of equal times are in no order, and which of them are among the ten is chance."""
        rows, ten = [], len(lines) == 12 and "--all" not in self.step.args
        for line in lines[2:]:
            id, _, seconds = line.rpartition(" ")
            id = id.strip()
            if id not in self.zeroed:
                rows.append([id, "now" if id in self.unstable or id in OF_THE_TOOL else float(seconds)])
        present = any(id in seen["times"] for id in self.unstable - self.zeroed | set(OF_THE_TOOL))
        if present and "--all" not in self.step.args:
            return "perhaps not all"
        if self.zeroed and "--all" not in self.step.args:
            cut = float(lines[-1].split()[-1]) if ten else 0
            return repr(sorted(["<a tie>" if r[1] == cut else r[0], r[1]] for r in rows if r[1] > 0))
        if present or self.zeroed:
            return repr(sorted(rows, key=repr))
        if ten:
            last = rows[-1][1]
            rows = [["<a tie>" if r[1] == last else r[0], r[1]] for r in rows]
            return repr(sorted(rows, key=lambda r: (-r[1], r[0])))
        return "\n".join(lines[:2] + [line for _, line in sorted(zip(rows, lines[2:]), key=lambda p: (-p[0][1], p[0][0]))])

    # what is stored, and streams

    def rows(self, data):
        return [[id, status, sorted({self.worker(t) for t in tags})] + rest for id, status, tags, *rest in decode.stored(data)]

    def stream(self, events):
        """For each test and route its events in order; text of each route as one."""
        tests, text = {}, {}
        for e in events:
            route = self.route(e["route"])
            if self.step.command == "failing" and (e["id"] in self.racing or e["id"] in OF_THE_TOOL):
                tests[e["id"]] = [["one of several workers'"]]
                continue
            tags = sorted({self.worker(t) for t in e["tags"]})
            if e["id"] is None and e["file"] == "stdout" and e["mime"] is None:
                text[str(route)] = text.get(str(route), b"") + e["data"]
                continue
            if e["id"] in OF_THE_TOOL and not self.by_worker:
                route = "?"
            row = [e["status"], tags, e["runnable"], e["file"], e["mime"], e["data"].decode("utf8", "backslashreplace"), e["eof"],
                   "now" if e["id"] in OF_THE_TOOL and e["at"] else e["at"]]
            tests.setdefault("%s %s" % (e["id"], route), []).append(row)
        if self.unordered and self.step.command != "run" and not self.step.files:
            # Read from what is stored, all with the same route: whole reports in any order.
            for key, rows in tests.items():
                reports = [[]]
                for row in rows:
                    reports[-1].append(row)
                    if row[0] not in (None, "inprogress"):
                        reports.append([])
                tests[key] = sorted(reports, key=repr)
        if not self.by_worker:
            # A route stands for several workers, and how many there are is chance as well.
            text = {k: sorted(set(v)) for k, v in text.items()}
        return dict(tests=dict(sorted(tests.items())), text={k: repr(v) for k, v in sorted(text.items())})

    # what was asked of callouts and runners

    def calls(self, log):
        made = {i for r in log for i in r.get("made", ())}
        order, runs, executes = [], [], []
        for r in log:
            cwd = r["cwd"].replace(self.root, "<ROOT>")
            if r["k"] in ("provision", "dispose", "concurrency"):
                order.append([r["k"], r.get("args"), r.get("made"), cwd])
            elif r["k"] == "execute":
                kind = "listing" if "--list" in r["command"] else "tests"
                executes.append([kind, "<INSTANCE>" if r["instance"] in made else r["instance"], self.command(r["command"]), self.ids(r["lists"]), cwd])
            elif r["k"] == "suite":
                ids = self.ids([r["ids"]])
                runs.append(["listing" if r["listing"] else "tests", self.command(r["argv"]), ids, r["file"], r["stdin"],
                             "on an instance" if r["instance"] in made else r["instance"], cwd])
        if not self.by_worker and self.step.parallel:
            runs, executes = self.union(runs, 1, 2), self.union(executes, 2, 3)
        elif self.step.parallel:
            runs, executes = sorted(runs, key=repr), sorted(executes, key=repr)
        return dict(callouts=order, suite=runs, execute=executes)

    def ids(self, lists):
        return [sorted(ids) if self.step.set_order or not self.by_worker else ids for ids in lists]

    def union(self, calls, command, ids):
        """Who got which ids is chance: all of them together, and each kind of call once."""
        kinds = sorted({repr(c[:command] + [[w for w in c[command] if w not in self.project.suite["idlist"]]] + c[ids + 1:]) for c in calls})
        return dict(kinds=kinds, ids=sorted(i for c in calls for one in c[ids] for i in one))


def settled(blocks, kind, drop_copies=False):
    """Sort each stretch of neighbours of one kind."""
    out, stretch = [], []
    for block in blocks + [[None, ""]]:
        if block[0] == kind:
            if not (drop_copies and block in stretch):
                stretch.append(block)
            continue
        out += sorted(stretch) + [block]
        stretch = []
    return out[:-1]
