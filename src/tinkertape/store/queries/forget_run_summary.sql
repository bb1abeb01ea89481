-- forget_run_summary: take a run out of the list whose events were filed under another.
-- run String
DELETE FROM summaries WHERE run = {run:String}
