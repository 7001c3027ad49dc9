"""A random history: the commands that are given to both tools, one after the other."""

import re


class Step:
    """One command. `extra` are regatta's own options; `set_order` when testr sends ids through a set; `dynamic` when the
    schedule is regatta's own."""

    def __init__(self, args, stdin=b"", files=None, extra=()):
        self.args, self.stdin, self.files, self.extra = args, stdin, files or {}, list(extra)
        self.set_order = "--load-list" in args
        self.parallel = "--parallel" in args
        self.dynamic = False

    def has(self, *options):
        return any(option in self.args for option in options)

    @property
    def command(self):
        return self.args[0]


def stream(project):
    """What a runner could have said, for `load`."""
    rng, suite = project.rng, project.suite
    ids = rng.sample(project.ids, rng.randint(0, len(project.ids)))
    blobs = [rng.choice(suite["tests"][id]["variants"]) for id in ids]
    if rng.random() < 0.1:
        blobs.append(b"not subunit at all\n".hex())
        project.features.add("load of text")
    return bytes.fromhex("".join(blobs))


def filters(project):
    rng = project.rng
    pool = ["pkg", "alpha", r"_\d$", "^single", "test_(add|get)", "nothing.matches", "(?!.*alpha)^pkg", "T", r"\w+\.\w+"]
    if project.ids:
        pool.append(re.escape(rng.choice(project.ids)))
    return rng.sample(pool, rng.choice([1, 1, 2]))


def load_list(project, n):
    rng = project.rng
    ids = rng.sample(project.ids, rng.randint(0, len(project.ids))) + rng.choice([[], ["gone.1"], [""]])
    ids += ids[:1]
    rng.shuffle(ids)
    return "".join("%s%s\n" % (rng.choice(["", " "]) if id else "", id) for id in ids).encode()


def run(project, n, chosen):
    rng, args, files, extra = project.rng, ["run"], {}, ["--schedule", "static"]
    # Not made, since testr does something else than it says: --isolated with a filter (an empty run is stored for each test
    # that the filter does not want) or with --failing or --load-list (all tests are run); --until-failure with --subunit, with
    # nothing to run, or with --isolated (never ends); --parallel with --analyze-isolation (the pair is split over workers).
    modes = ["plain"] * 6 + ["failing", "load-list", "filter", "filter", "isolated", "until-failure"]
    mode = rng.choice(modes)
    if mode == "until-failure" and (not project.ids or project.instances or project.suite["listing_exit"]):
        mode = "plain"
    if mode == "isolated" and project.instances:
        mode = "plain"
    if project.victim and n and rng.random() < 0.4 and not project.instances:
        mode = "analyze-isolation"
    parallel = mode != "analyze-isolation" and rng.random() < 0.5
    if project.instances and mode in ("failing", "load-list") and rng.random() < 0.8:
        parallel = False
    if parallel:
        args.append("--parallel")
        if rng.random() < 0.7:
            args += [["--concurrency", "%d"], ["--concurrency=%d"]][rng.randint(0, 1)]
            args = [a % rng.randint(1, 5) if "%d" in a else a for a in args]
    if mode in ("failing", "isolated", "until-failure", "analyze-isolation"):
        args.append("--" + mode)
    if mode == "load-list" or mode == "failing" and rng.random() < 0.3:
        files["list-%d" % n] = load_list(project, n)
        args += ["--load-list", "list-%d" % n]
    if mode not in ("isolated", "until-failure") and rng.random() < 0.15:
        args.append("--partial")
    if mode not in ("until-failure", "analyze-isolation") and rng.random() < 0.13:
        args.append("--subunit")
    if rng.random() < 0.1:
        args.append("-q")
    if rng.random() < 0.05:
        args.append("--full-results")
    if mode == "filter" or mode in ("failing", "load-list") and rng.random() < 0.2:
        args += filters(project)
        chosen.add("filters")
    if rng.random() < 0.08:
        args += ["--", "--verbose", "x=1"]
        chosen.add("-- args")
    if not project.ids and rng.random() < 0.5:
        extra += ["--no-tests", "pass"]
    chosen.update(a.split("=")[0] for a in args if a.startswith("--") and a not in ("--", "--verbose"))
    if project.instances:
        chosen.add("run on instances")
    return Step(args, files=files, extra=extra)


def load(project, n, chosen):
    rng, args, files, stdin = project.rng, ["load"], {}, b""
    if rng.random() < 0.4:
        args.append("--partial")
    if rng.random() < 0.15:
        args.append("--subunit")
    if rng.random() < 0.6:
        stdin = stream(project)
    else:
        for k in range(rng.randint(1, 3)):
            files["stream-%d-%d" % (n, k)] = stream(project)
        args += files
        chosen.add("load FILE")
    chosen.add("load")
    return Step(args, stdin, files)


def history(project):
    """Two to six commands, after the repository was made."""
    rng, chosen, steps = project.rng, set(), []
    first = rng.random()
    if first < 0.9:
        steps.append(Step(["init"]))
    made = first < 0.9
    for n in range(rng.randint(2, 6)):
        kind = rng.random()
        if n == 0 and kind < 0.85 or kind < 0.55:
            step = run(project, n, chosen)
        elif kind < 0.7:
            step = load(project, n, chosen)
        else:
            args = rng.choice([["last"], ["last"], ["last", "--subunit"], ["failing"], ["failing", "--list"], ["failing", "--subunit"],
                               ["slowest"], ["slowest", "--all"], ["stats"], ["list-tests"]])
            if args[0] == "list-tests" and rng.random() < 0.5:
                args = args + filters(project)
            if rng.random() < 0.08:
                args = args + ["-q"]
            step = Step(args)
            chosen.add(" ".join(a for a in args[:2] if a.startswith(("-", args[0]))))
        if not made and step.command in ("run", "load") and rng.random() < 0.9:
            step.args.insert(1, "--force-init")
            made = True
        steps.append(step)
    project.here = rng.random() < 0.1
    if project.here:
        chosen.add("-d")
        for step in steps:
            where = step.args.index("--") if "--" in step.args else len(step.args)
            step.args[where:where] = [["-d", "proj"], ["--here=proj"]][rng.randint(0, 1)]
    project.features |= chosen
    return steps
