-- store_passed: what has passed becomes stored, but for events of ours that are known to be.
-- first UInt64 (the arrival of the first line), processes Array(String) (project, run, process, a line each), known Array(UInt64) (of each: below that all is stored)
INSERT INTO events (project, run, time, process, `index`, event_id, arrival, name, kind, logged, severity, session_id, sdk_version, operation, monotonic_ns,
                    duration_ns, trace_id, span_id, measurements, metadata, scope)
SELECT project, run, time, process, `index`, event_id, {first:UInt64} + line, name, kind, logged, severity, session_id, sdk_version,
       if(metadata = '', '', JSONExtractString(metadata, 'operation')), monotonic_ns,
       if(measurements != '' AND JSONType(measurements, 'duration') = 'Int64', greatest(JSONExtractInt(measurements, 'duration'), -1), -1),
       trace_id, span_id, measurements, metadata, scope
FROM passing
WHERE event_id != '' OR `index` >= {known:Array(UInt64)}[indexOf({processes:Array(String)}, concat(project, '\n', run, '\n', process))]
SETTINGS max_threads = 1
