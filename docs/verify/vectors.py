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


def data_root(commitments):
    """The root of docs/design/ledger.md over all commitments, of which a bundle has one path."""
    def fold(hashes):
        if len(hashes) == 1:
            return hashes[0]
        left = 1 << (len(hashes) - 1).bit_length() - 1
        return v.node_hash(fold(hashes[:left]), fold(hashes[left:]))

    return fold([v.leaf_hash(c) for c in sorted(commitments)]) if commitments else v.EMPTY_ROOT


def root(c):
    """Also of the rows, which stay where they are stored: no bundle holds them."""
    commitments, sealed = ([bytes.fromhex(text) for text in c.get(name, [])] for name in ("commitments", "sealed"))
    rows = v.sha256(v.tuple_of(bytes.fromhex(c.get("step", "")), *sealed))
    return same((data_root(commitments).hex(), rows.hex()), (c["root"], c["rows"]))


def refusal(run):
    """Kind and code by which something is refused, or none of them."""
    try:
        run()
    except v.Refused as e:
        return e.kind, e.code
    return "", ""


def refused_as(c):
    return c.get("kind", ""), c.get("code", "")


def consistency(c):
    old_root, new_root, *proof = (bytes.fromhex(text) for text in [c["old_root"], c["root"], *c["proof"]])
    return same(refusal(lambda: v.check_consistency(int(c["old"]), int(c["size"]), proof, old_root, new_root)), refused_as(c))


def policy(c):
    def run():
        p = v.Policy(c["policy"].encode())
        if c.get("note"):
            _, good = p.open(c["note"].encode())
            p.check_quorum(good)

    return same(refusal(run), refused_as(c))


def cosignature(c):
    at = None

    def run():
        nonlocal at
        try:
            key = v.Verifier(c["key"])
        except ValueError as e:
            raise v.Refused("invalid", str(e), "invalid") from None
        text, good = v.open_note("checkpoint", c["note"].encode(), [key])
        v.Checkpoint(text)
        at = str(int.from_bytes(good[key.name, key.id][:8], "big"))

    return same((refusal(run), at), (refused_as(c), c.get("at")))


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
check("ledger/testdata/root.json", root)
check("ledger/testdata/consistency.json", consistency)
check("ledger/testdata/cosignature.json", cosignature)
check("ledger/testdata/policy.json", policy)
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
