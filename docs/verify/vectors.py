#!/usr/bin/env python3
"""Runs verify.py over the vectors of the formats: vectors.py REPOSITORY

Prints how many of each kind agreed; exits 1 with the first that do not."""

import json
import os
import sys

import verify as v

ROOT = sys.argv[1]
wrong = []


def load(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="surrogatepass") as f:
        return json.load(f)


def check(path, agrees):
    """Calls agrees on each vector. None at all would prove nothing."""
    vectors = load(path)
    for n, c in enumerate(vectors):
        try:
            found = agrees(c)
        except Exception as e:  # a verifier that breaks has not refused
            found = "%s: %s" % (type(e).__name__, e)
        if found is not True:
            wrong.append("%s, vector %d (%s): %s" % (path, n, c.get("name", ""), found))
    if not vectors:
        wrong.append("%s has no vectors" % path)
    print("%s: %d" % (path, len(vectors)))


def code_of(run):
    """The code by which something is refused, empty if it is accepted."""
    try:
        run()
    except v.Refused as e:
        return e.code
    return ""


def same(got, want):
    return True if got == want else "got %r, want %r" % (got, want)


def canonical(c):
    raw = c["text"].encode("utf-8", "surrogatepass")
    return same((v.type_name(v.decode(raw)), v.encode(v.decode(raw))), (c["type"], raw))


def not_canonical(c):
    try:
        v.decode(c["text"].encode("utf-8", "surrogatepass"))
    except v.NotCanonical:
        return True
    return "accepted"


def leaf(c):
    try:
        got = v.Leaf(c["leaf"].encode()).hash.hex()
    except v.Refused:
        got = ""
    return same(got, c.get("hash", ""))


def commitment(c):
    place = v.tuple_of(c["log"], c["obj"], int(c["seq"]).to_bytes(8, "big"), c["path"])
    key = v.mac(bytes.fromhex(c["prk"]), b"underseal/v1/commit\0" + place + b"\1")
    value = v.decode(c["value"].encode())
    return same((key.hex(), v.commit(key, c["path"], value).hex()), (c["key"], c["commitment"]))


def statement(c):
    got = code_of(lambda: v.Statement(c["statement"].encode()))
    if not got:
        got = v.sha256(c["statement"].encode()).hex()
    return same(got, c.get("code") or c.get("hash"))


def binding(c):
    key = v.mac(bytes.fromhex(c["nonce"]), b"underseal/v1/statement\0" + v.tuple_of(c["path"]) + b"\1")
    return same((key.hex(), v.commit(key, c["path"], v.decode(c["value"].encode())).hex()), (c["key"], c["commitment"]))


def public_key(c):
    try:
        v.PublicKey(c["alg"], c["public"])
    except ValueError:
        return same("key_unsuitable", c.get("code", ""))
    return same("", c.get("code", ""))


def worker(c):
    key = v.PublicKey(c["alg"], c["public"])
    return same(code_of(lambda: v.check_worker(c["statement"].encode(), c["signature"].encode(), key)), c.get("code", ""))


def person(c):
    key = v.PublicKey(c["alg"], c["public"])
    run = lambda: v.check_person(c["statement"].encode(), c["signature"].encode(), key, c["rp"], c["origins"])  # noqa: E731
    return same(code_of(run), c.get("code", ""))


def evidence(c):
    with open(os.path.join(ROOT, "ledger/testdata", c["file"]), "rb") as f:
        data = f.read()
    result = ""
    try:
        policy = v.Policy(c["policy"].encode()) if c.get("policy") else None
        result = v.Verification(data, policy).run()
        code = ""
    except v.Refused as e:
        code = e.code
    return same((result, code), (c.get("result", ""), c.get("code", "")))


def lone(c):
    result = ""
    try:
        policy = v.Policy(c["policy"].encode()) if c.get("policy") else None
        result = v.verification(c["text"].encode(), policy, v.unhex(c.get("leaf", ""))).run()
        code = ""
    except v.Refused as e:
        code = e.code
    return same((result, code), (c.get("result", ""), c.get("code", "")))


check("internal/canon/testdata/canon_accept.json", canonical)
check("internal/canon/testdata/canon_refuse.json", not_canonical)
check("ledger/testdata/leaf.json", leaf)
check("ledger/testdata/commitment.json", commitment)
check("ledger/testdata/statement.json", statement)
check("ledger/testdata/binding.json", binding)
check("ledger/testdata/publickey.json", public_key)
check("ledger/testdata/signature.json", worker)
check("ledger/testdata/webauthn.json", person)
check("ledger/testdata/evidence.json", evidence)
check("ledger/testdata/lone.json", lone)
for line in wrong[:20]:
    print(line, file=sys.stderr)
sys.exit(1 if wrong else 0)
