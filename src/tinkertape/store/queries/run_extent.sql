-- run_extent: how many events has one run, each once, and how far did they come?  Reads that run's key columns.
-- run String → events UInt64, last_arrival UInt64, began_us Int64, last_us Int64 (all 0: no such run)
SELECT sum(ours + foreign_ones) AS events, max(newest) AS last_arrival,
       if(events = 0, 0, toUnixTimestamp64Micro(min(earliest))) AS began_us, if(events = 0, 0, toUnixTimestamp64Micro(max(latest))) AS last_us
FROM
(
    SELECT groupBitmapIf(`index`, event_id = '') AS ours, uniqExactIf((`index`, event_id), event_id != '') AS foreign_ones,
           max(arrival) AS newest, min(time) AS earliest, max(time) AS latest
    FROM events
    WHERE run = {run:String}
    GROUP BY process
)
