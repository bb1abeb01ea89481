-- events: what happened, one row an event; the identity is the sorting key, so that a duplicate is merged away, and the one that came first stays.
-- arrival grows with every row that the loader inserts (nanoseconds since 1970, made unique): it is the cursor of whoever follows a run.
CREATE TABLE IF NOT EXISTS events
(
    project LowCardinality(String),
    run LowCardinality(String),
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    process LowCardinality(String),
    `index` UInt64 CODEC(Delta, ZSTD(1)),
    event_id String CODEC(ZSTD(1)),  -- '' for ours: derived from process and index
    arrival UInt64 CODEC(Delta, ZSTD(1)),
    precedence UInt64 MATERIALIZED 18446744073709551615 - arrival CODEC(Delta, ZSTD(1)),
    name LowCardinality(String),
    kind LowCardinality(String),
    logged Bool,  -- given to `log`: its data is event_data on the tape
    severity LowCardinality(String),
    session_id LowCardinality(String),
    sdk_version LowCardinality(String),
    operation LowCardinality(String),
    monotonic_ns Int64 CODEC(Delta, ZSTD(1)),
    duration_ns Int64 CODEC(T64, ZSTD(1)),  -- -1: none
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    measurements String CODEC(ZSTD(1)),  -- JSON objects, as on the tape
    metadata String CODEC(ZSTD(1)),
    scope String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(time)
ORDER BY (project, run, time, process, `index`, event_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_parts_to_merge_at_once = 12  -- a part of a backlog is merged once, not three times
