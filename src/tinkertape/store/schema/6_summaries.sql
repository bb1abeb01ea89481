-- summaries: a run in one row, as the list shows it; made from its report, and made again when the run grows.
CREATE TABLE IF NOT EXISTS summaries
(
    project LowCardinality(String),
    run String,
    began_us Int64,
    arrival UInt64,  -- how far into the run's events it has seen
    version UInt64,
    summary String CODEC(ZSTD(1))  -- JSON
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (project, run)
