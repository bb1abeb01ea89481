-- summary: one run as the list shows it?  Reads that row, by key.
-- run String → run String, began_us Int64, arrival UInt64, summary String
SELECT run, began_us, arrival, summary FROM summaries FINAL WHERE run = {run:String}
