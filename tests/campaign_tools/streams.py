"""Reading what was written: subunit v2 as far as is needed, and stored runs (v1)."""

STATUS = [None, "exists", "inprogress", "success", "uxsuccess", "skip", "fail", "xfail"]

# The words of a stored run, as the statuses of v2.
WORDS = {"successful": "success", "success": "success", "failure": "fail", "error": "fail", "skip": "skip", "xfail": "xfail",
         "uxsuccess": "uxsuccess"}


def number(data, at):
    """A number, and where it ends."""
    size = (data[at] >> 6) + 1
    value = data[at] & 0x3F
    for byte in data[at + 1:at + size]:
        value = value << 8 | byte
    return value, at + size


def packets(data):
    """The packets of a stream, as callouts/chaos finds them: (start, end, status, id). What is none is passed over."""
    at, found = 0, []
    while len(data) - at >= 7:
        if data[at] != 0xB3:
            at = data.find(b"\xb3", at)
            if at < 0:
                break
            continue
        length, _ = number(data, at + 3)
        if length < 8:
            at += 1
            continue
        if at + length <= len(data):
            found.append((at, at + length, STATUS[data[at + 2] & 7], identity(data, at)))
        at += length
    return found


def identity(data, at):
    flags = data[at + 1] << 8 | data[at + 2]
    if not flags & 0x0800:
        return None
    _, place = number(data, at + 3)
    if flags & 0x0200:
        _, place = number(data, place + 4)
    size, place = number(data, place)
    return data[place:place + size].decode("utf8", "replace")


class Delivered:
    """What came through of a runner's stream: finals {id: [status, ...]}, and begun, the tests that are still in progress."""

    def __init__(self, stream, fault, details, tests):
        found = packets(stream)
        self.torn = False
        self.garbled = None
        count = len(found)
        if fault == "die-before":
            count = 0
        elif fault in ("die-between", "die-inside"):
            count = min(count, int(details["packets"]))
            self.torn = fault == "die-inside"
        elif fault == "die-in-test":
            count = after(found, int(details["test"]), ["inprogress"])
        elif fault == "truncate":
            count = after(found, tests, STATUS[3:])
            if count and [status in STATUS[3:] for _, _, status, _ in found].count(True) >= tests:
                count, self.torn = count - 1, True
        elif fault and "bytes" in details:
            most = int(details["bytes"])
            count = sum(end <= most for _, end, _, _ in found)
            self.torn = any(start < most < end for start, end, _, _ in found)
        if fault == "garble" and int(details["packets"]) < len(found):
            self.garbled = int(details["packets"])
        self.finals, begun = {}, []
        self.packets = count
        for n, (_, _, status, test) in enumerate(found[:count]):
            if n == self.garbled or test is None:
                continue
            if status in STATUS[3:]:
                self.finals.setdefault(test, []).append(status)
            elif test not in begun:
                begun.append(test)
        self.begun = {test for test in begun if test not in self.finals}


def after(found, wanted, statuses):
    """How many packets there are up to the one that has one of these statuses for the last time wanted."""
    for n, (_, _, status, _) in enumerate(found):
        wanted -= status in statuses
        if wanted <= 0:
            return n + 1
    return len(found)


def stored(data):
    """The outcomes of a stored run, in order: (id, status), and for each a list of its files (name, bytes)."""
    outcomes, at = [], 0
    while at < len(data):
        line, at = take_line(data, at)
        word, _, rest = line.partition(": ")
        if word not in WORDS:
            continue
        files = []
        if rest.endswith(" [ multipart"):
            rest = rest[:-len(" [ multipart")]
            files, at = multipart(data, at)
        elif rest.endswith(" ["):
            raise ValueError("an outcome whose details are no multipart: %r" % line)
        outcomes.append((rest, WORDS[word], files))
    return outcomes


def take_line(data, at):
    end = data.find(b"\n", at)
    end = len(data) if end < 0 else end
    return data[at:end].decode("utf8", "replace"), end + 1


def multipart(data, at):
    files = []
    while True:
        line, at = take_line(data, at)
        if line == "]":
            return files, at
        if not line.startswith("Content-Type: "):
            raise ValueError("no Content-Type in a multipart, but %r" % line)
        name, at = take_line(data, at)
        content = b""
        while True:
            size, at = take_line(data, at)
            if size == "0\r":
                break
            size = int(size, 16)
            content += data[at:at + size]
            at += size
        files.append((name, content))
