-- ledgers: what did the processes of a run (or of all, '') say last of what they recorded and dropped?  Reads the table, one row a process.
-- run String → run String, process String, recorded UInt64, dropped String, closed String
SELECT run, process, recorded, dropped, closed
FROM ledgers FINAL
WHERE {run:String} = '' OR run = {run:String}
ORDER BY run, process
