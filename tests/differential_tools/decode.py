"""Streams and stored runs into rows, read by python-subunit and testtools whichever tool wrote them."""

import datetime
import functools
import io

import subunit
import testtools

from .packets import EPOCH

# Stamps behind this are of the present, and say nothing.
VIRTUAL = datetime.datetime.fromtimestamp(EPOCH + 10_000_000, datetime.timezone.utc)


def stamp(time):
    if time is None:
        return None
    return "now" if time > VIRTUAL else time.isoformat()


@functools.lru_cache(512)
def stored(data):
    """Rows of a stored run, in its order: (id, status, tags, {file: (type, text)}, start, stop)."""
    rows = []

    def take(test):
        details = {}
        for name, content in sorted(test["details"].items()):
            details[name] = [repr(content.content_type), b"".join(content.iter_bytes()).decode("utf8", "backslashreplace")]
        rows.append([test["id"], test["status"], sorted(test["tags"]), details] + [stamp(t) for t in test["timestamps"]])

    result = testtools.ExtendedToStreamDecorator(testtools.StreamToDict(take))
    result.startTestRun()
    try:
        subunit.ProtocolTestCase(io.BytesIO(data), passthrough=io.BytesIO()).run(result)
    except Exception as error:
        rows.append(["UNREADABLE", type(error).__name__, [], {}, None, None])
    result.stopTestRun()
    return rows


class Events(testtools.StreamResult):
    """All events of a stream."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def status(self, test_id=None, test_status=None, test_tags=None, runnable=True, file_name=None, file_bytes=None,
               eof=False, mime_type=None, route_code=None, timestamp=None):
        self.rows.append(dict(id=test_id, status=test_status, tags=sorted(test_tags or ()), runnable=runnable, file=file_name,
                              data=bytes(file_bytes or b""), eof=eof, mime=mime_type, route=route_code, at=stamp(timestamp)))


def packets(data):
    """A stream on stdout: its events, and the text between them."""
    events = Events()
    subunit.ByteStreamToStreamResult(io.BytesIO(data), non_subunit_name="\0between").run(events)
    loose = b"".join(e["data"] for e in events.rows if e["file"] == "\0between")
    return [e for e in events.rows if e["file"] != "\0between"], loose.decode("utf8", "backslashreplace")
