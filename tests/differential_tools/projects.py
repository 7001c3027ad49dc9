"""A random project: its tests, its runner's manners, its `.testr.conf`."""

from .packets import packet

PLAIN = ["test_add", "test_get", "test_put", "test_zero", "test_long_name_of_a_test", "t", "Test.x", "a_b-c", "0"]
ODD = ["test with spaces", "tést.ünï", "日本.テスト", "emoji 🎉", "sh.$HOME;`x`", "it's \"quoted\"", "star*?[x]", "a&b|c<d>",
       "back\\slash", "%(percent)s %d", "tag: x", "test: y", "success: z", "(param=1, other='two')", "#hash", "-dash", "a,b"]
MODULES = ["pkg.alpha", "pkg.beta", "pkg.gamma", "other.alpha", "single"]
TAGS = ["slow", "net", "db", "worker-9", "größe", "layer"]
STATUSES = ["success"] * 24 + ["fail"] * 6 + ["skip"] * 3 + ["xfail"] * 2 + ["uxsuccess"] * 2 + ["hangs", "exists", "silent"]
LOGS = ["one line", "two\nlines\n", "\n\nblank lines around\n\n", "ünïcode ☃\n", "", "  leading blanks\n", "]\nbracket\n",
        "time: 2020-01-01 00:00:00Z\nsuccess: no\n", "tab\there\r\ncarriage\r\n", "x" * 300, "0\r\n\r\n"]
UTF8 = ["text/plain;charset=utf8", "text/plain; charset=utf-8", "text/x-log;charset=\"utf8\"",
        "text/x-traceback;charset=\"utf8\";language=\"python\""]
NAMES = ["log", "stdout", "my log", "größe", "reason2", "pythonlogging:'root'", "a" * 40]
NOISE = [b"some text\n", b"no line end", "ünïcode text ☃\n".encode(), b"\xff\xfe not utf8\n", b"\x00nul\n", b"a\nb\nc\n"]


class Project:
    """What was decided, the plan for the suite, and the configuration."""

    def __init__(self, rng):
        self.rng, self.features = rng, set()
        self.began_and_exists = set()
        few = rng.random()
        count = 0 if few < 0.015 else rng.randint(1, 4) if few < 0.25 else rng.randint(4, 14)
        self.idlist = self.chance(0.12, "IDLIST")
        self.stamps = rng.choices(["all", "some", "none"], [88, 8, 4])[0]
        if self.stamps != "all":
            self.features.add("stamps missing")
        self.attaches, self.tagged = rng.random() < 0.7, rng.random() < 0.5
        self.noisy = self.chance(0.18, "text between packets")
        self.routed = self.chance(0.1, "routes already there")
        self.clock = 0.0
        self.ids = self.some_ids(count)
        self.plan()
        self.conf()

    def chance(self, p, feature):
        hit = self.rng.random() < p
        if hit:
            self.features.add(feature)
        return hit

    def some_ids(self, count):
        rng, found = self.rng, []
        while len(found) < count:
            leaf = rng.choice(PLAIN if self.idlist or rng.random() < 0.8 else ODD)
            id = leaf if rng.random() < 0.1 else "%s.%s" % (rng.choice(MODULES), leaf)
            if rng.random() < 0.6:
                id += "_%d" % rng.randint(0, 30)
            if self.idlist:
                id = id.replace("-", "_")
            if id not in found and not id.startswith("-"):
                found.append(id)
            if not id.isascii() or " " in id:
                self.features.add("odd ids")
        return found

    def files(self, status):
        """Attachments, each as pieces of (name, type, bytes)."""
        rng, made = self.rng, []
        if status == "fail" and rng.random() < 0.8:
            made.append(("traceback", rng.choice(UTF8), ("Traceback:\n  %s\nError: %d\n" % (rng.choice(LOGS).strip(), rng.randint(0, 9))).encode()))
        if status == "skip" and rng.random() < 0.7:
            self.features.add("reason")
            made.append(("reason", rng.choice(UTF8), rng.choice(["not here", "needs\ntwo lines", "größe"]).encode()))
        if self.attaches:
            for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 3])):
                self.features.add("attachments")
                name, kind = rng.choice(NAMES), rng.random()
                if name in [m[0] for m in made] or kind >= 0.95 and "" in [m[0] for m in made]:
                    continue
                if kind < 0.6:
                    made.append((name, rng.choice(UTF8), rng.choice(LOGS).encode()))
                elif kind < 0.7:
                    made.append((name, "text/plain", "latin é\n".encode("latin-1")))
                elif kind < 0.8:
                    made.append((name, None, bytes(rng.randrange(256) for _ in range(40))))
                    self.features.add("binary")
                elif kind < 0.95:
                    made.append((name, rng.choice(["image/png", "application/json", "application/x-y;a=1;b=\"2\""]), bytes(range(7, 40))))
                    self.features.add("binary")
                else:
                    made.append(("", rng.choice(UTF8), b"without a name\n"))
                    self.features.add("file without name")
        return made

    def pieces(self, file):
        name, mime, content = file
        parts = self.rng.choice([1, 1, 1, 2, 3])
        size = max(1, -(-len(content) // parts))
        cut = [content[n:n + size] for n in range(0, len(content), size)] or [b""]
        if len(cut) > 1:
            self.features.add("files in chunks")
        if not content:
            self.features.add("empty file")
        return [((name, mime, part), n == len(cut) - 1) for n, part in enumerate(cut)]

    def at(self, now):
        missing = {"all": 0, "some": 0.4, "none": 1}[self.stamps]
        if missing and self.rng.random() < missing:
            self.present = True
            return None
        return now

    def events(self, id, status, route=None):
        """The packets of one test, as bytes."""
        rng = self.rng
        start = self.clock = self.clock + rng.randint(0, 8) / 8
        length = rng.choice([0, 1, 1, 2, 3, 5, 8, 13, 40, 800]) / 8
        if rng.random() < 0.02:
            length = -length
            self.features.add("clock goes back")
        tags = rng.sample(TAGS, rng.randint(1, 2)) if self.tagged and rng.random() < 0.5 else None
        said = []
        if status in ("hangs", "success", "fail") and rng.random() < 0.92 or status == "hangs" or rng.random() < 0.7:
            early = tags
            if self.tagged and rng.random() < 0.2:
                early = rng.sample(TAGS, 1)
                self.features.add("tags change")
            said.append(packet(id, "inprogress", self.at(start), early, route=route))
        if status == "exists" and rng.random() < 0.95:
            said = []
        final = None
        for file in self.files(status) if status != "exists" or said else []:
            pieces = self.pieces(file)
            if rng.random() < 0.15 and status not in ("hangs", "silent") and len(pieces) == 1 and final is None:
                final = pieces[0]
                continue
            for piece, eof in pieces:
                said.append(packet(id, None, self.at(start + length / 2), None, piece, eof, route))
        if status == "silent" and not said:
            said.append(packet(id, None, self.at(start), None, ("log", UTF8[0], b"only this\n"), True, route))
        if status in ("hangs", "silent"):
            self.features.add("never ends")
        else:
            piece, eof = final or (None, False)
            if status == "exists" and said:
                self.began_and_exists.add(id)
            said.append(packet(id, status, self.at(start + length), tags, piece, eof, route))
            self.features.add(status)
        self.clock = max(self.clock, start + length)
        if tags:
            self.features.add("tags")
        if self.noisy and rng.random() < 0.3:
            said.insert(rng.randint(0, len(said)), rng.choice(NOISE))
            self.present = True
        if rng.random() < 0.02:
            self.features.add("file of no test")
            said.append(packet(None, None, self.at(start), None, ("stdout", UTF8[0], b"of nobody\n"), True))
        return b"".join(said)

    def test(self, id):
        rng, variants, fails, self.present = self.rng, [], [], False
        for _ in range(rng.choice([1, 1, 2, 3])):
            status = rng.choice(STATUSES)
            route = rng.choice(["x", "y/z"]) if self.routed and rng.random() < 0.5 else None
            blob = self.events(id, status, route)
            if rng.random() < 0.03:
                self.features.add("reports twice")
                blob += self.events(id, rng.choice(STATUSES[:35]), route)
            if rng.random() < 0.03:
                self.features.add("an id not asked for")
                blob += self.events("extra.%s" % rng.choice("ab"), rng.choice(STATUSES[:35]))
            if rng.random() < 0.006:
                self.features.add("damaged packet")
                bad = bytearray(packet("damaged", "success", 0.0))
                bad[-1] ^= 0x55
                blob += bytes(bad)
                self.present = True
            variants.append(blob.hex())
            fails.append(status in ("fail", "uxsuccess"))
        return dict(variants=variants, fails=fails, present=self.present)

    def plan(self):
        rng = self.rng
        tests = {id: self.test(id) for id in self.ids}
        if self.ids and self.chance(0.05, "runner dies"):
            last = rng.choice(self.ids)
            tests[last]["die"] = rng.choice([["signal", 9], ["signal", 15], ["exit", 3], ["exit", 0]])
            if rng.random() < 0.6:
                self.features.add("runner dies in a test")
                tests[last].update(variants=[packet(last, "inprogress", self.clock).hex()], fails=[False])
        self.victim = None
        if len(self.ids) > 2 and self.chance(0.1, "a test spoils another"):
            culprit, self.victim = (self.ids[n] for n in sorted(rng.sample(range(len(self.ids)), 2)))
            present, self.present = tests[self.victim]["present"], False
            good, bad = self.events(self.victim, "success"), self.events(self.victim, "fail")
            tests[self.victim] = dict(variants=[good.hex(), bad.hex()], fails=[False, True], present=self.present or present, after=culprit)
        self.present = False
        listed = list(self.ids)
        if listed and self.chance(0.03, "listed twice"):
            listed.append(rng.choice(listed))
        listing = [packet(id, "exists") for id in listed]
        if self.chance(0.1, "noise in the listing"):
            for _ in range(2):
                listing.insert(rng.randint(0, len(listing)), rng.choice(NOISE[:3] + [
                    packet("not.listed", "success"), packet(None, None, None, None, ("warnings", UTF8[0], b"careful\n"), True)]))
        ends = [0] * 10 + ["failed"] * 8 + [7]
        before = after = b""
        if self.noisy:
            before, after = rng.choice(NOISE + [b""]), rng.choice(NOISE + [b""])
            self.present = bool(before or after)
        if self.chance(0.012, "stream cut off"):
            after += packet("cut", "success", 0.0)[:-3]
            ends, self.present = [0], True
        self.suite = dict(
            tests=tests, order=self.ids, idlist=self.ids if self.idlist else [], before=before.hex(), after=after.hex(),
            present=self.present, exit=rng.choice(ends), stderr=rng.choice(["", "", "on stderr\n"]), listing=b"".join(listing).hex(),
            listing_exit=5 if self.chance(0.015, "listing fails") else 0,
            unknown={"gone.1": packet("gone.1", "fail", 1.0, None, ("traceback", UTF8[0], b"no such test\n")).hex()},
            callouts=dict(concurrency=rng.choice(["2\n", " 3 \n", "+2\n", "1", "0\n"]), between=rng.choice(["\n", " ", "\r\n", "\t \n"]),
                          first=rng.choice([0, 0, 0, 0, -1, 1]), provision_exit=3, provision_fails_at=0 if rng.random() < 0.02 else -1,
                          execute_exit=255 if rng.random() < 0.02 else 0, dispose_exit=4 if rng.random() < 0.03 else 0))
        if self.suite["exit"] == 7:
            self.features.add("exit status")

    def conf(self):
        rng, lines = self.rng, []
        if self.idlist:
            if rng.random() < 0.5 and self.ids:
                self.features.add("test_id_list_default")
                lines += ["test_command=suite $LISTOPT $IDLIST", "test_id_option=--ids $IDLIST",
                          "test_id_list_default=" + " ".join(rng.sample(self.ids, rng.randint(1, len(self.ids))))]
            else:
                lines += ["test_command=suite $LISTOPT $IDOPTION", "test_id_option=--ids $IDLIST"]
        else:
            lines += [rng.choice(["test_command=suite $LISTOPT $IDOPTION", "test_command: suite $IDOPTION $LISTOPT",
                                  "test_command = A=1 suite \\\n   $LISTOPT $IDOPTION"]), "test_id_option=--load-list $IDFILE"]
        lines.append("test_list_option=--list")
        if self.chance(0.3, "group_regex"):
            lines.append("group_regex=" + rng.choice([r"([^\.]+\.)+", r"pkg\.alpha|other", r"[^.]*", r"(?i)PKG", r"x*"]))
        if self.chance(0.2, "filter_tags"):
            lines.append("filter_tags=" + rng.choice(["slow", "net  db", "worker-0", "layer\n  slow", "größe worker-9"]))
        if self.chance(0.25, "test_run_concurrency"):
            lines.append("test_run_concurrency=callout concurrency")
        self.instances = "A=1" not in lines[0] and self.chance(0.2, "instances")
        if self.instances:
            lines += ["instance_provision=callout provision $INSTANCE_COUNT",
                      "instance_execute=callout execute $INSTANCE_ID $FILES -- $COMMAND"]
            if rng.random() < 0.9:
                lines.append("instance_dispose=callout dispose $INSTANCE_IDS")
        self.testr_conf = "[DEFAULT]\n" + "\n".join(lines) + "\n"
