"""A random project, random settings and a random interruption: all of it a function of the seed."""

import random

# A test's truth, and how often it is drawn. "once" kills its runner when it is begun for the first time, "killer" each
# time; "mute" is listed and never spoken of.
TAME = [("pass", 60), ("slow", 14), ("fail", 9), ("skip", 6), ("xfail", 4), ("uxsuccess", 3)]
WILD = TAME + [("killer", 4), ("once", 5), ("hanger", 2), ("stubborn", 1), ("flaky", 6), ("mute", 2)]

PASSING = ("pass", "slow", "once", "flaky")

NAMES = ["test_%02d", "test_%02d with blanks", "test_é%02d", "test_%02d[a-1]", "test_%02d (x: y)"]

FATAL_FIRST = ["provision:fail", "ids-then-fail"]
STREAM = ["die-before", "die-between", "die-inside", "die-in-test", "hang", "drop-0", "drop-1", "drop-255",
          "drop-left-running", "garble", "truncate", "chatter", "stay-open", "instance-dies"]


class Plan:
    """Everything about one run. `rate` and `signals`, where given, are instead of what would be drawn."""

    def __init__(self, seed, rate=None, signals=None, faults=None):
        self.seed = seed
        r = random.Random("campaign %d" % seed)
        self.concurrency = r.choice([1, 2, 2, 3, 3, 4])
        self.make_tests(r)
        self.serial = self.concurrency == 1 and not self.wild and r.random() < 0.2
        self.make_settings(r)
        self.make_chaos(r, rate, faults)
        self.make_signals(r, signals)
        self.subunit = r.random() < 0.4
        self.make_history(r)
        if self.hangs():
            self.settings["no_output_timeout"] = "1"
        self.limits = {key: float(self.settings[key]) if key in self.settings else None
                       for key in ("test_timeout", "no_output_timeout")}

    def make_tests(self, r):
        count = r.choice([r.randint(5, 20), r.randint(5, 60)])
        self.wild = r.random() < 0.6
        kinds, weights = zip(*(WILD if self.wild else TAME))
        groups = r.randint(1, max(1, count // 4))
        self.tests = {}
        for n in range(count):
            test = "pkg.mod%d.Case.%s" % (r.randrange(groups), r.choice(NAMES) % n)
            kind = r.choices(kinds, weights)[0]
            pause = r.choice([0.01, 0.02, 0.04]) if kind == "slow" else r.choice([0, 0, 0, 0.002])
            sizes = [r.choice([0, 1, 50, 200, 3000]) for _ in range(r.choice([0, 0, 0, 1, 2]))]
            if r.random() < 0.01:
                sizes.append(r.choice([20_000, 100_000]))
            self.tests[test] = (kind, pause, sizes)
        # Each of these costs seconds.
        for dear, most in (("hanger", 1), ("stubborn", 1), ("killer", 3)):
            for test in [test for test in self.tests if self.tests[test][0] == dear][most:]:
                self.tests[test] = ("pass", 0, [])
        self.order = list(self.tests)
        r.shuffle(self.order)
        self.group_regex = r.choice([None, r"pkg\.mod\d+", r"([^\.]+\.)+"])
        self.stamps, self.text, self.stderr = (r.random() < 0.5 for _ in range(3))
        self.failure_status = r.choice([0, 1, 1, 3])

    def make_settings(self, r):
        s = self.settings = {"grace": "0.3", "schedule": r.choice(["static", "dynamic", "dynamic", "dynamic"])}
        for key, values in (("lost_limit", ["1", "2", "3"]), ("replace_limit", ["0", "1", "2", "5"]),
                            ("retries", ["0", "1", "2"]), ("instance_ids", ["at_end", "streamed"]),
                            ("instance_release", ["end", "early"]), ("not_run", ["warn", "fail"])):
            if r.random() < 0.5:
                s[key] = r.choice(values)
        for key in ("test_timeout", "no_output_timeout"):
            if r.random() < 0.2:
                s[key] = r.choice(["1", "1.5"])
        self.optional = [verb for verb in ("ready", "check", "kill", "fence", "collect") if r.random() < 0.4]
        kinds = [kind for kind, _, _ in self.tests.values()]
        if "hanger" in kinds or "stubborn" in kinds:
            # Each attempt takes a second, and three more where the runner has to be killed.
            s["lost_limit"] = "1" if "stubborn" in kinds else r.choice(["1", "2"])
        # Half of them as options.
        self.as_options = [key for key in s if r.random() < 0.5]

    def make_chaos(self, r, rate, faults):
        self.rate = r.choice([0, 5, 15, 30, 60]) if rate is None else rate
        self.limit = r.randint(1, 8)
        self.pause = r.choice([0.02, 0.1, 0.3]) if r.random() < 0.95 else 3.5
        verbs = ["execute", "ready", "check", "kill", "collect"]
        verbs += [verb for verb, chance in (("provision", 0.3), ("dispose", 0.15), ("listing", 0.08)) if r.random() < chance]
        self.verbs = verbs
        chosen = faults or (STREAM if r.random() < 0.6 else r.sample(STREAM, r.randint(1, 4)))
        others = ["too-few", "too-many", "repeated", "provision:slow", "ready:slow", "check-lies-dead", "kill-fails",
                  "dispose-fails", "dispose-half", "dispose-late", "collect-fails"]
        fatal = FATAL_FIRST if r.random() < 0.3 else []
        # A listing has no limit in time.
        self.faults = ["execute:" + fault if fault == "hang" else fault for fault in chosen]
        self.faults += [] if faults else others + fatal
        self.slow_kill = r.random() < 0.1
        if self.serial:
            self.rate = 0

    def make_signals(self, r, signals):
        drawn = r.random()
        names = ["INT"] if drawn < 0.08 else ["TERM"] if drawn < 0.14 else ["TERM", "INT"] if drawn < 0.17 else \
            ["HUP"] if drawn < 0.18 else ["KILL"] if drawn < 0.28 else ["INT"] * 3 if drawn < 0.3 else []
        self.signals = names if signals is None or (names and names[0] in signals) else []
        # The moment: a file of the run has so many lines, or some time has gone.
        self.moment = r.choice([("runner.log", r.randint(1, 40)), ("runner.log", r.randint(1, 8)),
                                ("batches", r.randint(1, 5)), ("chaos/calls", r.randint(1, 12)),
                                ("chaos/log", r.randint(1, 3)), (None, r.uniform(0, 0.5))])
        self.between = r.uniform(0, 0.1)
        # Whoever recovers what was left may be killed as well.
        self.kill_recovery = r.uniform(0, 0.15) if r.random() < 0.3 else None

    def make_history(self, r):
        """What failed in the run before, and is perhaps not there any more."""
        self.before = sorted(r.sample(self.order, min(len(self.order), r.randint(0, 4))))
        if r.random() < 0.3:
            self.before.append("pkg.gone.test_gone")

    def hangs(self):
        """Whether something may hang that only a silence tells."""
        if any(kind in ("hanger", "stubborn") for kind, _, _ in self.tests.values()):
            return True
        return self.rate > 0 and any(fault.endswith("hang") for fault in self.faults)

    def for_runner(self):
        return {"tests": self.tests, "order": self.order, "stamps": self.stamps, "text": self.text, "stderr": self.stderr,
                "failure_status": self.failure_status}

    def arguments(self):
        words = ["run", "--parallel", "--concurrency", str(self.concurrency)]
        words += ["--subunit"] if self.subunit else []
        for key in self.as_options:
            words += ["--" + key.replace("_", "-"), self.settings[key]]
        # A filter forces a listing, and with it the accounting.
        return words + (["."] if self.concurrency == 1 and not self.serial else [])

    def conf(self, python, tools):
        hand = "%s/hand $INSTANCE_ID $FILES -- $COMMAND" % tools
        chaos = "%s/chaos" % tools
        lines = ["[DEFAULT]", "test_command=%s -ISE %s/runner.py $LISTOPT $IDOPTION" % (python, tools),
                 "test_id_option=--load-list $IDFILE", "test_list_option=--list",
                 "instance_provision=%s provision $INSTANCE_COUNT" % chaos, "instance_execute=" + hand,
                 "instance_dispose=%s dispose $INSTANCE_IDS" % chaos]
        for verb in self.optional:
            words = "$INSTANCE_ID $DEST" if verb == "collect" else "$INSTANCE_ID"
            lines.append("instance_%s=%s %s %s" % (verb, chaos, verb, words))
        if self.group_regex:
            lines.append("group_regex=" + self.group_regex.replace("%", "%%"))
        lines += ["%s=%s" % (key, value) for key, value in self.settings.items() if key not in self.as_options]
        return "\n".join(lines) + "\n"

    def words(self):
        """What is special about it, in short."""
        words = ["%d tests" % len(self.tests), "concurrency %d%s" % (self.concurrency, " serial" if self.serial else "")]
        words.append(" ".join("%s=%s" % item for item in sorted(self.settings.items())))
        words.append("rate %d limit %d" % (self.rate, self.limit))
        words.append("callouts: " + (" ".join(self.optional) or "none"))
        if self.signals:
            words.append("signals %s at %s %s" % (" ".join(self.signals), *self.moment))
        return ", ".join(words)
