-- The orchestrator's state. `body` is the whole record as JSON; the columns beside it are
-- what is searched, joined and compared. Times are nanoseconds since the epoch.

CREATE TABLE jobs (
    number      INTEGER PRIMARY KEY,  -- grows with creation: breaks ties of time in pages
    id          TEXT    NOT NULL UNIQUE,
    namespace   TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    ended       INTEGER NOT NULL,     -- 1 when its state is terminal
    create_time INTEGER NOT NULL,
    modify_time INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    UNIQUE (namespace, name)
) STRICT;
CREATE INDEX jobs_created ON jobs (create_time);
CREATE INDEX jobs_modified ON jobs (modify_time);
CREATE INDEX jobs_namespace_created ON jobs (namespace, create_time);
CREATE INDEX jobs_namespace_modified ON jobs (namespace, modify_time);
CREATE INDEX jobs_live ON jobs (number) WHERE ended = 0;

-- Older versions as they last were; the newest is in jobs.
CREATE TABLE job_versions (
    job     INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body    BLOB    NOT NULL,
    PRIMARY KEY (job, version)
) STRICT, WITHOUT ROWID;

-- Labels of the newest version, each with the job's time, so that the jobs of one label
-- are a range in order of creation.
CREATE TABLE job_labels (
    key         TEXT    NOT NULL,
    value       TEXT    NOT NULL,
    create_time INTEGER NOT NULL,
    job         INTEGER NOT NULL,
    PRIMARY KEY (key, value, create_time, job)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_labels_job ON job_labels (job);

CREATE TABLE executions (
    number   INTEGER PRIMARY KEY,     -- grows with creation
    id       TEXT    NOT NULL UNIQUE,
    job      INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    settled  INTEGER NOT NULL,        -- 1 when the node has said its last word
    body     BLOB    NOT NULL
) STRICT;
CREATE INDEX executions_job ON executions (job);
CREATE INDEX executions_unsettled ON executions (job) WHERE settled = 0;

-- One row holds the events that one commit brought for one job: a JSON array, the last of
-- which has the sequence number `last`.
CREATE TABLE events (
    job  INTEGER NOT NULL,
    last INTEGER NOT NULL,
    body BLOB    NOT NULL,
    PRIMARY KEY (job, last)
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
    id       TEXT    NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    body     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
