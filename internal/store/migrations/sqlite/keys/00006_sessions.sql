-- Where somebody is signed in: the keyed hash of the text that they show, what it is
-- called, whose object it leads to, when it ends, the keyed hash of the session at an issuer that
-- it came from, if that has one, and the rest, sealed with all of that as its place. Here
-- and not beside the data, so that nobody brings one back that was ended.
CREATE TABLE sessions (
    tenant  TEXT    NOT NULL CHECK (tenant <> ''),
    token   BLOB    NOT NULL CHECK (length(token) = 32),
    id      BLOB    NOT NULL CHECK (length(id) = 16),
    object  BLOB    NOT NULL CHECK (length(object) = 16),
    expires INTEGER NOT NULL,
    there   BLOB    NOT NULL CHECK (length(there) IN (0, 32)),
    sealed  BLOB    NOT NULL CHECK (length(sealed) > 0),
    PRIMARY KEY (tenant, token)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sessions_by_id ON sessions (tenant, id);
CREATE INDEX sessions_by_object ON sessions (tenant, object);
CREATE INDEX sessions_by_there ON sessions (tenant, there);
CREATE INDEX sessions_by_end ON sessions (expires);
