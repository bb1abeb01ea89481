-- processes: who recorded a run (or any, ''), oldest first?  Reads the table, one row a process.
-- run String → project String, run String, process String, name String, wall_ns Int64, header String
SELECT project, run, process, name, wall_ns, header
FROM processes FINAL
WHERE {run:String} = '' OR run = {run:String}
ORDER BY run, wall_ns, process
