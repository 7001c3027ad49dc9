"""What regatta may have seen, worked out from what was handed out, what chaos did, and what the runners wrote.

A batch is one execute of some tests; a batch and its runner and its fault know each other by the name of the list of ids.
Nothing here comes from regatta, but for one thing: where its record says that it ended a worker for a limit in time, and
chaos stood between them, chaos may have been slow, and how much had come through is not known.
"""

import json

from . import streams

# Faults after which the callout's status is not the command's, and that status, as far as zero or not.
ENDS = {"die-before": True, "die-between": True, "die-inside": True, "die-in-test": True, "drop-0": False, "drop-1": True,
        "drop-255": True, "drop-left-running": True, "instance-dies": True, "hang": True}


class Fault:
    """A line of chaos' log."""

    def __init__(self, line):
        self.verb, number, self.name, *words = line.split(" ")
        self.number = int(number)
        self.words = words
        self.details = dict(word.split("=", 1) for word in words if "=" in word)


class Batch:
    def __init__(self, line):
        self.instance, self.name, *self.tests = line.split("\t")
        self.fault = None
        self.events = []        # of its runner: (event, test, status, time)
        self.delivered = None
        self.is_limited = False

    def close(self, stream):
        fault = self.fault
        self.delivered = streams.Delivered(stream, fault and fault.name, fault.details if fault else {}, len(self.tests))
        last = self.events[-1] if self.events else ("absent", "", "", 0.0)
        self.how = last[0] if last[0] in ("exit", "crash", "term", "absent") else "killed"
        self.status = int(last[2]) if self.how == "exit" else None
        if fault and fault.name in ENDS:
            self.is_bad = ENDS[fault.name]
        else:
            self.is_bad = self.status != 0
        self.missing = [test for test in self.tests if test not in self.delivered.finals]
        # As many results as tests went out, whatever they were.
        if sum(len(found) for found in self.delivered.finals.values()) >= len(self.tests):
            self.missing = []

    def is_certain(self):
        """Whether what regatta saw of it is known to the byte."""
        return self.delivered.garbled is None and not (self.is_limited and self.fault and self.fault.name != "hang")


class Model:
    def __init__(self, plan, seen):
        self.plan = plan
        self.faults = [Fault(line) for line in seen.chaos_log.splitlines()]
        self.calls = [line.split(" ") for line in seen.chaos_calls.splitlines()]
        self.batches = [Batch(line) for line in seen.batches.splitlines()]
        by_name = {batch.name: batch for batch in self.batches}
        names = {int(call[1]): call[3].rsplit("/", 1)[-1] for call in self.calls if call[0] == "execute" and len(call) > 3}
        for fault in self.faults:
            if fault.verb == "execute" and names.get(fault.number) in by_name:
                by_name[names[fault.number]].fault = fault
        for line in seen.runner_log.splitlines():
            name, event, test, status, at = line.split("\t")
            if name in by_name:
                by_name[name].events.append((event, test, status, float(at)))
        for batch in self.batches:
            batch.close(seen.streams.get(batch.name, b""))
        self.mark_limited(seen)

    def mark_limited(self, seen):
        waiting, workers = list(self.batches), {}
        for line in b"".join(seen.records.values()).splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row["record"] == "worker":
                mine = [batch for batch in waiting if batch.instance == row.get("instance") and batch.tests == row.get("tests")]
                workers[row["worker"]] = mine[:1]
                waiting = [batch for batch in waiting if batch not in mine[:1]]
            elif row["record"] == "worker_ended" and row.get("limit"):
                for batch in workers.get(row["worker"], []):
                    batch.is_limited = True

    def planted(self, *names, verb=None):
        return [fault for fault in self.faults if fault.name in names and verb in (None, fault.verb)]

    def handed_out(self):
        return {test for batch in self.batches for test in batch.tests}

    def history(self, test):
        """What became of a test, attempt by attempt."""
        return History(self, [batch for batch in self.batches if test in batch.tests], test)

    def fruitless(self):
        """The longest row of batches without a result."""
        longest = row = 0
        for batch in self.batches:
            row = row + 1 if len(batch.missing) == len(batch.tests) else 0
            longest = max(longest, row)
        return longest

    def out_of_instances(self):
        """Whether regatta may have had no instance left: all replacements were used, or one could not be made."""
        limit = int(self.plan.settings.get("replace_limit", self.plan.concurrency))
        asked = [int(call[2]) for call in self.calls if call[0] == "provision"]
        replaced = sum(asked) - self.plan.concurrency
        broken = self.planted("fail", "ids-then-fail", verb="provision")
        return replaced >= limit or bool(broken)

    def may_give_up(self):
        return self.out_of_instances() or self.fruitless() >= 3


class History:
    """The attempts at one test."""

    def __init__(self, model, batches, test):
        self.batches = batches
        self.finals = []        # what came through, in order
        self.charges = 0        # how many ends could be put down to it
        self.skips = 0          # how many runners ended well without a word of it
        self.is_certain = True
        self.after_pass = False
        self.ends_lost = False  # whether the last attempt, perhaps another try of what had failed, gave no result
        for batch in batches:
            found = batch.delivered.finals.get(test)
            if self.finals and self.finals[-1] != "fail":
                self.after_pass = True
            self.is_certain &= batch.is_certain()
            self.ends_lost = not found
            if found:
                self.finals.append(found[-1])
            elif test not in batch.missing:
                self.finals.append(None)
            elif not batch.is_bad and not batch.delivered.begun:
                self.skips += 1
            elif test in batch.delivered.begun or not batch.delivered.begun:
                self.charges += 1
