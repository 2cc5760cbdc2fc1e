-- A node's own memory: what it holds until the orchestrator has acknowledged the end of it.

-- Jobs as the executions below carry them, each kept once.
CREATE TABLE jobs (
    id       TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    body     BLOB    NOT NULL,
    PRIMARY KEY (id, version, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    number       INTEGER PRIMARY KEY,  -- grows with the first write: oldest first
    execution_id TEXT    NOT NULL UNIQUE,
    job_id       TEXT    NOT NULL,
    job_version  INTEGER NOT NULL,
    job_revision INTEGER NOT NULL,
    body         BLOB    NOT NULL      -- execution, report and number as JSON
) STRICT;
CREATE INDEX entries_job ON entries (job_id, job_version, job_revision);
