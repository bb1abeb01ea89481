-- rejected_by_process: how many lines were set aside, each once, by process?  Reads the key of a run, or of all ('').
-- run String → run String, process String, rejected UInt64
SELECT run, process, count() AS rejected
FROM rejected FINAL
WHERE {run:String} = '' OR run = {run:String}
GROUP BY run, process
ORDER BY run, process
