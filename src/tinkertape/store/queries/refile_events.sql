-- refile_events: copy what a session's own bodies brought to the run that the session belongs to, the first copy of each.  The identity makes a second copy harmless.
-- session_id String, project String, run String, first UInt64 (the arrival of the first, so that a follower of the run sees them)
INSERT INTO events (project, run, time, process, `index`, event_id, arrival, name, kind, logged, severity, session_id, sdk_version, operation, monotonic_ns,
                    duration_ns, trace_id, span_id, measurements, metadata, scope)
SELECT {project:String}, {run:String}, time, process, `index`, event_id, {first:UInt64} + rowNumberInAllBlocks(), name, kind, logged, severity, session_id, sdk_version,
       operation, monotonic_ns, duration_ns, trace_id, span_id, measurements, metadata, scope
FROM (SELECT * FROM events WHERE run = {session_id:String} ORDER BY arrival LIMIT 1 BY process, `index`, event_id)
