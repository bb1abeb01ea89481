-- run_events: what happened in one run, in the order in which it arrived, after a cursor?  Reads that run only, by sort key.
-- run String, after UInt64, limit UInt32 → the columns of an event, arrival last
SELECT project, run, toUnixTimestamp64Micro(time) AS time_us, process, `index`, event_id, name, kind, logged, severity, session_id, sdk_version,
       monotonic_ns, trace_id, span_id, measurements, metadata, scope, arrival
FROM events FINAL
WHERE run = {run:String} AND arrival > {after:UInt64}
ORDER BY arrival
LIMIT {limit:UInt32}
