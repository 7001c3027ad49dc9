"""What is wrong with a run. Every complaint is a line; none is as it should be."""

import io
import json
import signal

from . import play, runner, streams
from .model import Model
from .plan import PASSING

# Tests that stand for something else than a test.
RETURNCODE, PARSER = "process-returncode", "subunit.parser"

# What the record calls the statuses of a stored run.
RECORDED = {"passed": "success", "skipped": "skip", "expected-failure": "xfail", "unexpected-success": "uxsuccess",
            "failed": "fail", "crashed": "fail", "lost": "fail", "timed-out": "fail", "not-run": "fail", "unfinished": "fail"}


def check(plan, seen, directory):
    """The complaints; `directory` is the project's, for real testr."""
    return Check(plan, seen).all(directory)


class Check:
    def __init__(self, plan, seen):
        self.plan, self.seen = plan, seen
        self.model = Model(plan, seen)
        self.complaints = list(seen.complaints)
        # A signal that came too late to matter is none.
        self.is_interrupted = bool(seen.signalled) and seen.exit < 0
        self.is_killed = seen.exit == -signal.SIGKILL
        self.outcomes = []

    def say(self, text, *values):
        self.complaints.append(text % values if values else text)

    def all(self, directory):
        if self.find_run():
            self.verdicts()
            self.special_tests()
            self.attachments()
            self.record()
        self.exit_status()
        self.leftovers()
        self.instances()
        self.killings()
        self.failing_tests()
        self.output()
        if directory:
            self.real_testr(directory)
        return self.complaints

    # --- the stored run

    def find_run(self):
        """Sets `outcomes`: the run that was stored, or recovered."""
        seen = self.seen
        new = seen.new + [n for n in seen.recovered if n not in seen.new]
        if len(new) > 1:
            self.say("%d runs were stored: %s, %s of them later", len(new), new, seen.recovered)
        if not new:
            if not self.is_interrupted and seen.exit in (0, 1):
                self.say("no run was stored, and the exit status is %d", seen.exit)
            return False
        try:
            outcomes = streams.stored(seen.stored[new[0]])
        except ValueError as error:
            self.say("the stored run cannot be read: %s", error)
            return False
        self.outcomes = [(test, status) for test, status, _ in outcomes]
        self.files = {test: files for test, _, files in outcomes}
        self.number = new[0]
        return True

    def statuses(self, test):
        return [status for name, status in self.outcomes if name == test]

    def is_in_doubt(self, test):
        """Right behind text without a line end a packet is in doubt, so the packets that it holds are found first."""
        return test.startswith("inner.") and self.model.planted("chatter")

    def verdicts(self):
        plan, model = self.plan, self.model
        for test, status in self.outcomes:
            if test not in plan.tests and test not in (RETURNCODE, PARSER) and not self.is_in_doubt(test):
                self.say("%r is stored (%s), and there is no such test", test, status)
        handed_out = set(plan.order) if plan.serial else model.handed_out()
        for test in plan.order:
            found = self.statuses(test)
            kind = plan.tests[test][0]
            if len(found) > 1:
                self.say("%r has %d verdicts: %s", test, len(found), found)
            if "success" in found and kind not in PASSING:
                self.say("FALSE PASS: %r, a %s, is stored as a success", test, kind)
            if found and test not in handed_out:
                self.say("%r has a verdict, and was never handed out", test)
            if not plan.serial:
                self.verdict(test, found)
        missing = set(plan.order) - handed_out
        listing_is_whole = not model.planted(*("drop-0", "truncate", "garble"), verb="listing")
        if missing and listing_is_whole and not self.is_interrupted and not model.may_give_up():
            self.say("%d of %d tests were never handed out: %s", len(missing), len(plan.order), sorted(missing)[:3])

    def verdict(self, test, found):
        """Compares the stored statuses of a test with what regatta saw of it."""
        history = self.model.history(test)
        if not history.batches:
            return
        limit = int(self.plan.settings.get("lost_limit", 2))
        told = "%r (a %s): " % (test, self.plan.tests[test][0])
        came = "%d batches, %s came, %d charges of %d, %d skips" % (
            len(history.batches), history.finals or "nothing", history.charges, limit, history.skips)
        if history.after_pass and history.is_certain:
            self.say("%sit was handed out again though it had passed; %s", told, came)
        if history.finals and history.is_certain:
            expected = {history.finals[-1]} - {None}
        elif history.finals:
            expected = set(history.finals) | {"fail"}
        else:
            expected = set()
        if self.is_interrupted:
            # What was written last may not have been read any more.
            self.interrupted_verdict(test, found, told, came, history, limit)
            return
        if history.finals:
            if not set(found) <= expected or not found:
                self.say("%sstored as %s; %s", told, found or "nothing", came)
            return
        # One process is testr's schedule, whatever is said.
        static = self.plan.settings["schedule"] == "static" or self.plan.concurrency == 1
        allowed = []
        if history.skips >= (1 if static else 2):
            allowed.append(["fail"] if self.plan.settings.get("not_run") == "fail" else [])
        if history.charges >= limit or self.model.may_give_up():
            allowed.append(["fail"])
        if found not in allowed and history.is_certain:
            self.say("%sno runner's result came, and it is stored as %s; %s", told, found or "nothing", came)

    def interrupted_verdict(self, test, found, told, came, history, limit):
        seen_by_runner = {status for batch in history.batches for event, name, status, _ in batch.events
                          if event == "end" and name == test}
        lost = history.charges >= limit or self.model.may_give_up() or history.skips
        for status in found:
            if status not in seen_by_runner and not (status == "fail" and lost):
                self.say("%sstored as %s, which no runner said; %s", told, status, came)

    def special_tests(self):
        model = self.model
        codes, parsers = len(self.statuses(RETURNCODE)), len(self.statuses(PARSER))
        bad = [batch for batch in model.batches if batch.is_bad]
        if codes and not bad and not self.plan.serial:
            self.say("%s is stored %d times, and no worker ended badly", RETURNCODE, codes)
        elif codes and not self.is_interrupted and not self.plan.serial:
            done = [batch for batch in bad if not batch.missing or not batch.is_certain()]
            lost = [test for test in model.handed_out() if model.history(test).ends_lost]
            if not done and not lost:
                self.say("%s is stored %d times; every bad end lost tests, and each got a status elsewhere",
                         RETURNCODE, codes)
        torn = [batch for batch in model.batches if batch.delivered.torn or batch.delivered.garbled is not None]
        if parsers and not torn and not self.is_interrupted:
            self.say("%s is stored %d times, and no packet was damaged", PARSER, parsers)

    def attachments(self):
        """What was attached to tests that ran once is stored as it was."""
        for test, files in self.files.items():
            history = self.model.history(test)
            if len(history.batches) != 1 or not history.finals or not history.is_certain or self.is_interrupted:
                continue
            number = history.batches[0].tests.index(test)
            sizes = self.plan.tests[test][2]
            sent = [("log%d" % n, runner.content(size, number + n)) for n, size in enumerate(sizes) if size]
            files = [pair for pair in files if pair[0] != "traceback"]
            # The one that the packet in doubt had.
            lacks_one = len(files) == len(sent) - 1 and all(pair in sent for pair in files)
            if files != sent and not (lacks_one and any(self.is_in_doubt(name) for name, _ in self.outcomes)):
                sizes = [[(name, len(data)) for name, data in pairs] for pairs in (files, sent)]
                self.say("%r has other attachments than were sent: %s, not %s", test, *sizes)

    # --- the record

    def record(self):
        """regatta's own account of the run: the same batches, the same verdicts."""
        data = self.seen.records.get(self.number, b"")
        if not data:
            self.say("the stored run %d has no record", self.number)
            return
        try:
            rows = [json.loads(line) for line in data.splitlines()]
        except ValueError as error:
            if not self.is_killed:
                self.say("the record cannot be read: %s", error)
            return
        verdicts = [(row["id"], row["verdict"], row.get("flaky", False)) for row in rows if row["record"] == "test"]
        ours = sorted((test, RECORDED.get(verdict, verdict)) for test, verdict, _ in verdicts)
        if ours != sorted(self.outcomes) and not self.is_interrupted:
            different = set(ours) ^ set(self.outcomes)
            self.say("the record has other outcomes than the stored run: %s", sorted(different)[:4] or "not as many")
        if self.is_interrupted or self.plan.serial:
            return
        told = sorted([row.get("instance"), *row["tests"]] for row in rows if row["record"] == "worker")
        handed = sorted([batch.instance, *batch.tests] for batch in self.model.batches)
        if told != handed:
            self.say("the record has %d batches, and %d were handed out; the first that differs: %s", len(told), len(handed),
                     next((pair for pair in zip(told, handed) if pair[0] != pair[1]), "one more"))
        for test, verdict, flaky in verdicts:
            history = self.model.history(test)
            if not history.batches or not history.is_certain:
                continue
            is_flaky = "fail" in history.finals[:-1] and history.finals[-1] != "fail"
            if flaky != is_flaky:
                self.say("%r is %sflaky in the record; %s came", test, "" if flaky else "not ", history.finals)
            if verdict == "failed" and "fail" not in history.finals:
                self.say("%r is called failed in the record, which no runner said", test)

    # --- the end

    def exit_status(self):
        plan, seen, model = self.plan, self.seen, self.model
        if seen.exit < 0:
            sent = [getattr(signal, "SIG" + name) for name in seen.signalled]
            if -seen.exit not in sent[:1] + [signal.SIGKILL] * (signal.SIGKILL in sent):
                self.say("it died of signal %d; sent were %s", -seen.exit, seen.signalled)
            return
        failed = any(status == "fail" for _, status in self.outcomes)
        disposal = model.planted("dispose-fails", "dispose-half")
        provision = model.planted("fail", "ids-then-fail", verb="provision")
        listing = [fault for fault in model.faults if fault.verb == "listing"]
        if disposal:
            expected = {3}
        elif seen.new:
            expected = {1 if failed and not plan.subunit else 0}
            if model.may_give_up():
                expected.add(3)
        else:
            expected = {3}
            if not (provision or listing or model.out_of_instances()):
                self.say("nothing was stored, and nothing was broken that would explain it")
        if seen.exit not in expected:
            names = [fault.name for fault in disposal + provision + listing]
            self.say("exit status %d, not %s; failed tests: %s; stored: %s; planted: %s", seen.exit, sorted(expected), failed,
                     seen.new, names)

    def leftovers(self):
        seen, model = self.seen, self.model
        # The third signal gives up.
        excused = self.is_killed or len(seen.signalled) > 2 or model.planted("dispose-fails", "dispose-half")
        if seen.left and not excused:
            self.say("left behind: %s", "; ".join(seen.left))
        if seen.recovery:
            status, out, err = seen.recovery
            if status != 0:
                self.say("the run that had to recover it ended with %d: %s %s", status, out[-300:], err[-600:])
            if seen.left_after:
                self.say("left behind after a further run: %s; that run said: %s", "; ".join(seen.left_after), err[-600:])
        if seen.temporary:
            self.say("temporary files: %s", seen.temporary)

    def instances(self):
        """Each instance: nothing after its disposal, and what may still run is killed before it is used again."""
        gone, dirty = set(), {}
        must_be_clean = ("execute", "listing", "dispose", "collect") if "kill" in self.plan.optional else ()
        cut = {batch.fault.number for batch in self.model.batches if batch.fault and batch.missing}
        faults = {(fault.verb, fault.number): fault for fault in self.model.faults}
        for verb, number, *words in self.model.calls:
            fault = faults.get((verb, int(number)))
            ids = words if verb == "dispose" else words[:1]
            if verb in ("provision", "list"):
                continue
            for instance in ids:
                if instance in gone:
                    self.say("%s %s of %s, which had been disposed of", verb, number, instance)
                if verb in ("kill", "fence"):
                    dirty.pop(instance, None)
                elif verb in must_be_clean and instance in dirty and not (self.is_killed or len(self.seen.signalled) > 1):
                    self.say("%s %s on %s, where execute %s left something running, and no kill came between", verb, number,
                             instance, dirty[instance])
            if verb == "dispose" and (not fault or fault.name == "dispose-late"):
                gone.update(ids)
            if verb == "execute" and fault and fault.name == "drop-left-running" and int(number) in cut:
                dirty[words[0]] = number

    def killings(self):
        """A runner that was told to end had been silent, or too long at a test, or the run was interrupted."""
        silence, test_limit = self.plan.limits["no_output_timeout"], self.plan.limits["test_timeout"]
        if self.seen.signalled:
            return
        for batch in self.model.batches:
            if batch.how != "term" or (batch.fault and batch.fault.name != "chatter"):
                continue
            end = batch.events[-1][3]
            last = batch.events[-2]
            since = end - last[3]
            begun = [at for event, _, _, at in batch.events if event == "begin"]
            too_long = test_limit and begun and end - begun[-1] > test_limit - 0.05
            if not (silence and since > silence - 0.05) and not too_long:
                self.say("the runner of %s was ended for no reason, %.2f s after %s", batch.name, since, last[0])

    # --- what remains known

    def failing_tests(self):
        """An interrupted run keeps what failed before; a whole one knows it all."""
        seen, plan = self.seen, self.plan
        try:
            failing = {test for test, status, _ in streams.stored(seen.failing)}
        except ValueError as error:
            self.say("`failing` cannot be read: %s", error)
            return
        now = {test for test, status in self.outcomes if status == "fail"}
        decided = {test for test, _ in self.outcomes}
        kept = now | (set(plan.before) - decided)
        if self.is_interrupted and seen.new and self.has_all():
            # The signal came when only the instances had to be given back.
            expected = [now, kept]
        elif self.is_interrupted or not seen.new:
            expected = [kept]
        elif self.model.may_give_up():
            # A run that stopped before its end is a part of one.
            expected = [now, kept]
        else:
            expected = [now]
        if failing not in expected:
            wanted = expected[0]
            self.say("`failing` has %s too many and %s too few", sorted(failing - wanted)[:4], sorted(wanted - failing)[:4])

    def has_all(self):
        """Whether each test has its verdict, but for those of which no runner spoke."""
        decided = {test for test, _ in self.outcomes}
        return all(test in decided or self.model.history(test).skips for test in self.plan.order)

    def output(self):
        """The merged stream, or testr's last line."""
        seen = self.seen
        if self.is_interrupted or not seen.new:
            return
        if self.plan.subunit:
            finals = {}
            for _, _, status, test in streams.packets(seen.stdout):
                if status in streams.STATUS[3:]:
                    finals.setdefault(test, []).append(status)
            for test, status in self.outcomes:
                if status not in finals.get(test, []):
                    self.say("%r is stored as %s; the stream says %s", test, status, finals.get(test))
            for test in finals:
                if test not in {name for name, _ in self.outcomes} and not test.startswith("inner."):
                    self.say("%r is in the stream and not stored", test)
        else:
            failed = sum(status == "fail" for _, status in self.outcomes)
            lines = seen.stdout.decode("utf8", "replace").split("\n")
            verdicts = [line for line in lines if line.startswith(("PASSED", "FAILED"))]
            if len(verdicts) != 1 or not verdicts[0].startswith("FAILED" if failed else "PASSED"):
                self.say("the verdict on stdout is %s, with %d failures", verdicts, failed)
            elif failed and "failures=%d" % failed not in verdicts[0]:
                self.say("the verdict on stdout is %s, with %d failures stored", verdicts[0], failed)

    def real_testr(self, directory):
        """Whether testr reads the repository, and sees in it what is here."""
        import subunit
        import testtools
        status, out, err = play.testr(directory, "last", "--subunit")
        if status or err:
            self.say("testr last --subunit ended with %s: %s", status, err.decode()[-300:])
        rows = []
        result = testtools.StreamToDict(lambda test: rows.append((test["id"], test["status"])))
        result.startTestRun()
        subunit.ByteStreamToStreamResult(io.BytesIO(out)).run(result)
        result.stopTestRun()
        if self.outcomes and not self.seen.recovery:
            ours, theirs = (sorted(pairs) for pairs in (self.outcomes, rows))
            if ours != theirs:
                self.say("testr reads something else: %s", [row for row in theirs if row not in ours][:4] or "fewer")
        status, out, err = play.testr(directory, "last")
        if status not in (0, 1) or err:
            self.say("testr last ended with %s: %s", status, err.decode()[-300:])
        status, out, err = play.testr(directory, "failing", "--list")
        listed = set(out.decode().split("\n")) - {""}
        if listed != {test for test, _, _ in streams.stored(self.seen.failing)} or err:
            self.say("testr failing --list: %s, status %s %s", sorted(listed)[:4], status, err.decode()[-300:])
