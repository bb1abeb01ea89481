-- stored_by_process: how many events are stored, each once, and which is the highest index, by process?  Reads the key columns of a run, or of all ('').
-- Ours are counted in a bitmap of their indexes (some bits an event), those of a plain SDK one by one: by two threads, each with a set of its own, it takes twice the memory and a quarter longer.
-- run String → run String, process String, stored UInt64, ours UInt64 (with a derived id), highest Int64 (of ours; -1: none)
SELECT run, process, ours + uniqExactIf((`index`, event_id), event_id != '') AS stored, groupBitmapIf(`index`, event_id = '') AS ours,
       if(ours = 0, -1, maxIf(toInt64(`index`), event_id = '')) AS highest
FROM events
WHERE {run:String} = '' OR run = {run:String}
GROUP BY run, process
ORDER BY run, process
SETTINGS max_threads = 1
