-- rejected: lines and events that were set aside, with the reason. id is the event's own, or made of the text and its place: a line read twice is one row.
CREATE TABLE IF NOT EXISTS rejected
(
    project LowCardinality(String),
    run LowCardinality(String),
    process LowCardinality(String),
    id String,
    arrival UInt64 CODEC(Delta, ZSTD(1)),
    reason LowCardinality(String),
    source String CODEC(ZSTD(1)),  -- the tape, and the byte in it
    text String CODEC(ZSTD(1))  -- how it begins
)
ENGINE = ReplacingMergeTree
ORDER BY (project, run, process, id)
SETTINGS fsync_after_insert = 1
