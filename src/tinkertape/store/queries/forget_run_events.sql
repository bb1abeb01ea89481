-- forget_run_events: take the events out of a run whose events were filed under another.
-- run String
DELETE FROM events WHERE run = {run:String}
