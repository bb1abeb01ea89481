-- sessions: which run does each session belong to?  The first that said so.  Reads the table.
-- → session_id String, project String, run String
SELECT session_id, argMin(project, arrival) AS project, argMin(run, arrival) AS run
FROM sessions
GROUP BY session_id
ORDER BY session_id
