-- stored_by_process: how many events are stored, each once, and which is the highest index, by process?  Reads the key columns of a run, or of all ('').
-- run String → run String, process String, stored UInt64, ours UInt64 (with a derived id), highest Int64 (of ours; -1: none)
SELECT run, process, count() AS stored, countIf(event_id = '') AS ours,
       if(ours = 0, -1, maxIf(toInt64(`index`), event_id = '')) AS highest
FROM events FINAL
WHERE {run:String} = '' OR run = {run:String}
GROUP BY run, process
ORDER BY run, process
