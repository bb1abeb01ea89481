-- cut_lines: how many lines of one run were set aside because they lack their end, each once?  Reads the run's rows.
-- run String, ending String (of the reason) → lines UInt64
SELECT count() AS lines
FROM rejected FINAL
WHERE run = {run:String} AND endsWith(reason, {ending:String})
