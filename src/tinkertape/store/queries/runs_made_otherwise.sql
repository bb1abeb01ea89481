-- runs_made_otherwise: which runs were summed up by other rules than these, newest first?  Reads the table, one row a run: asked once, at the start.
-- rule String → run String
SELECT run
FROM summaries FINAL
WHERE JSONExtractString(summary, 'rule') != {rule:String}
ORDER BY began_us DESC, run DESC
