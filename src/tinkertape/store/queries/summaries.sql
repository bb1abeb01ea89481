-- summaries: the runs, newest first, from a cursor on?  Reads the table, one row a run.
-- before_us Int64, before_run String (the last one seen; the largest for the first page), limit UInt32 → run String, began_us Int64, arrival UInt64, summary String
SELECT run, began_us, arrival, summary
FROM summaries FINAL
WHERE (began_us, run) < ({before_us:Int64}, {before_run:String})
ORDER BY began_us DESC, run DESC
LIMIT {limit:UInt32}
