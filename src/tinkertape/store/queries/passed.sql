-- passed: what has passed, by process.  Reads the table in memory.
-- → project, run, process String, events UInt64, unfit UInt64, ours UInt64 (with a derived id), and of those: lowest, highest UInt64, different UInt64
SELECT project, run, process, count() AS events, countIf(unfit) AS unfit, countIf(event_id = '') AS ours, minIf(`index`, event_id = '') AS lowest,
       maxIf(`index`, event_id = '') AS highest, uniqExactIf(`index`, event_id = '') AS different
FROM passing
GROUP BY project, run, process
