"""The suite and the callouts of a case. Installed with a line that names the interpreter as `suite` and `callout`.

  suite [--list] [--load-list FILE] [--ids ID...] [ARG...]      plays $DIFF_PLAN
  callout provision N | execute ID [FILE...] -- COMMAND... | dispose ID... | concurrency
Each call is a line in $DIFF_LOG.
"""
import json
import os
import signal
import sys

LOG, STEP = os.environ.get("DIFF_LOG"), int(os.environ.get("DIFF_STEP", 0))


def log(**record):
    record["step"] = STEP
    fd = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(fd, (json.dumps(record) + "\n").encode())
    os.close(fd)


def logged():
    try:
        with open(LOG, encoding="utf8") as f:
            return [json.loads(line) for line in f]
    except FileNotFoundError:
        return []


def emit(data):
    sys.stdout.flush()
    while data:
        data = data[os.write(1, data):]


def read_list(path):
    with open(path, encoding="utf8") as f:
        return [line for line in f.read().split("\n") if line]


def said(plan, ids, which, died):
    """The stdout of a runner that was given these ids, and took these variants of them as far as it came."""
    tests = plan["tests"]
    blobs = [plan["unknown"].get(id, "") if n is None else tests[id]["variants"][n] for id, n in zip(ids, which)]
    return bytes.fromhex("".join([plan["before"]] + blobs + [plan["after"]] * (not died)))


def suite(plan, argv):
    tests = plan["tests"]
    args, listing, given, file = list(argv), False, None, None
    if "--list" in args:
        args.remove("--list")
        listing = True
    if "--load-list" in args:
        at = args.index("--load-list")
        file = args[at + 1]
        given = read_list(file)
        del args[at:at + 2]
    if "--ids" in args:
        args.remove("--ids")
        given = given or []
    words = [a for a in args if a not in ("--verbose", "x=1")] if plan["idlist"] else []
    if words and not listing:
        given = (given or []) + words
    chosen = given if given is not None else plan["order"]
    before = [r for r in logged() if r["k"] == "suite" and r["step"] == STEP and not r["listing"]]
    which, failed, die = [], False, None
    for n, id in enumerate(chosen):
        test = tests.get(id)
        if test is None:
            which.append(None)
            continue
        again = sum(r["ids"].count(id) for r in before)
        variant = (STEP + again) % len(test["variants"])
        if "after" in test:
            variant = int(test["after"] in chosen[:n])
        which.append(variant)
        failed = failed or test["fails"][variant]
        die = test.get("die")
        if die:
            break
    present = plan["present"] or any(tests[i]["present"] for i in chosen if i in tests) or die is not None
    # However often --until-failure asks, it ends.
    often = chosen and sum(r["ids"].count(chosen[0]) for r in before) >= 3
    end = (1 if failed else 0) if plan["exit"] == "failed" else plan["exit"]
    end = plan["listing_exit"] if listing else (-die[1] if die[0] == "signal" else die[1]) if die else 9 if often else end
    stdin = "end" if os.read(0, 1) == b"" else "more"
    log(k="suite", listing=listing, argv=argv, ids=[] if listing else chosen, file=file is not None, stdin=stdin,
        instance=os.environ.get("DIFF_INSTANCE"), cwd=os.getcwd(), present=present and not listing,
        which=which, died=die is not None, end=end)
    sys.stderr.write(plan["stderr"])
    sys.stderr.flush()
    if listing:
        emit(bytes.fromhex(plan["listing"]))
        return end
    emit(said(plan, chosen, which, die is not None))
    if end < 0:
        os.kill(os.getpid(), -end)
        signal.pause()
    return end


def callout(plan, argv):
    verb, args = argv[0], argv[1:]
    conf = plan["callouts"]
    if verb == "concurrency":
        log(k=verb, cwd=os.getcwd())
        sys.stdout.write(conf["concurrency"])
        return 0
    if verb == "provision":
        earlier = [r for r in logged() if r["k"] == verb]
        calls = sum(r["step"] == STEP for r in earlier)
        count = int(args[0]) + (conf["first"] if calls == 0 else 0)
        start = sum(len(r["made"]) for r in earlier if r["step"] == STEP)
        # No text order is the order of making.
        made = ["%s-%d-%d" % ("zyxw"[(start + n) % 4], STEP, start + n) for n in range(max(count, 1))]
        log(k=verb, args=args, made=made, cwd=os.getcwd())
        sys.stdout.write(conf["between"].join(made) + "\n")
        return conf["provision_exit"] if calls == conf["provision_fails_at"] else 0
    if verb == "execute":
        at = args.index("--")
        instance, files, command = args[0], args[1:at], args[at + 1:]
        log(k=verb, instance=instance, lists=[read_list(f) for f in files], command=command, cwd=os.getcwd())
        if conf["execute_exit"] and "--list" not in command:
            return conf["execute_exit"]
        os.environ["DIFF_INSTANCE"] = instance
        os.execvp(command[0], command)
    log(k=verb, args=args, cwd=os.getcwd())
    return conf["dispose_exit"] if verb == "dispose" else 64


if __name__ == "__main__":
    with open(os.environ["DIFF_PLAN"], encoding="utf8") as f:
        PLAN = json.load(f)
    sys.exit((suite if os.path.basename(sys.argv[0]) == "suite" else callout)(PLAN, sys.argv[1:]))
