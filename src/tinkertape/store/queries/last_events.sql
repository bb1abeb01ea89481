-- last_events: what happened last in one run, and is each the first copy of its event?  Reads that run's key and arrivals, then the page.
-- run String, limit UInt32 → the columns of an event, newest first, arrival, is_first UInt8
WITH page AS (SELECT arrival, `index` FROM events WHERE run = {run:String} ORDER BY time DESC, process DESC, `index` DESC, event_id DESC LIMIT {limit:UInt32}),
     firsts AS (SELECT process, `index`, event_id, min(arrival) AS arrival
                FROM events
                WHERE run = {run:String} AND `index` IN (SELECT `index` FROM page)
                GROUP BY process, `index`, event_id)
SELECT project, run, toUnixTimestamp64Micro(time) AS time_us, process, `index`, event_id, name, kind, logged, severity, session_id, sdk_version,
       monotonic_ns, trace_id, span_id, measurements, metadata, scope, arrival, arrival IN (SELECT arrival FROM firsts) AS is_first
FROM events
WHERE run = {run:String} AND arrival IN (SELECT arrival FROM page)
ORDER BY time DESC, process DESC, `index` DESC, event_id DESC
