"""Subunit v2 packets, written by hand so that a runner can say anything."""

import struct
import zlib

STATUS = {None: 0, "exists": 1, "inprogress": 2, "success": 3, "uxsuccess": 4, "skip": 5, "fail": 6, "xfail": 7}

# The start of the virtual time that runners live in: nothing of the present can be mistaken for it.
EPOCH = 1_500_000_000


def number(n):
    """A length or count as subunit writes it."""
    if n < 1 << 6:
        return bytes([n])
    if n < 1 << 14:
        return struct.pack(">H", n | 0x4000)
    if n < 1 << 22:
        return struct.pack(">I", n | 0x800000)[1:]
    return struct.pack(">I", n | 0xC0000000)


def text(s):
    raw = s.encode("utf8")
    return number(len(raw)) + raw


def packet(id=None, status=None, at=None, tags=None, file=None, eof=False, route=None, runnable=True):
    """One event. `at` is seconds after EPOCH; `file` is (name, type or None, bytes)."""
    flags, body = 0x2000 | STATUS[status], b""
    if at is not None:
        flags |= 0x0200
        micros = round((EPOCH + at) * 1_000_000)
        body += struct.pack(">I", micros // 1_000_000) + number(micros % 1_000_000 * 1000)
    if id is not None:
        flags |= 0x0800
        body += text(id)
    if tags:
        flags |= 0x0080
        body += number(len(tags)) + b"".join(text(t) for t in tags)
    if file is not None:
        name, mime, content = file
        if mime is not None:
            flags |= 0x0020
            body += text(mime)
        flags |= 0x0040
        body += text(name) + number(len(content)) + content
    if route is not None:
        flags |= 0x0400
        body += text(route)
    if eof:
        flags |= 0x0010
    if runnable:
        flags |= 0x0100
    for width in (1, 2, 3):
        length = 1 + 2 + width + len(body) + 4
        if len(number(length)) == width:
            break
    head = b"\xb3" + struct.pack(">H", flags) + number(length)
    return head + body + struct.pack(">I", zlib.crc32(head + body))
