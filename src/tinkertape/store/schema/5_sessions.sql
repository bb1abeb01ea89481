-- sessions: which run a session of the service belongs to; from the tinker.session.create that the run recorded.
CREATE TABLE IF NOT EXISTS sessions
(
    session_id String,
    project String,
    run String,
    arrival UInt64
)
ENGINE = ReplacingMergeTree
ORDER BY (session_id, project, run)
SETTINGS fsync_after_insert = 1
