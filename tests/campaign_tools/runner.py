"""The test runner of a run: speaks subunit v2, written by hand, and behaves as the plan has it.

  runner.py --list | --load-list FILE | (all tests)

What it wrote goes to streams/NAME in $REGATTA_CAMPAIGN as well, and a line per event to its runner.log:
  NAME EVENT TEST STATUS TIME, parted by tabs; EVENT is start, begin, end, crash, term or exit.
An "end" stands there before the result is written. Modules that take long to import are avoided.
"""
import _signal
import binascii
import marshal
import os
import sys
import time

STATUS = {None: 0, "exists": 1, "inprogress": 2, "success": 3, "uxsuccess": 4, "skip": 5, "fail": 6, "xfail": 7}
HOME, LOG, NAME = "", -1, "-"


def log(event, test="", status=""):
    os.write(LOG, ("%s\t%s\t%s\t%s\t%.4f\n" % (NAME, event, test, status, time.time())).encode())


def number(n):
    if n < 1 << 6:
        return bytes([n])
    if n < 1 << 14:
        return (n | 0x4000).to_bytes(2, "big")
    return (n | 0x800000).to_bytes(3, "big")


def text(s):
    raw = s.encode() if isinstance(s, str) else s
    return number(len(raw)) + raw


def packet(test, status=None, file=None, tags=(), stamp=False):
    flags, body = 0x2800 | 0x0100 | STATUS[status], b""
    if stamp:
        flags |= 0x0200
        now = time.time()
        # The nanoseconds in four bytes, however few they are.
        body += int(now).to_bytes(4, "big") + (int(now % 1 * 1e9) | 0xC0000000).to_bytes(4, "big")
    body += text(test)
    if tags:
        flags |= 0x0080
        body += number(len(tags)) + b"".join(text(tag) for tag in tags)
    if file:
        flags |= 0x0060
        body += text(file[1]) + text(file[0]) + number(len(file[2])) + file[2]
    for width in (1, 2, 3):
        length = 7 + width + len(body)
        if len(number(length)) == width:
            break
    head = b"\xb3" + flags.to_bytes(2, "big") + number(length)
    return head + body + binascii.crc32(head + body).to_bytes(4, "big")


def content(size, seed):
    """Bytes of all kinds, also those that begin packets, and sometimes a whole packet of a test that there is not."""
    block = bytes((seed * 31 + n * n + n * 7) & 0xFF for n in range(min(size, 256))) or b""
    inner = packet("inner.%d" % seed, "success") if seed % 3 == 0 else b""
    return (inner + block * (size // max(len(block), 1) + 1))[:size]


class Out:
    """stdout, and the copy of it; the copy first."""

    def __init__(self):
        os.makedirs(HOME + "/streams", exist_ok=True)
        self.copy = os.open(HOME + "/streams/" + NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def put(self, data):
        os.write(self.copy, data)
        while data:
            data = data[os.write(1, data):]


def attempts(test):
    """How often this test has begun, on any instance."""
    size = os.fstat(LOG).st_size
    return os.pread(LOG, size, 0).count(("\tbegin\t%s\t" % test).encode())


def play(out, test, plan, number):
    kind, pause, sizes = plan["tests"][test]
    before = attempts(test)
    log("begin", test)
    out.put(packet(test, "inprogress", stamp=plan["stamps"], tags=["unit"] if number % 5 == 0 else ()))
    if pause:
        time.sleep(pause)
    if plan["text"] and number % 4 == 0:
        out.put(b"a line of text\n")
    for n, size in enumerate(sizes):
        # Real testr cannot show what calls itself UTF-8 and is not.
        kind_of_file = "text/plain;charset=latin-1" if size % 3 else "x/y"
        out.put(packet(test, file=("log%d" % n, kind_of_file, content(size, number + n))))
    if plan["stderr"] and number % 3 == 0:
        os.write(2, b"%s says something \xff\n" % test.encode())
    if kind == "killer" or (kind == "once" and before == 0):
        log("crash", test)
        os.kill(os.getpid(), 9)
    if kind in ("hanger", "stubborn"):
        if kind == "stubborn":
            _signal.signal(15, _signal.SIG_IGN)
        while True:
            time.sleep(60)
    status = {"slow": "success", "pass": "success", "once": "success"}.get(kind, kind)
    if kind == "flaky":
        status = "fail" if before == 0 else "success"
    log("end", test, status)
    file = ("traceback", "text/plain;charset=utf8", b"it failed\n") if status == "fail" else None
    out.put(packet(test, status, file=file, stamp=plan["stamps"]))
    return status


def main():
    global HOME, LOG, NAME
    HOME = os.environ["REGATTA_CAMPAIGN"]
    LOG = os.open(HOME + "/runner.log", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with open(HOME + "/plan", "rb") as f:
        plan = marshal.load(f)
    if "--list" in sys.argv:
        os.write(1, b"".join(packet(test, "exists") for test in plan["order"]))
        return 0
    chosen = plan["order"]
    if "--load-list" in sys.argv:
        path = sys.argv[sys.argv.index("--load-list") + 1]
        NAME = os.path.basename(path)
        with open(path, encoding="utf8") as f:
            chosen = [line for line in f.read().split("\n") if line]

    def term(*_):
        log("term")
        os._exit(143)

    _signal.signal(15, term)
    log("start")
    out = Out()
    failed = False
    for number, test in enumerate(chosen):
        if plan["tests"][test][0] != "mute":
            failed |= play(out, test, plan, number) == "fail"
    status = plan["failure_status"] if failed else 0
    log("exit", "", str(status))
    return status


if __name__ == "__main__":
    os._exit(main())
