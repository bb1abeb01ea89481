-- run_extent: how many events has one run, each once, and how far did they come?  Reads that run's key columns.
-- run String → events UInt64, last_arrival UInt64, began_us Int64, last_us Int64 (all 0: no such run)
SELECT count() AS events, max(arrival) AS last_arrival,
       if(count() = 0, 0, toUnixTimestamp64Micro(min(time))) AS began_us, if(count() = 0, 0, toUnixTimestamp64Micro(max(time))) AS last_us
FROM events FINAL
WHERE run = {run:String}
