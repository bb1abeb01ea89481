-- last_events: what happened last in one run?  Reads that run only, by sort key.
-- run String, limit UInt32 → the columns of an event, newest first
SELECT project, run, toUnixTimestamp64Micro(time) AS time_us, process, `index`, event_id, name, kind, logged, severity, session_id, sdk_version,
       monotonic_ns, trace_id, span_id, measurements, metadata, scope, arrival
FROM events FINAL
WHERE run = {run:String}
ORDER BY time DESC, process DESC, `index` DESC, event_id DESC
LIMIT {limit:UInt32}
