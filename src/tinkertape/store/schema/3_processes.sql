-- processes: who recorded a run; one row a process, from the header of its tape.
CREATE TABLE IF NOT EXISTS processes
(
    project LowCardinality(String),
    run String,
    process String,
    arrival UInt64,
    name String,
    wall_ns Int64,  -- when it began to record
    header String  -- JSON, as on the tape
)
ENGINE = ReplacingMergeTree
ORDER BY (project, run, process)
SETTINGS fsync_after_insert = 1
