"""Shows that the checks notice what is wrong: results of runs that were as they should be are changed, in every way that
a check is there for, and each change has to bring a complaint."""

import copy
import itertools
import shutil
import signal

from . import check, play
from .plan import Plan


class Sample:
    """A run that is as it should be."""

    def __init__(self, regatta, prepare, faults=(), rate=0):
        plans = (Plan(seed, rate, [], list(faults) or None) for seed in itertools.count(900_000))
        self.plan = next(plan for plan in plans if prepare(plan))
        self.home = play.temporary()
        game = play.Play(self.plan, regatta, self.home)
        try:
            self.seen = game.run()
            self.complaints = check.check(self.plan, self.seen, game.project)
        finally:
            game.end_processes()
            shutil.rmtree(self.home, ignore_errors=True)

    def test(self, kind):
        """A test of this kind."""
        return next(test for test in self.plan.order if self.plan.tests[test][0] == kind)

    def run(self):
        return self.seen.new[0]


def plain(plan):
    kinds = {kind for kind, _, _ in plan.tests.values()}
    is_plain = not (plan.wild or plan.serial or plan.subunit or plan.text) and plan.failure_status == 0
    return is_plain and len(plan.before) > 1 and {"pass", "fail", "skip"} <= kinds


def tame(plan):
    return plain(plan) and any(10 < sum(sizes) < 9000 for _, _, sizes in plan.tests.values())


def wild(plan):
    kinds = [kind for kind, _, _ in plan.tests.values()]
    is_dynamic = plan.settings.get("lost_limit") == "2" and plan.settings["schedule"] == "dynamic"
    others = {"hanger", "stubborn", "mute", "once"} & set(kinds)
    return is_dynamic and not (plan.subunit or plan.text or others) and "killer" in kinds and "pass" in kinds


def record(seen, run, test, old, new):
    """Change a stored outcome."""
    data = seen.stored[run]
    before = "\n%s: %s [ multipart\n" % (old, test)
    assert before.encode() in data, (before, data[:300])
    seen.stored[run] = data.replace(before.encode(), ("\n%s: %s [ multipart\n" % (new, test)).encode(), 1)


def cut_out(seen, run, test):
    """Take a test out of a stored run."""
    lines, inside = [], False
    for line in seen.stored[run].split(b"\n"):
        if line == b"test: " + test.encode():
            inside = True
        if not inside:
            lines.append(line)
        inside = inside and line != b"]"
    seen.stored[run] = b"\n".join(lines)


def outcome(test, word):
    return ("test: %s\n%s: %s [ multipart\n]\n" % (test, word, test)).encode()


def a_failure_is_a_success(seen, sample):
    record(seen, sample.run(), sample.test("fail"), "failure", "successful")


def a_pass_is_a_failure(seen, sample):
    record(seen, sample.run(), sample.test("pass"), "successful", "failure")


def a_skip_is_a_success(seen, sample):
    record(seen, sample.run(), sample.test("skip"), "skip", "successful")


def a_test_is_missing(seen, sample):
    cut_out(seen, sample.run(), sample.test("pass"))


def a_test_is_there_twice(seen, sample):
    seen.stored[sample.run()] += outcome(sample.test("pass"), "successful")


def a_test_that_there_is_not(seen, sample):
    seen.stored[sample.run()] += outcome("pkg.other", "successful")


def a_returncode_for_nothing(seen, sample):
    seen.stored[sample.run()] += outcome("process-returncode", "failure")


def a_parser_error_for_nothing(seen, sample):
    seen.stored[sample.run()] += outcome("subunit.parser", "failure")


def a_run_that_cannot_be_read(seen, sample):
    seen.stored[sample.run()] = seen.stored[sample.run()].replace(b"\n]\n", b"\n", 1)


def no_run(seen, _):
    seen.new = []


def two_runs(seen, sample):
    seen.recovered = [sample.run() + 1]


def an_attachment_is_changed(seen, sample):
    run = sample.run()
    head, name, tail = seen.stored[run].partition(b"\nlog0\n")
    size, rest = tail.split(b"\r\n", 1)
    seen.stored[run] = head + name + size + b"\r\n" + bytes([rest[0] ^ 1]) + rest[1:]


def a_test_was_never_handed_out(seen, sample):
    test = sample.test("pass")
    lines = [[word for word in line.split("\t") if word != test] for line in seen.batches.splitlines()]
    seen.batches = "".join("\t".join(words) + "\n" for words in lines)


def handed_out_again(seen, sample):
    instance, name, *tests = seen.batches.splitlines()[0].split("\t")
    seen.batches += "\t".join([instance, name, *tests]) + "\n"


def an_exit_status_of_0(seen, _):
    seen.exit = 0


def an_exit_status_of_3(seen, _):
    seen.exit = 3


def died_of_a_signal_that_was_not_sent(seen, _):
    seen.exit, seen.signalled = -signal.SIGINT, ["TERM"]


def an_instance_is_left(seen, _):
    seen.left = ["instance local-1"]


def a_port_is_left(seen, _):
    seen.left = ["port lock 20000"]


def a_process_is_left(seen, _):
    seen.left = ["process 1: sleep"]


def a_journal_is_left(seen, _):
    seen.left = ["journal x.jsonl"]


def a_file_is_left(seen, _):
    seen.temporary = ["regatta-ids-x"]


def left_after_recovery(seen, _):
    seen.exit, seen.signalled = -signal.SIGKILL, ["KILL"]
    seen.recovery, seen.left_after = (0, "", ""), ["instance local-1"]


def recovery_failed(seen, _):
    seen.exit, seen.signalled = -signal.SIGKILL, ["KILL"]
    seen.recovery, seen.left_after = (3, "", ""), []


def used_after_disposal(seen, _):
    line = next(line for line in seen.chaos_calls.splitlines() if line.startswith("execute "))
    seen.chaos_calls += line.replace("execute ", "execute 9", 1) + "\n"


def interrupted_and_failing_forgot(seen, sample):
    """The run before had failures that this one did not decide."""
    test = next(test for test in sample.plan.before if test in sample.plan.tests)
    seen.exit, seen.signalled = -signal.SIGINT, ["INT"]
    cut_out(seen, sample.run(), test)
    failed = [name for name, status in stored(seen, sample) if status == "fail" and name != test]
    seen.failing = b"".join(outcome(name, "failure") for name in failed)


def interrupted_and_a_result_made_up(seen, sample):
    seen.exit, seen.signalled = -signal.SIGINT, ["INT"]
    record(seen, sample.run(), sample.test("pass"), "successful", "failure")


def failing_has_too_many(seen, sample):
    seen.failing += outcome(sample.test("pass"), "failure")


def failing_has_too_few(seen, _):
    seen.failing = b""


def stored(seen, sample):
    return [(test, status) for test, status, _ in check.streams.stored(seen.stored[sample.run()])]


def the_verdict_on_stdout(seen, _):
    seen.stdout = seen.stdout.replace(b"FAILED (", b"PASSED (")


def lost_too_early(seen, sample):
    """A test that came through is stored as lost, though nothing was lost."""
    test = sample.test("pass")
    seen.streams = {name: b"" for name in seen.streams}
    record(seen, sample.run(), test, "successful", "failure")


def ended_for_no_reason(seen, sample):
    lines = seen.runner_log.splitlines()
    last = max(n for n, line in enumerate(lines) if "\texit\t" in line)
    lines[last] = lines[last].replace("\texit\t", "\tterm\t")
    seen.runner_log = "\n".join(lines) + "\n"


def a_record_of_another_batch(seen, sample):
    run = sample.run()
    lines = seen.records[run].decode().splitlines()
    at = next(n for n, line in enumerate(lines) if '"record":"worker"' in line)
    seen.records[run] = "\n".join(lines[:at] + lines[at + 1:]).encode()


def a_record_of_another_verdict(seen, sample):
    run = sample.run()
    seen.records[run] = seen.records[run].replace(b'"verdict":"skipped"', b'"verdict":"passed"', 1)


def a_record_of_something_flaky(seen, sample):
    run = sample.run()
    seen.records[run] = seen.records[run].replace(b'"verdict":"passed"', b'"verdict":"passed","flaky":true', 1)


def no_record(seen, sample):
    seen.records = {}


def a_killer_is_a_success(seen, sample):
    record(seen, sample.run(), sample.test("killer"), "failure", "successful")


def a_killer_is_missing(seen, sample):
    cut_out(seen, sample.run(), sample.test("killer"))


def not_killed_before_its_next_use(seen, sample):
    """A connection was lost, and what ran there went on."""
    calls = [line for line in seen.chaos_calls.splitlines() if not line.startswith(("kill ", "fence "))]
    seen.chaos_calls = "\n".join(calls) + "\n"


# Each change, and what has to be said of it.
TAME = [
    (a_failure_is_a_success, "FALSE PASS"),
    (a_pass_is_a_failure, "stored as ['fail']"),
    (a_skip_is_a_success, "FALSE PASS"),
    (a_test_is_missing, "stored as nothing"),
    (a_test_is_there_twice, "has 2 verdicts"),
    (a_test_that_there_is_not, "there is no such test"),
    (a_returncode_for_nothing, "no worker ended badly"),
    (a_parser_error_for_nothing, "no packet was damaged"),
    (a_run_that_cannot_be_read, "cannot be read"),
    (no_run, "no run was stored"),
    (two_runs, "2 runs were stored"),
    (an_attachment_is_changed, "other attachments"),
    (a_test_was_never_handed_out, "never handed out"),
    (handed_out_again, "handed out again though it had passed"),
    (an_exit_status_of_0, "exit status 0, not [1]"),
    (an_exit_status_of_3, "exit status 3, not [1]"),
    (died_of_a_signal_that_was_not_sent, "died of signal 2"),
    (an_instance_is_left, "left behind: instance"),
    (a_port_is_left, "left behind: port"),
    (a_process_is_left, "left behind: process"),
    (a_journal_is_left, "left behind: journal"),
    (a_file_is_left, "temporary files"),
    (left_after_recovery, "after a further run"),
    (recovery_failed, "had to recover"),
    (used_after_disposal, "had been disposed of"),
    (interrupted_and_failing_forgot, "too few"),
    (interrupted_and_a_result_made_up, "which no runner said"),
    (failing_has_too_many, "too many"),
    (failing_has_too_few, "too few"),
    (the_verdict_on_stdout, "the verdict on stdout"),
    (lost_too_early, "no runner's result came"),
    (ended_for_no_reason, "ended for no reason"),
    (a_record_of_another_batch, "the record has"),
    (a_record_of_another_verdict, "the record has other outcomes"),
    (a_record_of_something_flaky, "is flaky in the record"),
    (no_record, "has no record"),
]
WILD = [
    (a_killer_is_a_success, "FALSE PASS"),
    (a_killer_is_missing, "stored as nothing"),
    (a_pass_is_a_failure, "stored as ['fail']"),
]
DROPPED = [(not_killed_before_its_next_use, "no kill came between")]
KINDS = TAME + WILD + DROPPED


def dropped(plan):
    if not plain(plan) or "kill" not in plan.optional or any(sizes for _, _, sizes in plan.tests.values()):
        return False
    plan.verbs, plan.limit = ["execute"], 1
    return True


def unnoticed(regatta):
    """The names of changes that brought no complaint, and of samples that were not as they should be."""
    found = []
    samples = ((TAME, tame, (), 0), (WILD, wild, (), 0), (DROPPED, dropped, ["drop-left-running"], 100))
    for kinds, prepare, faults, rate in samples:
        sample = Sample(regatta, prepare, faults, rate)
        if sample.complaints:
            words = "; ".join(sample.complaints)
            found.append("the sample %s (seed %d) itself: %s" % (prepare.__name__, sample.plan.seed, words))
            continue
        for change, words in kinds:
            seen = copy.deepcopy(sample.seen)
            change(seen, sample)
            complaints = check.check(sample.plan, seen, None)
            if not any(words in complaint for complaint in complaints):
                found.append("%s: %s" % (change.__name__, complaints or "no complaint"))
    return found
