CREATE TABLE IF NOT EXISTS owners (
    pipeline TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL,
    destination TEXT NOT NULL,
    source_table TEXT NOT NULL,
    letters INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    UNIQUE (pipeline, destination, source_table)
);
-- A position fits: the log of a source never reaches the half of what 64 bits can count.
CREATE TABLE IF NOT EXISTS letters (
    stream INTEGER NOT NULL REFERENCES streams,
    commit_lsn INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    shape INTEGER NOT NULL,
    operation TEXT NOT NULL,
    old BLOB NOT NULL,
    new BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    added_at INTEGER NOT NULL,
    failure TEXT,
    PRIMARY KEY (stream, commit_lsn, ordinal)
);
CREATE TABLE IF NOT EXISTS shapes (
    pipeline TEXT NOT NULL,
    id INTEGER NOT NULL,
    shape TEXT NOT NULL,
    PRIMARY KEY (pipeline, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spills (
    pipeline TEXT NOT NULL,
    destination TEXT NOT NULL,
    worker INTEGER NOT NULL,
    end_lsn INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (pipeline, destination, worker)
) WITHOUT ROWID;
