-- ledgers: what a process says it recorded and dropped so far; the latest word, which is the largest, stays.
CREATE TABLE IF NOT EXISTS ledgers
(
    project LowCardinality(String),
    run String,
    process String,
    recorded UInt64,
    dropped String,  -- JSON object: reason to number
    closed String,  -- '': not closed; else its status
    version UInt64 MATERIALIZED recorded * 2 + (closed != '')
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (project, run, process)
SETTINGS fsync_after_insert = 1
