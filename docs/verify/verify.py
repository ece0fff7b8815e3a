#!/usr/bin/env python3
"""Checks evidence of Underseal, independently of Underseal's own code.

    python3 verify.py FILE [--policy FILE] [--leaf HASH|FILE] [--require-policy] [--json]

Written from the formats (docs/design/canon.md, ledger.md, log.md, signatures.md and
evidence.md, and C2SP's specifications), not from the program. It needs Python 3.11 and
nothing else; only a bundle with an RFC 3161 timestamp needs the command `openssl`.
README.md, beside this file, says how it is used and what it does not do.

The order of this file is that of the formats: fields of bytes, canonical values,
signatures, notes and checkpoints, proofs, leaves, statements, policies, bundles, and
receipts and proofs that are in none.
"""

import base64
import binascii
import hashlib
import hmac
import re
import sys
from datetime import date, datetime, timezone


class Refused(Exception):
    """What is wrong. The code is stable and that of `underseal verify`."""

    def __init__(self, code, text, kind="integrity"):
        super().__init__(text)
        self.code, self.kind = code, kind


# Bytes ------------------------------------------------------------------------


def sha256(*parts):
    h = hashlib.sha256()
    for p in parts:
        h.update(p)
    return h.digest()


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def tuple_of(*items):
    """A tuple of docs/design/canon.md: u32 count, then u32 length and bytes of each."""
    out = len(items).to_bytes(4, "big")
    for item in items:
        if isinstance(item, str):
            item = item.encode()
        out += len(item).to_bytes(4, "big") + item
    return out


def unhex(text):
    """32 bytes from 64 hex digits in lower case, else None."""
    if isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text):
        return bytes.fromhex(text)
    return None


def unbase64(text, urlsafe=False):
    """Bytes from base64 in its one spelling (RFC 4648), else None."""
    try:
        raw = text.encode("ascii")
        if urlsafe:
            if b"=" in raw:
                return None
            data = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
            spelled = base64.urlsafe_b64encode(data).rstrip(b"=")
        else:
            data = base64.b64decode(raw, validate=True)
            spelled = base64.b64encode(data)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        return None
    return data if spelled == raw else None


def decimal(text, bits):
    """A number without sign and leading zeros that fits the bits, else None."""
    if isinstance(text, str) and re.fullmatch("0|[1-9][0-9]{0,19}", text, re.ASCII) and int(text) < 1 << bits:
        return int(text)
    return None


# Canonical values (docs/design/canon.md) ---------------------------------------


class NotCanonical(Exception):
    pass


class List(list):
    """A list; a plain Python list never stands for a value."""


class Tagged:
    """A number, date, time, date-time or duration: its tag and its text."""

    def __init__(self, tag, text):
        self.tag, self.text = tag, text

    def __eq__(self, other):
        return isinstance(other, Tagged) and (self.tag, self.text) == (other.tag, other.text)


TYPES = {"n": "number", "d": "date", "t": "time", "dt": "date-time", "dd": "day-time-duration", "ym": "year-month-duration"}


def type_name(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, Tagged):
        return TYPES[value.tag]
    return "list" if isinstance(value, List) else "context"


ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
ESCAPES.update({chr(c): "\\u%04x" % c for c in range(0x20) if chr(c) not in ESCAPES})
TO_ESCAPE = re.compile('["\\\\\x00-\x1f]')


def encode_string(text):
    return b'"' + TO_ESCAPE.sub(lambda m: ESCAPES[m[0]], text).encode() + b'"'


def encode(value):
    """The one encoding of a value, without recursion: values may be nested deeply."""
    out, work = [], [value]
    while work:
        v = work.pop()
        if isinstance(v, bytes):
            out.append(v)
        elif v is None or isinstance(v, bool):
            out.append({None: b"null", True: b"true", False: b"false"}[v])
        elif isinstance(v, str):
            out.append(encode_string(v))
        elif isinstance(v, Tagged):
            out.append(b'["' + v.tag.encode() + b'",' + encode_string(v.text) + b"]")
        elif isinstance(v, List):
            work.append(b"]")
            for item in reversed(v):
                work += [item, b","]
            out.append(b'["l"')
        else:
            names = sorted(v, key=lambda n: n.encode())
            work.append(b"}")
            for i, name in reversed(list(enumerate(names))):
                work += [v[name], (b"," if i else b"") + encode_string(name) + b":"]
            out.append(b"{")
    return b"".join(out)


def plain(value):
    """A value as a person reads it: ordinary JSON, with a number's own digits."""
    out, work = [], [value]
    while work:
        v = work.pop()
        if isinstance(v, bytes):
            out.append(v.decode())
        elif isinstance(v, Tagged):
            out.append(v.text if v.tag == "n" else '"%s"' % v.text)
        elif isinstance(v, List):
            work.append(b"]")
            for i, item in reversed(list(enumerate(v))):
                work += [item, b","] if i else [item]
            out.append("[")
        elif isinstance(v, dict):
            work.append(b"}")
            for i, name in reversed(list(enumerate(sorted(v, key=lambda n: n.encode())))):
                work += [v[name], (b"," if i else b"") + encode_string(name) + b":"]
            out.append("{")
        else:
            out.append(encode(v).decode())
    return "".join(out)


def encode_items(*values):
    return b"[" + b",".join(encode(v) for v in values) + b"]"


TOKEN = re.compile(rb'"(?:[^"\\\x00-\x1f]|\\.)*"|[\[\]{},:]|null|true|false', re.DOTALL)
WORDS = {b"null": None, b"true": True, b"false": False}


def read_string(token):
    """A string from its canonical spelling."""
    try:
        inner = token[1:-1].decode()
    except UnicodeDecodeError:
        raise NotCanonical("text that is not UTF-8") from None
    short = {v: k for k, v in ESCAPES.items()}
    text = re.sub(r"\\u[0-9a-f]{4}|\\.", lambda m: short.get(m[0], "\0bad"), inner, flags=re.DOTALL)
    if encode_string(text) != token:
        raise NotCanonical("a string that is spelled in another way")
    return text


def decode(data):
    """The value of an encoding. Every other spelling is NotCanonical."""
    value, end = decode_at(data, 0)
    if end != len(data):
        raise NotCanonical("something after the value")
    return value


def decode_at(data, at):
    """A value and where it ends. The stack holds [container, name or None]."""
    stack, expect = [], "value"
    while True:
        m = TOKEN.match(data, at)
        if not m:
            raise NotCanonical("no value at byte %d" % at)
        token, at = m[0], m.end()
        value, done = None, False
        if expect == "value":
            if token == b"{":
                stack.append([{}, None])
                expect = "name or end"
                continue
            if token == b"[":
                stack.append([[], None])
                expect = "value"
                continue
            if token in WORDS:
                value, done = WORDS[token], True
            elif token[:1] == b'"':
                value, done = read_string(token), True
        elif expect in ("name or end", "name"):
            if token == b"}" and expect == "name or end":
                value, done = stack.pop()[0], True
            elif token[:1] == b'"':
                put_name(stack[-1], read_string(token))
                if data[at : at + 1] != b":":
                    raise NotCanonical("a name without a value")
                at, expect = at + 1, "value"
                continue
        elif expect == "comma or end":
            top = stack[-1][0]
            if token == b",":
                expect = "name" if isinstance(top, dict) else "value"
                continue
            if token == (b"}" if isinstance(top, dict) else b"]"):
                value, done = close(stack.pop()[0]), True
        if not done:
            raise NotCanonical("%r at byte %d" % (token.decode(errors="replace"), at - len(token)))
        if not stack:
            return value, at
        container, name = stack[-1]
        if isinstance(container, dict):
            container[name] = value
        else:
            container.append(value)
        expect = "comma or end"


def put_name(frame, name):
    container, last = frame
    if last is not None and last.encode() >= name.encode():
        raise NotCanonical("names that are not in ascending order")
    frame[1] = name


def close(container):
    """A context as it is, an array by its tag."""
    if isinstance(container, dict):
        return container
    tag = container[0]
    if tag == "l":
        return List(container[1:])
    if not isinstance(tag, str) or tag not in TYPES or len(container) != 2 or not isinstance(container[1], str):
        raise NotCanonical("an array without a known tag")
    if not SPELLINGS[tag](container[1]):
        raise NotCanonical("a %s that is spelled in another way" % TYPES[tag])
    return Tagged(tag, container[1])


def good_number(text):
    m = re.fullmatch(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:e(-?[0-9]+))?", text, re.ASCII)
    if not m:
        return False
    sign, whole, fraction, exponent = m[1], m[2], m[3] or "", int(m[4] or 0) if len(m[4] or "") < 8 else 10**9
    digits = (whole + fraction).lstrip("0")
    scale = exponent - len(fraction)
    stripped = digits.rstrip("0")
    scale += len(digits) - len(stripped)
    if not stripped:
        return text == "0"
    first = scale + len(stripped) - 1
    if len(stripped) > 34 or not -6144 <= first <= 6144:
        return False
    return text == sign + spell_number(stripped, scale, first)


def spell_number(digits, scale, first):
    if not -7 <= first <= 33:
        return digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + "e%d" % first
    if scale >= 0:
        return digits + "0" * scale
    if first < 0:
        return "0." + "0" * (-first - 1) + digits
    return digits[: first + 1] + "." + digits[first + 1 :]


def good_date(text):
    m = re.fullmatch(r"(-?)([0-9]{4,9})-([0-9]{2})-([0-9]{2})", text, re.ASCII)
    if not m or (len(m[2]) > 4 and m[2][0] == "0") or (m[1] and int(m[2]) == 0):
        return False
    year = int(m[1] + m[2])
    try:
        date(2000 + year % 400, int(m[3]), int(m[4]))  # the calendar repeats after 400 years
    except ValueError:
        return False
    return True


ZONE_NAME = r"@[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*"
TIME = re.compile(
    r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{0,8}[1-9])?"
    r"(?:Z|[+-](?P<h>[01][0-9]):(?P<m>[0-5][0-9])(?::(?P<s>[0-5][0-9]))?|(?P<zone>" + ZONE_NAME + "))?",
    re.ASCII,
)


def good_time(text):
    m = TIME.fullmatch(text)
    if not m or len(m["zone"] or "") > 65 or m["s"] == "00":
        return False
    if m["h"] is None:
        return True
    seconds = int(m["h"]) * 3600 + int(m["m"]) * 60 + int(m["s"] or 0)
    return 0 < seconds <= 18 * 3600


def good_date_time(text):
    day, t, rest = text.partition("T")
    return bool(t) and good_date(day) and good_time(rest)


def good_days(text):
    m = re.fullmatch(r"(-?)P(?:([0-9]+)D)?(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:\.([0-9]{1,9}))?S)?)?", text, re.ASCII)
    if not m or len(text) > 40:
        return False
    n = [int(x or 0) for x in m.groups()[1:5]]
    total = (((n[0] * 24 + n[1]) * 60 + n[2]) * 60 + n[3]) * 10**9 + int((m[6] or "").ljust(9, "0"))
    return total <= (1 << 63) - (0 if m[1] else 1) and text == spell_days(total, m[1])


def spell_days(total, sign):
    if total == 0:
        return "PT0S"
    seconds, nanos = divmod(total, 10**9)
    minutes, s = divmod(seconds, 60)
    hours, mi = divmod(minutes, 60)
    d, h = divmod(hours, 24)
    fraction = (".%09d" % nanos).rstrip("0") if nanos else ""
    rest = ("%dH" % h if h else "") + ("%dM" % mi if mi else "") + ("%d%sS" % (s, fraction) if s or nanos else "")
    return sign + "P" + ("%dD" % d if d else "") + ("T" + rest if rest else "")


def good_months(text):
    m = re.fullmatch(r"(-?)P(?:([0-9]+)Y)?(?:([0-9]+)M)?", text, re.ASCII)
    if not m or len(text) > 40:
        return False
    total = int(m[2] or 0) * 12 + int(m[3] or 0)
    if total > (1 << 63) - (0 if m[1] else 1):
        return False
    y, mo = divmod(total, 12)
    return text == (m[1] + "P" + ("%dY" % y if y else "") + ("%dM" % mo if mo else "") if total else "P0M")


SPELLINGS = {"n": good_number, "d": good_date, "t": good_time, "dt": good_date_time, "dd": good_days, "ym": good_months}


# Signatures: Ed25519 (RFC 8032) and ECDSA over P-256 (FIPS 186-5) ---------------
# Only public values pass through here, so nothing has to take constant time.

Q = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, Q) % Q
SQRT_M1 = pow(2, (Q - 1) // 4, Q)


def ed_add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % Q
    b = (p[1] + p[0]) * (q[1] + q[0]) % Q
    c = 2 * p[3] * q[3] * D % Q
    d = 2 * p[2] * q[2] % Q
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % Q, g * h % Q, f * g % Q, e * h % Q


def ed_multiply(n, p):
    total = (0, 1, 1, 0)
    while n:
        if n & 1:
            total = ed_add(total, p)
        p, n = ed_add(p, p), n >> 1
    return total


def ed_decompress(raw):
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= Q:
        return None
    u, v = (y * y - 1) % Q, (D * y * y + 1) % Q
    x = u * pow(v, 3, Q) * pow(u * pow(v, 7, Q), (Q - 5) // 8, Q) % Q
    if v * x * x % Q != u:
        x = x * SQRT_M1 % Q
    if v * x * x % Q != u or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = Q - x
    return x, y, 1, x * y % Q


def ed_compress(p):
    z = pow(p[2], -1, Q)
    x, y = p[0] * z % Q, p[1] * z % Q
    return (y | (x & 1) << 255).to_bytes(32, "little")


ED_BASE = ed_decompress((4 * pow(5, -1, Q) % Q).to_bytes(32, "little"))


def verify_ed25519(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    key = ed_decompress(public)
    s = int.from_bytes(signature[32:], "little")
    if key is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    minus = (Q - key[0], key[1], 1, Q - key[3])
    return ed_compress(ed_add(ed_multiply(s, ED_BASE), ed_multiply(h, minus))) == signature[:32]


def suitable_ed25519(raw):
    """Whether 32 bytes are the one spelling of a point, and not of one that vanishes
    when it is multiplied by 8: with such a key, anybody makes signatures that verify."""
    point = ed_decompress(raw) if len(raw) == 32 else None
    return point is not None and ed_compress(ed_multiply(8, point)) != (1).to_bytes(32, "little")


P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
P256_BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def p256_add(p, q):
    """The sum of two points; None is the one at infinity."""
    if p is None or q is None:
        return p or q
    if p[0] == q[0]:
        if (p[1] + q[1]) % P == 0:
            return None
        slope = (3 * p[0] * p[0] - 3) * pow(2 * p[1], -1, P) % P
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, P) % P
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def p256_multiply(n, p):
    total = None
    while n:
        if n & 1:
            total = p256_add(total, p)
        p, n = p256_add(p, p), n >> 1
    return total


def p256_point(raw):
    """A point from its 65 bytes without compression, else None."""
    if len(raw) != 65 or raw[0] != 4:
        return None
    x, y = int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")
    if x >= P or y >= P or (y * y - (x * x * x - 3 * x + B)) % P:
        return None
    return x, y


def der_signature(raw):
    """r and s of an ECDSA signature in DER, else None."""
    if len(raw) < 2 or raw[0] != 0x30 or raw[1] != len(raw) - 2 or raw[1] > 127:
        return None
    numbers, at = [], 2
    while at < len(raw):
        if len(raw) < at + 3 or raw[at] != 2 or raw[at + 1] == 0 or at + 2 + raw[at + 1] > len(raw):
            return None
        n = raw[at + 2 : at + 2 + raw[at + 1]]
        if n[0] > 127 or (len(n) > 1 and n[0] == 0 and n[1] < 128):
            return None
        numbers.append(int.from_bytes(n, "big"))
        at += 2 + len(n)
    return numbers if len(numbers) == 2 else None


def verify_p256(public, message, signature):
    key, rs = p256_point(public), der_signature(signature)
    if key is None or rs is None or not all(0 < x < N for x in rs):
        return False
    r, s = rs
    w = pow(s, -1, N)
    digest = int.from_bytes(sha256(message), "big")
    point = p256_add(p256_multiply(digest * w % N, P256_BASE), p256_multiply(r * w % N, key))
    return point is not None and point[0] % N == r


class PublicKey:
    """A signer's key: Ed25519 (32 bytes) or P-256 (65 bytes)."""

    def __init__(self, alg, text):
        self.alg, self.raw = alg, unbase64(text)
        if self.raw is None or not (
            (alg == "ed25519" and suitable_ed25519(self.raw)) or (alg == "p256" and p256_point(self.raw))
        ):
            raise ValueError("not a public key of a known algorithm")

    def id(self):
        return sha256(b"underseal/v1/signer\0", tuple_of(self.alg, self.raw)).hex()

    def verify(self, message, signature):
        check = verify_ed25519 if self.alg == "ed25519" else verify_p256
        return check(self.raw, message, signature)


# Notes, checkpoints, proofs (C2SP signed-note, tlog-checkpoint, tlog-cosignature) --

MAX_NOTE = 1 << 20


def valid_name(name):
    return name != "" and "+" not in name and not any(c.isspace() or c < " " for c in name)


class Verifier:
    """A key that signs notes: type 1 (Ed25519) or 4 (cosignatures)."""

    def __init__(self, vkey):
        name, _, rest = vkey.partition("+")
        given, _, encoded = rest.partition("+")
        raw = unbase64(encoded)
        if not valid_name(name) or raw is None or len(raw) != 33 or raw[0] not in (1, 4):
            raise ValueError("%r is not the key of a log or witness" % vkey)
        self.name, self.kind, self.public, self.vkey = name, raw[0], raw[1:], vkey
        if not suitable_ed25519(self.public):
            raise ValueError("%r has no Ed25519 key, or one for which anybody can sign" % vkey)
        self.id = sha256(name.encode(), b"\n", raw)[:4]
        if given != self.id.hex():
            raise ValueError("%r has the id of another key" % vkey)

    def verify(self, text, signature):
        if self.kind == 1:
            return verify_ed25519(self.public, text, signature)
        if len(signature) != 72 or signature[0] > 127:
            return False
        at = int.from_bytes(signature[:8], "big")
        return verify_ed25519(self.public, b"cosignature/v1\ntime %d\n" % at + text, signature[8:])


def open_note(what, data, verifiers):
    """The text of a signed note and its verified signatures, {(name, id): signature}."""
    malformed = Refused(what + "_malformed", "%s is refused: it is not a signed note" % what)
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        raise malformed from None
    split = data.rfind(b"\n\n")
    if len(data) > MAX_NOTE or split < 0 or any(c < " " and c != "\n" for c in decoded):
        raise malformed
    text, lines = data[: split + 1], data[split + 2 :]
    if not lines.endswith(b"\n"):
        raise malformed
    known = {(v.name, v.id): v for v in verifiers}
    good, others = {}, []
    for n, line in enumerate(lines[:-1].split(b"\n")):
        prefix, name, encoded = (line.decode().split(" ", 2) + ["", ""])[:3]
        raw = unbase64(encoded)
        if prefix != "\u2014" or not valid_name(name) or raw is None or len(raw) < 5 or n >= 100:
            raise malformed
        key = (name, raw[:4])
        if key not in known:
            others.append(name)
            continue
        if key in good:
            continue
        if not known[key].verify(text, raw[4:]):
            raise Refused(what + "_forged", "%s has a wrong signature of %s" % (what, name))
        good[key] = raw[4:]
    if not good:
        raise Refused(what + "_unsigned", "%s is signed by none of the keys that may sign it, but by %s" % (what, ", ".join(others)))
    return text, good


class Checkpoint:
    """The head of a log, from the text that is signed."""

    def __init__(self, text):
        lines = text.split(b"\n")
        try:
            origin = lines[0].decode()
        except UnicodeDecodeError:
            origin = ""
        size = decimal(lines[1].decode(errors="replace"), 64) if len(lines) == 4 else None
        root = unbase64(lines[2].decode(errors="replace")) if len(lines) == 4 else None
        if size is None or root is None or len(root) != 32 or lines[3] or not valid_name(origin):
            raise Refused("checkpoint_malformed", "checkpoint is refused: it has not the three lines origin, size and root")
        self.origin, self.size, self.root, self.text = origin, size, root, text


def claimed_checkpoint(signed):
    """What a signed note says is the checkpoint. No signature was looked at."""
    text, found, _ = signed.partition(b"\n\n")
    if not found:
        raise Refused("checkpoint_malformed", "checkpoint is refused: it has no signatures")
    return Checkpoint(text + b"\n")


def leaf_hash(entry):
    return sha256(b"\0", entry)


def node_hash(left, right):
    return sha256(b"\1", left, right)


def root_of_path(leaf, index, size, path):
    """The root to which a path leads (RFC 9162 section 2.1.3.2), None if it has another
    length than the path of that leaf in a tree of that size."""
    if index >= size:
        return None
    node, last, h = index, size - 1, leaf
    for p in path:
        if last == 0:
            return None
        if node & 1 or node == last:
            h = node_hash(p, h)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            h = node_hash(h, p)
        node, last = node >> 1, last >> 1
    return h if last == 0 else None


def check_inclusion(leaf, index, size, path, root):
    if len(path) > 64 or root_of_path(leaf, index, size, path) != root:
        raise Refused("not_included", "proof of inclusion is wrong: the path of leaf %d of %d does not lead to the root" % (index, size))


EMPTY_ROOT = sha256()


def check_consistency(old, size, proof, old_root, root):
    """Whether a tree begins with the leaves of an older one, by what RFC 6962 section
    2.1.2 says its proof is. No bundle has such a proof; it is for who holds two heads."""
    left = list(proof)

    def fold(m, n, whole):
        """The roots, old and new, of n leaves of which m are old; both when these are all."""
        if m == n:
            return (old_root if whole else left.pop(),) * 2
        k = 1 << (n - 1).bit_length() - 1
        beside = left.pop()
        if m <= k:
            older, newer = fold(m, k, whole)
            return older, node_hash(newer, beside)
        older, newer = fold(m - k, n - k, False)
        return node_hash(beside, older), node_hash(beside, newer)

    try:
        if old == 0:
            fits = old_root == EMPTY_ROOT and (size > 0 or root == old_root)
        else:
            fits = old <= size and fold(old, size, True) == (old_root, root)
    except IndexError:  # it is too short
        fits = False
    if not fits or left:
        raise Refused("not_consistent", "proof of consistency is wrong: size %d does not begin with the %d leaves of before" % (size, old))


class LogProof:
    """C2SP tlog-proof without extra data."""

    def __init__(self, text):
        def malformed(why):
            return Refused("proof_malformed", "proof is refused: " + why)

        header, rest = b"c2sp.org/tlog-proof@v1\n", text
        if len(text) > MAX_NOTE or not text.startswith(header):
            raise malformed("it is not of the kind c2sp.org/tlog-proof@v1")
        head, found, self.checkpoint = rest[len(header) :].partition(b"\n\n")
        lines = head.decode(errors="replace").split("\n")
        index = decimal(lines[0][6:], 64) if lines[0].startswith("index ") else None
        if not found or index is None or len(lines) > 65:
            raise malformed("it has no checkpoint, no index, extra data, or a path that is too long")
        self.index, self.path = index, [unbase64(line) for line in lines[1:]]
        if any(h is None or len(h) != 32 for h in self.path):
            raise malformed("its path has something that is no hash")
        claimed_checkpoint(self.checkpoint)


# Leaves, commitments, receipts (docs/design/ledger.md) ---------------------------

LEAF_NAMES = {"act", "at", "data", "def", "elem", "key", "kind", "log", "n", "rows", "stmt", "v"}


def good_moment(text):
    """Whether a text is a time as leaves have it: UTC, six digits of a second."""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", text, re.ASCII):
        return False
    if text.startswith("0000"):  # Python has no year 0
        text = "2000" + text[4:]
    try:
        datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return False
    return text[17:19] < "60"


class Leaf:
    """An entry of a log."""

    def __init__(self, encoded):
        self.encoded, self.hash = encoded, leaf_hash(encoded)
        try:
            m = decode(encoded)
        except NotCanonical as e:
            raise self.refused(str(e)) from None
        if not isinstance(m, dict) or not all(isinstance(v, str) for v in m.values()):
            raise self.refused("it is no map of strings")
        step = "obj" in m
        if set(m) != LEAF_NAMES | ({"obj", "prev", "seq"} if step else set()) or m["v"] != "1":
            raise self.refused("it has names that do not belong to a leaf, lacks some, or has another version")
        self.kind, self.log, self.act, self.at, self.elem = m["kind"], m["log"], m["act"], m["at"], m["elem"]
        self.data, self.rows = unhex(m["data"]), unhex(m["rows"])
        self.model, self.stmt, self.key, self.n = m["def"], m["stmt"], m["key"], decimal(m["n"], 31)
        self.object = m["obj"] if step else ""
        self.seq, self.prev = (decimal(m["seq"], 64), unhex(m["prev"])) if step else (0, bytes(32))
        self.check(step)

    @staticmethod
    def refused(why):
        return Refused("integrity", "leaf is refused: " + why)

    def check(self, step):
        if not self.kind or not self.log or self.act not in ("user", "worker", "engine", "admin") or not good_moment(self.at):
            raise self.refused("kind, log, act or time is not one of a leaf")
        if self.data is None or self.rows is None or self.n is None or (self.n == 0 and self.data != EMPTY_ROOT):
            raise self.refused("data, n or rows is not one of a leaf")
        if any(v and unhex(v) is None for v in (self.model, self.stmt, self.key)):
            raise self.refused("def, stmt or key is not a hash")
        if step and (not self.object or not self.seq or self.prev is None or (self.seq == 1) != (self.prev == bytes(32))):
            raise self.refused("obj, seq and prev do not fit")


def commit(key, path, value):
    """The commitment to a field's value."""
    return mac(key, encode_items(path, type_name(value), value))


def check_data_path(commitment, index, n, path, data):
    if len(path) > 64 or root_of_path(leaf_hash(commitment), index, n, path) != data:
        raise Refused("disclosure_mismatch", "the value and its key are not what the leaf commits to")


RECEIPT = b"underseal/v1/receipt\n"


def check_receipt(signed, verifiers):
    """The leaf of a receipt that a key of its own log signed."""
    text, found, _ = signed.partition(b"\n\n")
    if not found or not text.startswith(RECEIPT):
        raise Refused("receipt_malformed", "receipt is refused: it is not a signed note of a receipt")
    leaf = Leaf(text[len(RECEIPT) :])
    signed_text, _ = open_note("receipt", signed, [v for v in verifiers if v.name == leaf.log])
    if signed_text != RECEIPT + leaf.encoded + b"\n":
        raise Refused("receipt_malformed", "receipt is refused: the signature is over another text")
    return leaf


# Statements and their signatures (docs/design/signatures.md) ----------------------

STATEMENT_NAMES = {
    "at", "deployment", "element", "instance", "job", "key", "kind", "lease", "model",
    "process", "task", "tenant", "v", "values", "version",
}  # fmt: skip
JOB_KINDS = ("job.completed", "job.failed", "job.errored")
STATEMENT_TYPE = "application/vnd.underseal.statement.v1+json"


class Statement:
    """What a worker or a person signed."""

    def __init__(self, encoded):
        self.encoded, self.hash = encoded, sha256(encoded)
        try:
            m = decode(encoded)
        except NotCanonical as e:
            raise self.refused(str(e)) from None
        if not isinstance(m, dict) or set(m) != STATEMENT_NAMES or not all(isinstance(v, str) for v in m.values()) or m["v"] != "1":
            raise self.refused("it is no map of the names that a statement has")
        self.m, self.key, self.kind, values = m, m["key"], m["kind"], m["values"]
        self.values = [unhex(values[i : i + 64]) for i in range(0, len(values), 64)]
        if len(self.values) > 502 or None in self.values or any(a >= b for a, b in zip(self.values, self.values[1:])):
            raise self.refused("its values are no ascending hashes")
        job, version = self.kind in JOB_KINDS, decimal(m["version"], 31)
        where = all(m[n] for n in ("deployment", "tenant", "instance", "element", "process")) and version
        fits = bool(m["job"] and m["lease"]) == job and bool(m["task"]) != job
        if not (job or self.kind == "task.completed") or not where or not fits or not good_moment(m["at"]):
            raise self.refused("its kind, place, time, job or task is not one of a statement")
        if unhex(m["model"]) is None or unhex(self.key) is None:
            raise self.refused("model or key is not a hash")

    @staticmethod
    def refused(why):
        return Refused("statement_malformed", "statement is refused: " + why)

    def binds(self, key, path, value):
        return commit(key, path, value) in self.values

    def shows(self, path, value, bindings):
        """Whether bindings {path: key} show that the signer saw the value of a field."""
        path = re.sub(r"^@[0-9]+/", "", path)
        parts = [(path, value)] if path in bindings else flatten(path, value)
        shown = True
        for part, v in parts:
            if part not in bindings:
                shown = False
            elif not self.binds(bindings[part], part, v):
                raise Refused("statement_other_value", "the value at %r is not the one that was signed" % part)
        return shown


def flatten(path, value):
    """The values inside one, with the paths that statements bind them at."""
    if not isinstance(value, dict) or (path and not value):
        return [(path, value)]
    out = []
    for name in sorted(value, key=lambda n: n.encode()):
        below = re.sub(r"[.\[\]@/$%]", lambda m: "%%%02X" % ord(m[0]), name) if name else "%"
        out += flatten(path + "." + below if path else below, value[name])
    return out


def wrong_signature(code, why):
    return Refused(code, "signature is refused: " + why)


def check_worker(statement, signature, key):
    """A worker's signature: a DSSE envelope (version 1.0.2) with one signature."""
    s = Statement(statement)
    m = re.fullmatch(rb'\{"payload":"([A-Za-z0-9+/=]*)","payloadType":("(?:[^"\\]|\\.)*"),"signatures":\[\{"keyid":("(?:[^"\\]|\\.)*"),"sig":"([A-Za-z0-9+/=]*)"\}\]\}', signature)
    malformed = wrong_signature("signature_malformed", "it is no DSSE envelope in its one spelling")
    if not m:
        raise malformed
    payload, sig = unbase64(m[1].decode()), unbase64(m[4].decode())
    try:
        kind, key_id = read_string(m[2]), read_string(m[3])
    except NotCanonical:
        raise malformed from None
    if payload is None or sig is None:
        raise malformed
    if payload != statement:
        raise wrong_signature("signature_other_statement", "it is over another statement")
    if s.key != key.id():
        raise wrong_signature("signature_other_key", "the statement names another key")
    if kind != STATEMENT_TYPE:
        raise wrong_signature("signature_type", "it is over a %r" % kind)
    if key_id != key.id():
        raise wrong_signature("signature_other_key", "it names another key")
    pae = b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)
    if not key.verify(pae, sig):
        raise wrong_signature("signature_wrong", "the key did not make it over this text")
    return s


def check_person(statement, signature, key, rp, origins):
    """A person's signature: a WebAuthn assertion over the statement's hash."""
    s = Statement(statement)
    malformed = wrong_signature("signature_malformed", "it is no assertion in its one spelling")
    try:
        m = decode(signature)
    except NotCanonical:
        raise malformed from None
    names = ("authenticatorData", "clientDataJSON", "signature")
    if not isinstance(m, dict) or set(m) != set(names) or not all(isinstance(v, str) for v in m.values()):
        raise malformed
    data, client, sig = (unbase64(m[n], urlsafe=True) for n in names)
    if data is None or client is None or sig is None:
        raise malformed
    if s.key != key.id():
        raise wrong_signature("signature_other_key", "the statement names another key")
    check_client_data(client, s.hash, origins)
    check_authenticator(data, rp)
    if not key.verify(data + sha256(client), sig):
        raise wrong_signature("signature_wrong", "the passkey did not make it over this text")
    return s


def strict_json(data):
    """An object of ordinary JSON with no name twice."""
    import json

    def pairs(items):
        if len({n for n, _ in items}) != len(items):
            raise ValueError("a name twice")
        return dict(items)

    def no(text):
        raise ValueError(text)

    return json.loads(data.decode(), object_pairs_hook=pairs, parse_constant=no)


def check_client_data(client, challenge, origins):
    try:
        m = strict_json(client)
    except (ValueError, RecursionError):
        m = None
    if not isinstance(m, dict):
        raise wrong_signature("signature_malformed", "the client's data is no JSON object")
    if m.get("type") != "webauthn.get":
        raise wrong_signature("webauthn_type", "it was not made to give consent")
    if m.get("challenge") != base64.urlsafe_b64encode(challenge).rstrip(b"=").decode():
        raise wrong_signature("webauthn_challenge", "it is over another statement")
    if m.get("origin") not in origins:
        raise wrong_signature("webauthn_origin", "it was given at %r" % (m.get("origin"),))
    if m.get("crossOrigin", False) is not False or "topOrigin" in m:
        raise wrong_signature("webauthn_cross_origin", "it was given inside another site's page")


def check_authenticator(data, rp):
    if len(data) < 37:
        raise wrong_signature("signature_malformed", "the authenticator's data has %d bytes" % len(data))
    flags = data[32]
    if data[:32] != sha256(rp.encode()):
        raise wrong_signature("webauthn_rp", "it was made for another relying party than %r" % rp)
    if not flags & 1:
        raise wrong_signature("webauthn_presence", "nobody was present")
    if not flags & 4:
        raise wrong_signature("webauthn_verification", "the person was not verified")
    if flags & 0b01100010 or flags & 0b11000 == 0b10000 or bool(flags & 0x80) != (len(data) > 37):
        raise wrong_signature("webauthn_flags", "the authenticator's flags do not fit")


SIGNER_NAMES = ("signer", "name", "principal", "alg", "public", "key", "former", "rp")


class SignerKey:
    """What a step of a signer's chain says of the key that counts from then on."""

    def __init__(self, value):
        malformed = Refused("signer_malformed", "what a signer's step says of its key is malformed")
        if not isinstance(value, dict) or set(value) != {*SIGNER_NAMES, "origins"} or not all(isinstance(value[n], str) for n in SIGNER_NAMES):
            raise malformed
        origins = value["origins"]
        if not isinstance(origins, List) or not all(isinstance(o, str) for o in origins):
            raise malformed
        self.kind, self.name, self.former, self.rp, self.origins = value["signer"], value["name"], value["former"], value["rp"], origins
        self.key = None
        if value["alg"]:
            try:
                self.key = PublicKey(value["alg"], value["public"])
            except ValueError:
                raise malformed from None
        if value["key"] != (self.key.id() if self.key else "") or (not self.key and value["public"]):
            raise malformed


# Policies (C2SP tlog-policy, and docs/design/log.md) --------------------------------


class Policy:
    """Whom to believe: keys of logs with the sizes they may sign, witnesses, authorities."""

    def __init__(self, text):
        self.logs, self.witnesses, self.groups, self.quorum, self.authorities = [], [], [], None, []
        self.names, self.used = {"none"}, set()
        if len(text) > MAX_NOTE:
            raise self.invalid(0, "it is too long")
        for n, line in enumerate(text.split(b"\n"), 1):
            try:
                self.line(line)
            except ValueError as e:
                raise self.invalid(n, str(e)) from None
        if self.quorum is None:
            raise self.invalid(0, 'it has no quorum line; "quorum none" asks no witness')

    @staticmethod
    def invalid(line, why):
        return Refused("policy_invalid", "policy%s: %s" % (", line %d" % line if line else "", why), "invalid")

    def line(self, raw):
        if any(c < 0x20 and c != 9 or c == 0x7F for c in raw):
            raise ValueError("it has a control character")
        words = [w.decode(errors="surrogateescape") for w in re.split(rb"[ \t]+", raw.strip(b" \t"))]
        if words == [""] or words[0].startswith("#"):
            return
        kinds = {"log": self.log, "platform": self.platform, "witness": self.witness, "group": self.group, "quorum": self.set_quorum, "tsa": self.tsa}
        if words[0] not in kinds:
            raise ValueError("%r is not known" % words[0])
        try:
            kinds[words[0]](*words[1:])
        except TypeError:
            raise ValueError("a %s line has other words" % words[0]) from None

    def log(self, vkey, url=""):
        self.add_log(vkey, 0, (1 << 64) - 1, False)

    def platform(self, vkey, first, last):
        sizes = decimal(first, 64), (1 << 64) - 1 if last == "-" else decimal(last, 64)
        if None in sizes or sizes[0] > sizes[1]:
            raise ValueError("%s to %s are no sizes" % (first, last))
        self.add_log(vkey, *sizes, True)

    def add_log(self, vkey, first, last, limited):
        key = Verifier(vkey)
        if key.kind != 1:
            raise ValueError("%r is a witness's key, not a log's" % vkey)
        for other, _, _, both in self.logs:
            if other.public == key.public and (other.name == key.name or not (both and limited)):
                raise ValueError("%r is the second line with this key" % vkey)
        self.logs.append((key, first, last, limited))

    def define(self, name):
        if name in self.names:
            raise ValueError("the name %r is taken" % name)
        self.names.add(name)

    def witness(self, name, vkey, url=""):
        key = Verifier(vkey)
        if key.kind != 4:
            raise ValueError("%r is a log's key, not a witness's" % vkey)
        if any(w.public == key.public for _, w in self.witnesses):
            raise ValueError("witness %s has the key of another" % name)
        self.define(name)
        self.witnesses.append((name, key))

    def group(self, name, threshold, *members):
        if not members:
            raise ValueError("a group has members")
        for m in members:
            if m == "none" or m not in self.names or m in self.used:
                raise ValueError("member %r is none of a line before, or already a member" % m)
            self.used.add(m)
        k = {"all": len(members), "any": 1}.get(threshold) or decimal(threshold, 31)
        if not k or k > len(members):
            raise ValueError("%r of %d members cannot be" % (threshold, len(members)))
        self.define(name)
        self.groups.append((name, k, members))

    def set_quorum(self, name):
        if self.quorum is not None or name not in self.names:
            raise ValueError("a second quorum, or one that is not defined")
        self.quorum = name

    def tsa(self, name, certificate):
        der = unbase64(certificate)
        if der is None or not der.startswith(b"\x30") or any(name == n or der == d for n, d in self.authorities):
            raise ValueError("the certificate of %s cannot be read, or is there twice" % name)
        self.authorities.append((name, der))

    def open(self, signed):
        """The checkpoint in a note that a key of the policy signed, and the signatures."""
        claimed = claimed_checkpoint(signed)
        own = [entry for entry in self.logs if entry[0].name == claimed.origin]
        if not own:
            raise Refused("log_not_in_policy", "the policy names no key for the log %r" % claimed.origin)
        none = Refused("key_not_in_policy", "the checkpoint is signed by no key that the policy names for this log")
        try:
            text, good = open_note("checkpoint", signed, [e[0] for e in own] + [w for _, w in self.witnesses])
        except Refused as e:
            raise none if e.code == "checkpoint_unsigned" else e
        c = Checkpoint(text)
        refusal = none
        for key, first, last, _ in own:
            if (key.name, key.id) in good:
                if first <= c.size <= last:
                    return c, good
                refusal = Refused("key_out_of_range", "the checkpoint at size %d is signed by a key that the policy lets sign sizes %d to %d" % (c.size, first, last))
        raise refusal

    def check_quorum(self, good):
        seen = {"none"} | {name for name, w in self.witnesses if (w.name, w.id) in good}
        for name, k, members in self.groups:
            if sum(m in seen for m in members) >= k:
                seen.add(name)
        if self.quorum not in seen:
            raise Refused("quorum_not_met", "the quorum %r is not met: too few of the policy's witnesses cosigned" % self.quorum)


# Bundles (docs/design/evidence.md) ---------------------------------------------------

MAX_BUNDLE = 16 << 20

# SHA-256 of VERIFY.md, which is the same in all bundles of this version.
VERIFY_TEXT = "c536c4bec10a2b3c57d413229b1c1ce9e1f757447c3248bc68ee0fbdf4b0ca39"


def malformed_bundle(why):
    return Refused("bundle_malformed", "the file is no evidence bundle: " + why)


def read_zip(data):
    """The parts [(name, bytes)] of the one zip file that these can have."""
    parts, rest = [], data
    while rest[:4] == b"PK\x03\x04":
        if len(rest) < 30:
            raise malformed_bundle("it ends within an entry")
        size, name = int.from_bytes(rest[18:22], "little"), int.from_bytes(rest[26:28], "little")
        if len(rest) - 30 < size + name or len(parts) == 4096:
            raise malformed_bundle("it ends within an entry, or has too many")
        parts.append((rest[30 : 30 + name].decode(errors="surrogateescape"), rest[30 + name : 30 + name + size]))
        rest = rest[30 + name + size :]
    if not parts:
        raise malformed_bundle("it is no zip file")
    return parts


def write_zip(parts):
    """APPNOTE 4.3 at its plainest: stored entries of 1980-01-01, one after the other."""

    def le(n, size):
        return n.to_bytes(size, "little")

    out, directory = bytearray(), bytearray()
    for name, data in parts:
        raw = name.encode(errors="surrogateescape")
        head = le(10, 2) + bytes(6) + le(0x21, 2) + le(binascii.crc32(data), 4) + le(len(data), 4) * 2 + le(len(raw), 2) + bytes(2)
        directory += b"PK\x01\x02" + le(10, 2) + head + bytes(10) + le(len(out), 4) + raw
        out += b"PK\x03\x04" + head + raw + data
    end = b"PK\x05\x06" + bytes(4) + le(len(parts), 2) * 2 + le(len(directory), 4) + le(len(out), 4) + bytes(2)
    return bytes(out + directory + end)


class Disclosed:
    """A value, the key of its commitment, and its path among those of its leaf."""

    def __init__(self, value):
        names = {"path", "value", "key", "index", "proof"}
        if not isinstance(value, dict) or set(value) != names or not all(isinstance(value[n], str) for n in names - {"value"}):
            raise ValueError("a disclosed value is no map of path, value, key, index and proof")
        proof = value["proof"]
        self.path, self.value, self.key, self.index = value["path"], value["value"], unhex(value["key"]), decimal(value["index"], 31)
        self.proof = [unhex(proof[i : i + 64]) for i in range(0, len(proof), 64)]
        if self.key is None or self.index is None or None in self.proof or len(self.proof) > 64:
            raise ValueError("a disclosed value has something that is no hash or number")

    def check(self, leaf):
        check_data_path(commit(self.key, self.path, self.value), self.index, leaf.n, self.proof, leaf.data)


class Link:
    """One step of a signer: its leaf, the proof that it is in a log, its key."""

    def __init__(self, leaf, proof, key):
        self.leaf, self.proof, self.key = leaf, proof, key


class Bundle:
    """A bundle's parts. Whatever is not in its place or spelled in another way is refused."""

    def __init__(self, data):
        if len(data) > MAX_BUNDLE:
            raise malformed_bundle("it is too large")
        parts = read_zip(data)
        exact = self.check_manifest(parts)
        self.count, self.rest = len(parts) - 1, parts[1:]
        about = self.take("VERIFY.md")
        self.leaf, self.proof = self.take("leaf.json"), LogProof(self.take("leaf.tlog-proof") or b"")
        self.fields = [Disclosed(v) for v in self.list("fields.json")]
        self.model, self.statement, self.signature = self.take("model.xml"), self.take("statement.json"), self.take("signature.json")
        self.bindings = self.read_bindings()
        self.chain, self.platform = self.links("signer"), self.links("platform")
        self.anchor = None
        anchor = self.take("anchor/anchor.tlog-proof")
        if anchor is not None:
            blind = unhex(self.need("anchor/blind.hex").decode(errors="replace"))
            if blind is None:
                raise malformed_bundle("anchor/blind.hex is not 64 hex digits")
            self.anchor = LogProof(anchor), blind, self.take("anchor/timestamp.tst")
        if not exact or self.rest or self.leaf is None or about is None or sha256(about).hex() != VERIFY_TEXT:
            raise malformed_bundle("a part is missing, or has no place here, or the version is another")
        if write_zip(parts) != data:
            raise malformed_bundle("there are bytes beside the parts, or the file is packed in another way")

    @staticmethod
    def check_manifest(parts):
        """Each part has its hash. Returns whether the manifest names these parts alone."""
        name, data = parts[0]
        try:
            m = decode(data)
        except NotCanonical:
            m = None
        if name != "manifest.json" or not isinstance(m, dict) or not isinstance(m.get("files"), dict):
            raise malformed_bundle("it does not begin with manifest.json")
        for name, data in parts[1:]:
            if name not in m["files"]:
                raise malformed_bundle("%r is not in manifest.json" % name)
            if m["files"][name] != sha256(data).hex():
                raise Refused("bundle_changed", "%s was changed: it has not the hash that manifest.json gives" % name)
        return set(m) == {"files", "v"} and m["v"] == "1" and len(m["files"]) == len(parts) - 1

    def take(self, name):
        if self.rest and self.rest[0][0] == name:
            return self.rest.pop(0)[1]
        return None

    def need(self, name):
        data = self.take(name)
        if data is None:
            raise malformed_bundle("%s is missing, or not in its place" % name)
        return data

    def list(self, name):
        """A canonical list of maps in ascending order of their paths."""
        data = self.take(name)
        if data is None:
            return []
        try:
            values = decode(data)
            paths = [v["path"].encode() for v in values] if isinstance(values, List) else []
            if not paths or any(a >= b for a, b in zip(paths, paths[1:])):
                raise ValueError("it is no list in the order of paths")
            if name == "fields.json":
                for v in values:
                    Disclosed(v)
        except (NotCanonical, ValueError, TypeError, KeyError, AttributeError) as e:
            raise malformed_bundle("%s: %s" % (name, e)) from None
        return values

    def read_bindings(self):
        out = {}
        for v in self.list("bindings.json"):
            key = unhex(v.get("key"))
            if set(v) != {"path", "key"} or key is None:
                raise malformed_bundle("bindings.json has something that is no binding")
            out[v["path"]] = key
        return out

    def links(self, name):
        links = []
        while len(links) < 1000:
            folder = "%s/%04d/" % (name, len(links) + 1)
            leaf = self.take(folder + "leaf.json")
            if leaf is None:
                break
            proof = LogProof(self.take(folder + "leaf.tlog-proof") or b"")
            try:
                key = Disclosed(decode(self.need(folder + "key.json")))
            except (NotCanonical, ValueError) as e:
                raise malformed_bundle("%skey.json: %s" % (folder, e)) from None
            links.append(Link(leaf, proof, key))
        return links


def broken(what, i, why):
    return Refused("chain_broken", "step %d of the %s's chain: %s" % (i + 1, what, why))


class Chain:
    """A signer's steps, checked among themselves: [(leaf, index, SignerKey)]."""

    def __init__(self, what, links):
        self.what, self.links, self.steps, newest, former = what, links, [], bytes(32), ""
        for i, link in enumerate(links):
            try:
                leaf = Leaf(link.leaf)
                if not leaf.object or leaf.seq != i + 1 or leaf.prev != newest or (i and leaf.object != self.steps[0][0].object):
                    raise broken(what, i, "it is not the step that follows the one before")
                if link.key.path != "$key":
                    raise broken(what, i, "it discloses %r" % link.key.path)
                link.key.check(leaf)
                key = SignerKey(link.key.value)
            except Refused as e:
                raise broken(what, i, str(e)) from None
            if i and (key.kind, key.name) != (self.steps[-1][2].kind, self.steps[-1][2].name):
                raise broken(what, i, "it is of another signer")
            # The platform has to go on signing: what revokes its key gives another.
            fits = {"key.registered": key.key and not former, "key.rotated": key.key and former,
                    "key.revoked": former and bool(key.key) == (key.kind == "platform")}  # fmt: skip
            if key.former != former or not fits.get(leaf.kind):
                raise broken(what, i, "%s cannot come here, or names another key than the one that counted" % leaf.kind)
            self.steps.append((leaf, link.proof.index, key))
            newest, former = leaf.hash, key.key.id() if key.key else ""
        self.newest = newest

    def key_at(self, log, size):
        """The platform's key for a checkpoint: by the newest step that it covers, and before
        the first one by that. None: there is none, or it cannot be told."""
        found = self.steps[0][2].key if self.steps else None
        for leaf, index, key in self.steps[1:]:
            covered = covers(leaf.log, index, log, size)
            if covered is None:
                return None
            if covered:
                found = key.key
        return found

    def open(self, signed):
        """The checkpoint in a note if the key signed it that counted then."""
        claimed = claimed_checkpoint(signed)
        key = self.key_at(claimed.origin, claimed.size)
        if key:
            try:
                return Checkpoint(open_note("checkpoint", signed, [platform_verifier(claimed.origin, key)])[0])
            except Refused as e:
                if e.code != "checkpoint_unsigned":
                    raise
        for _, _, step in self.steps:
            if step.key and self.signed_by(signed, claimed.origin, step.key):
                raise Refused("platform_key_revoked", "the checkpoint of %r at size %d is signed with a key of the platform that did not count then" % (claimed.origin, claimed.size))
        raise Refused("checkpoint_unsigned", "the checkpoint of %r at size %d is signed by no key that the platform registered" % (claimed.origin, claimed.size))

    @staticmethod
    def signed_by(signed, origin, key):
        try:
            open_note("checkpoint", signed, [platform_verifier(origin, key)])
        except Refused:
            return False
        return True


def platform_verifier(origin, key):
    if key.alg != "ed25519":
        raise Refused("chain_broken", "the platform's key is no Ed25519 key")
    raw = b"\1" + key.raw
    return Verifier("%s+%s+%s" % (origin, sha256(origin.encode(), b"\n", raw)[:4].hex(), base64.b64encode(raw).decode()))


def covers(log, index, other, size):
    """Whether a head of a log covers an entry of one, None if that cannot be told."""
    if log == other:
        return index < size
    a, b = shard(log), shard(other)
    if a is None or b is None or a[0] != b[0]:
        return None
    return a[1] < b[1]


def shard(origin):
    """The tenant's part of an origin, and the shard's place in time."""
    m = re.fullmatch(r"(.*)/([0-9]+)(?:\.([0-9]+))?", origin, re.ASCII | re.DOTALL)
    return (m[1], (int(m[2]), int(m[3] or 0))) if m else None


def leaf_in_file(encoded):
    try:
        return Leaf(encoded)
    except Refused as e:
        raise Refused("leaf_malformed", str(e)) from None


def about(wanted, found):
    """The file is about the entry that was asked for, if one was."""
    if wanted is not None and wanted != found:
        raise Refused("not_included", "the file is about the entry %s, and not about %s" % (found.hex(), wanted.hex()))


class Verification:
    """A bundle's checks in their order. Each adds a line to the report or refuses."""

    def __init__(self, data, policy, entry=None):
        self.data, self.policy, self.entry, self.checks, self.before = data, policy, entry, [], None
        self.opened, self.said, self.anchor, self.anchored = {}, None, None, None

    def run(self):
        """The result. Refused: the report ends with the check that failed."""
        steps = (
            ("file", self.read), ("entry", self.check_leaf), ("log's keys", self.check_platform), ("log", self.check_inclusion),
            ("anchor", self.check_anchor), ("witnesses", self.check_quorum), ("time", self.check_time), ("signer", self.check_signer),
            ("signature", self.check_signature), ("values", self.check_fields), ("model", self.check_model),
        )  # fmt: skip
        self.go(steps)
        return "proven" if self.policy else "consistent with the keys it carries (not pinned)"

    def go(self, steps):
        for self.name, step in steps:
            try:
                step()
            except Refused:
                self.checks.append((self.name, "failed", "This does not hold."))
                raise

    def ok(self, text, *args):
        self.checks.append((self.name, "ok", text % args))

    def absent(self, text, *args):
        self.checks.append((self.name, "absent", text % args))

    def read(self):
        self.b = Bundle(self.data)
        about(self.entry, leaf_hash(self.b.leaf))
        self.ok("The file is whole: %d parts, each with the hash that its manifest gives, and not a byte besides.", self.b.count)

    def check_leaf(self):
        self.leaf = leaf_in_file(self.b.leaf)
        self.say_leaf()

    def say_leaf(self):
        place = "as step %d of %s" % (self.leaf.seq, self.leaf.object) if self.leaf.object else "of no object"
        if self.leaf.elem:
            place += ", at element %r of the model" % self.leaf.elem
        self.ok("The entry says: %r %s, by %s, on %s by the server's clock.", self.leaf.kind, place, self.leaf.act, self.leaf.at)

    def check_platform(self):
        if not self.b.platform:
            raise Refused("chain_missing", "the bundle does not say how the keys that sign the log were registered")
        self.platform = Chain("platform", self.b.platform)
        if self.platform.steps[0][2].kind != "platform":
            raise broken("platform", 0, "the signer is a %s" % self.platform.steps[0][2].kind)
        self.check_chain(self.platform)
        self.ok("The platform's chain has %d steps; each is in the log.", len(self.platform.steps))

    def check_chain(self, chain):
        """Each step of a chain is in its log."""
        for i, (link, (leaf, index, _)) in enumerate(zip(chain.links, chain.steps)):
            c, _ = self.open(link.proof.checkpoint)
            if c.origin != leaf.log:
                raise self.other_log(leaf.log, c.origin)
            try:
                check_inclusion(leaf.hash, index, c.size, link.proof.path, c.root)
            except Refused as e:
                raise broken(chain.what, i, str(e)) from None

    @staticmethod
    def other_log(want, got):
        return Refused("checkpoint_of_other_log", "the entry is of the log %r, and the checkpoint of %r" % (want, got))

    def open(self, signed):
        """A checkpoint that the platform's key of that time signed, and the policy allows."""
        if signed not in self.opened:
            c, good = self.platform.open(signed), {}
            if self.policy:
                _, good = self.policy.open(signed)
            self.opened[signed] = c, good
        return self.opened[signed]

    def check_inclusion(self):
        p = self.b.proof
        claimed = claimed_checkpoint(p.checkpoint)
        if claimed.origin != self.leaf.log:
            raise self.other_log(self.leaf.log, claimed.origin)
        self.head, self.cosigned = self.open(p.checkpoint)
        check_inclusion(self.leaf.hash, p.index, self.head.size, p.path, self.head.root)
        self.ok("The entry is number %d of %d in the log %r, whose head is signed by a key that counted then.", p.index + 1, self.head.size, self.head.origin)

    def check_anchor(self):
        if not self.b.anchor:
            return self.absent("The bundle does not place the log's head in an anchor log.")
        proof, blind, _ = self.b.anchor
        self.anchor = claimed_checkpoint(proof.checkpoint)
        entry = sha256(blind, self.head.text)
        try:
            check_inclusion(leaf_hash(entry), proof.index, self.anchor.size, proof.path, self.anchor.root)
        except Refused as e:
            raise Refused("anchor_inclusion", "the checkpoint is not in the anchor log: %s" % e) from None
        if not self.policy or all(key.name != self.anchor.origin for key, *_ in self.policy.logs):
            return self.absent("The log's head stands in the anchor log %r; no policy names that log's key.", self.anchor.origin)
        _, self.anchored = self.policy.open(proof.checkpoint)
        self.ok("The log's head stands in the anchor log %r, which a key that the policy names has signed.", self.anchor.origin)

    def check_quorum(self):
        if not self.policy:
            return self.absent("Without a policy nobody says which witnesses count.")
        if self.policy.quorum == "none":
            return self.absent("The policy asks for no witness.")
        try:
            self.policy.check_quorum(self.cosigned)
        except Refused:
            if self.anchored is None:
                raise
            self.policy.check_quorum(self.anchored)
        self.ok("The quorum %r of the policy has seen it.", self.policy.quorum)

    def check_time(self):
        token = self.b.anchor[2] if self.b.anchor else None
        asked = bool(self.policy and self.policy.authorities)
        if token is None:
            if asked:
                raise Refused("timestamp_missing", "the policy names a time stamping authority, and there is no timestamp")
            return self.absent("There is no timestamp.")
        at = check_timestamp(token, self.anchor.text, [der for _, der in self.policy.authorities] if asked else None)
        if not asked:
            return self.absent("A timestamp says that the entry was there on %s; no policy names its authority.", at)
        self.before = at
        self.ok("The entry was in the log on %s at the latest, by an authority that the policy names.", at)

    def check_signer(self):
        self.signer = None
        if not self.leaf.key:
            if self.b.chain or self.b.statement is not None or self.b.signature is not None:
                raise Refused("statement_mismatch", "the bundle has a signer, and the entry names none")
            return self.absent("Nobody signed for this entry with a key of their own; it is attested by the platform alone.")
        if not self.b.chain:
            raise Refused("chain_missing", "the entry names a signer, and the bundle does not say how the signer's key was registered")
        chain = Chain("signer", self.b.chain)
        if chain.newest.hex() != self.leaf.key:
            raise Refused("chain_broken", "the entry names another newest step of its signer than the chain ends with")
        self.check_chain(chain)
        for i, (leaf, index, _) in enumerate(chain.steps):
            if not covers(leaf.log, index, self.leaf.log, self.b.proof.index):
                raise broken("signer", i, "it does not come before the entry")
        self.signer = chain.steps[-1][2]
        if not self.signer.key:
            raise Refused("signer_key_revoked", "the key of signer %r was revoked before this entry" % self.signer.name)
        self.ok("The key of the %s %r was registered before the entry, and not revoked until then.", self.signer.kind, self.signer.name)

    def check_signature(self):
        b, k = self.b, self.signer
        if not k:
            return
        if (b.statement is None) != (b.signature is None):
            raise Refused("statement_mismatch", "the bundle holds a statement without its signature, or the signature alone")
        if b.statement is None:
            return self.absent("The bundle does not hold the statement that was signed.")
        other = Refused("statement_mismatch", "the statement is not the one that the entry names, or about other work")
        if sha256(b.statement).hex() != self.leaf.stmt:
            raise other
        if k.kind == "person":
            s = check_person(b.statement, b.signature, k.key, k.rp, k.origins)
        else:
            s = check_worker(b.statement, b.signature, k.key)
        m, leaf = s.m, self.leaf
        tenant = "underseal/%s/%s/" % (m["deployment"], m["tenant"])
        if not leaf.log.startswith(tenant) or (m["instance"], m["element"], m["model"]) != (leaf.object, leaf.elem, leaf.model):
            raise other
        if "instance." + s.kind.replace(".", "_") != leaf.kind:
            raise other
        self.said = s
        self.ok("With that key the signer signed: %s, %s, on %s by the signer's clock.", s.kind, m["job"] or m["task"], m["at"])

    def check_fields(self):
        for d in self.b.fields:
            d.check(self.leaf)
            seen = self.said is not None and self.said.shows(d.path, d.value, self.b.bindings)
            self.ok("%s = %s was written by this entry%s.", d.path, plain(d.value), ", and the signer signed for it" if seen else "")
        if not self.b.fields:
            return self.absent("The bundle discloses no values.")
        if self.leaf.n > len(self.b.fields):
            self.ok("The entry has %d values more, which this bundle does not disclose.", self.leaf.n - len(self.b.fields))

    def check_model(self):
        if self.b.model is None:
            return self.absent("The bundle does not hold the process model.")
        if sha256(self.b.model).hex() != self.leaf.model:
            raise Refused("model_mismatch", "the process model is not the one that the entry names")
        self.ok("The process model in the file is, to the byte, the one that was executed.")


# Receipts and proofs that are in no bundle ---------------------------------------------


class Lone(Verification):
    """What is checked of a receipt, or of a proof with the entry that it is of."""

    def run(self):
        self.receipt, self.proof, self.given, self.told = None, None, None, None
        self.go((("file", self.read),))
        if not self.policy:
            self.checks = []
            raise Refused("policy_required", "a receipt or proof carries no keys: without a policy nothing of it can be checked", "invalid")
        if self.given is None and self.entry is None:
            self.checks = []
            raise Refused("leaf_required", "a proof alone does not say of which entry it is: --leaf names it", "invalid")
        self.leaf = None
        if self.receipt is not None:
            self.go((("entry", self.check_entry), ("receipt", self.check_receipt)))
            return "signed by the platform (a receipt is no proof)"
        self.go((("entry", self.check_entry), ("log", self.check_proof), ("witnesses", self.check_lone_quorum), ("time", self.check_no_time)))
        return "proven"

    def read(self):
        if self.data.startswith(RECEIPT):
            self.take_receipt(self.data)
        elif self.data.startswith(b"c2sp.org/tlog-proof@v1\n"):
            self.proof = LogProof(self.data)
        else:
            self.read_answer()
        self.ok("The file is %s.", "a proof that an entry is in a log" if self.proof else "a receipt, the platform's signed word that it has an entry")

    def take_receipt(self, signed):
        text, found, _ = signed.partition(b"\n\n")
        if not found or not text.startswith(RECEIPT):
            raise Refused("receipt_malformed", "receipt is refused: it is not a signed note of a receipt")
        self.receipt, self.given = signed, text[len(RECEIPT) :]

    def read_answer(self):
        """The server's answer: {"step", "leaf", "receipt"} or {"leaf", "proof"}."""
        none = malformed_bundle("it is JSON, and neither a receipt nor a proof as the server gives them")
        if len(self.data) > 2 * MAX_NOTE:
            raise none
        try:
            m = strict_json(self.data)
        except (ValueError, RecursionError):
            raise none from None
        if not isinstance(m, dict) or not all(isinstance(v, str) for n, v in m.items() if n != "step"):
            raise none
        if set(m) == {"leaf", "proof"} and m["proof"]:
            self.given = unbase64(m["leaf"])
            if not self.given:
                raise none
            self.proof = LogProof(m["proof"].encode())
        elif set(m) == {"step", "leaf", "receipt"} and m["receipt"] and type(m["step"]) is int:
            self.take_receipt(m["receipt"].encode())
            self.told = m["leaf"], m["step"]
        else:
            raise none

    def check_entry(self):
        if self.given is None:
            return self.absent("The file does not hold the entry, which is known by its hash alone: %s.", self.entry.hex())
        about(self.entry, leaf_hash(self.given))
        self.leaf = leaf_in_file(self.given)
        self.say_leaf()
        if self.told and self.told != (self.leaf.hash.hex(), self.leaf.seq):
            raise Refused("not_included", "the receipt came as one of another entry or step than it is of")

    def check_receipt(self):
        keys = [key for key, *_ in self.policy.logs]
        if all(key.name != self.leaf.log for key in keys):
            raise Refused("log_not_in_policy", "the policy names no key for the log %r" % self.leaf.log)
        try:
            check_receipt(self.receipt, keys)
        except Refused as e:
            if e.code == "receipt_unsigned":
                raise Refused("key_not_in_policy", "the receipt is signed by no key that the policy names for this log") from None
            raise
        self.ok("A key that the policy names for the log %r has signed that it has the entry.", self.leaf.log)
        if self.lacking():
            self.absent("The policy asks for %s, which is not in a receipt: take the evidence bundle.", " and ".join(self.lacking()))
        self.absent("Whether the entry is in the log, and when, a receipt does not show.")

    def check_proof(self):
        self.head, self.cosigned = self.policy.open(self.proof.checkpoint)
        if self.leaf and self.head.origin != self.leaf.log:
            raise self.other_log(self.leaf.log, self.head.origin)
        check_inclusion(self.leaf.hash if self.leaf else self.entry, self.proof.index, self.head.size, self.proof.path, self.head.root)
        self.ok("The entry is number %d of %d in the log %r, whose head is signed by a key that the policy names.", self.proof.index + 1, self.head.size, self.head.origin)

    def lacking(self, cosigned=()):
        """What the policy asks for that only a bundle holds."""
        seen = any((w.name, w.id) in cosigned for _, w in self.policy.witnesses)
        asked = (self.policy.quorum != "none" and not seen, "its witnesses' cosignatures"), (self.policy.authorities, "a timestamp by its authority")
        return [what for lacks, what in asked if lacks]

    def bundle_required(self):
        lacking = " and ".join(self.lacking(self.cosigned))
        return Refused("bundle_required", "the policy asks for %s, which is not in a lone proof: take the evidence bundle" % lacking)

    def check_lone_quorum(self):
        if self.policy.quorum != "none" and not any((w.name, w.id) in self.cosigned for _, w in self.policy.witnesses):
            raise self.bundle_required()
        self.check_quorum()

    def check_no_time(self):
        if self.policy.authorities:
            raise self.bundle_required()
        self.absent("There is no timestamp.")


def verification(data, policy, entry=None):
    """The checks of a file of whichever kind it is."""
    lone = data.startswith((RECEIPT, b"c2sp.org/tlog-proof@v1\n")) or data.lstrip(b" \t\r\n").startswith(b"{")
    return (Lone if lone else Verification)(data, policy, entry)


# Timestamps (RFC 3161), by way of openssl ---------------------------------------------


def openssl(*args):
    import subprocess

    try:
        return subprocess.run(["openssl", *args], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Refused("openssl_missing", "a timestamp takes the command openssl: %s" % e, "unavailable") from None


def check_timestamp(token, message, roots):
    """The time of a token over a message, RFC 3339. Roots None: whoever made it."""
    import os
    import tempfile

    def refused(code, why):
        return Refused("timestamp_" + code, "the timestamp is refused: " + why)

    with tempfile.TemporaryDirectory() as folder:
        paths = {name: os.path.join(folder, name) for name in ("token", "message", "roots")}
        pem = "".join("-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % base64.encodebytes(d).decode() for d in roots or [])
        for name, data in (("token", token), ("message", message), ("roots", pem.encode())):
            with open(paths[name], "wb") as f:
                f.write(data)
        if openssl("cms", "-verify", "-noverify", "-inform", "DER", "-binary", "-in", paths["token"]).returncode:
            raise refused("malformed", "it is no signed message")
        shown = openssl("ts", "-reply", "-token_in", "-in", paths["token"], "-text")
        text = shown.stdout.decode(errors="replace")
        stamp = re.search(r"^Time stamp: (\w+ +\d+ [\d:]+)(?:\.\d+)? (\d+) GMT", text, re.MULTILINE)
        if shown.returncode or not stamp:
            raise refused("malformed", "what is signed is no timestamp")
        dump = re.findall(r"^    [0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){1,16})", text, re.MULTILINE)
        if "Hash Algorithm: sha256" not in text or "".join(re.sub("[^0-9a-f]", "", d) for d in dump) != sha256(message).hex():
            raise refused("other", "it is of something else")
        at = datetime.strptime("%s %s" % stamp.groups(), "%b %d %H:%M:%S %Y").replace(tzinfo=timezone.utc)
        if roots is not None:
            check = openssl("ts", "-verify", "-token_in", "-in", paths["token"], "-data", paths["message"], "-CAfile", paths["roots"], "-attime", str(int(at.timestamp())))
            if check.returncode:
                why = check.stderr.decode(errors="replace")
                raise refused("expired" if "expired" in why or "not yet valid" in why else "foreign", why.strip()[-200:])
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")


# The command -------------------------------------------------------------------------


# The exit codes of `underseal verify` (docs/exit-codes.md).
EXIT = {
    "bundle_malformed": 20, "receipt_malformed": 20, "proof_malformed": 20, "checkpoint_malformed": 20, "leaf_malformed": 20, "bundle_changed": 21,
    "not_included": 22, "checkpoint_of_other_log": 23, "log_not_in_policy": 23, "checkpoint_unsigned": 24, "checkpoint_forged": 24, "receipt_forged": 24,
    "platform_key_revoked": 25, "key_not_in_policy": 26, "key_out_of_range": 26, "quorum_not_met": 27, "timestamp_foreign": 28,
    "timestamp_expired": 29, "timestamp_malformed": 30, "timestamp_other": 30, "timestamp_missing": 30, "disclosure_mismatch": 31,
    "model_mismatch": 32, "signer_key_revoked": 35, "chain_broken": 36, "chain_missing": 36, "anchor_inclusion": 37, "policy_required": 38, "leaf_required": 39, "bundle_required": 42,
}  # fmt: skip
FAMILIES = {"statement": 33, "signature": 34, "webauthn": 34}
KINDS = {"invalid": 10, "integrity": 16, "unavailable": 17}


def exit_code(refused):
    return EXIT.get(refused.code) or FAMILIES.get(refused.code.split("_")[0]) or KINDS[refused.kind]


def report(checks, result, before, refused, as_json):
    if as_json:
        import json

        out = {"result": result or "", "checks": [dict(zip(("check", "status", "shows"), c)) for c in checks]}
        if before:
            out["before"] = before
        if refused:
            out.update(error=str(refused), code=refused.code, kind=refused.kind)
        print(json.dumps(out))
        return
    for name, status, shows in checks:
        print("%-7s %-11s %s" % (status, name, shows))
    if refused:
        print("error: %s (%s)" % (refused, refused.code), file=sys.stderr)
    else:
        print("\nresult: %s" % result)


def main(args):
    import argparse

    parser = argparse.ArgumentParser(description="Checks evidence, receipts and proofs of Underseal, offline.")
    parser.add_argument("file")
    parser.add_argument("--policy", help="whom to believe: a file that came by another way than the other")
    parser.add_argument("--leaf", help="the entry that the file has to be about: its hash, or a file that holds it")
    parser.add_argument("--require-policy", action="store_true", help="refuse to check without one")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(args)
    v, result, refused = None, None, None
    try:
        policy = None
        if given.policy:
            with open(given.policy, "rb") as f:
                policy = Policy(f.read())
        elif given.require_policy:
            raise Refused("policy_required", "there is no policy to check by", "invalid")
        entry = unhex(given.leaf or "")
        if given.leaf and entry is None:
            with open(given.leaf, "rb") as f:
                entry = leaf_in_file(f.read(MAX_NOTE)).hash
        with open(given.file, "rb") as f:
            v = verification(f.read(MAX_BUNDLE + 1), policy, entry)
        result = v.run()
    except OSError as e:
        refused = Refused("unreadable", str(e), "invalid")
    except Refused as e:
        refused = e
    report(v.checks if v else [], result, v.before if v else None, refused, given.json)
    return exit_code(refused) if refused else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
