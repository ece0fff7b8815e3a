-- Where somebody is signed in: the keyed hash of the text that they show, what it is
-- called, whose object it leads to, when it ends, the keyed hash of the session at an issuer that
-- it came from, if that has one, and the rest, sealed with all of that as its place. Here
-- and not beside the data, so that nobody brings one back that was ended.
CREATE TABLE sessions (
    tenant  text COLLATE "C" NOT NULL CHECK (tenant <> ''),
    token   bytea  NOT NULL CHECK (octet_length(token) = 32),
    id      bytea  NOT NULL CHECK (octet_length(id) = 16),
    object  bytea  NOT NULL CHECK (octet_length(object) = 16),
    expires bigint NOT NULL,
    there   bytea  NOT NULL CHECK (octet_length(there) IN (0, 32)),
    sealed  bytea  NOT NULL CHECK (octet_length(sealed) > 0),
    PRIMARY KEY (tenant, token)
);
CREATE UNIQUE INDEX sessions_by_id ON sessions (tenant, id);
CREATE INDEX sessions_by_object ON sessions (tenant, object);
CREATE INDEX sessions_by_there ON sessions (tenant, there);
CREATE INDEX sessions_by_end ON sessions (expires);

GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO underseal_keyring;
