-- sessions_unfiled: which sessions belong to a run, and still have events filed under their own name?  Reads the run column: asked once, at the start.
-- → session_id String
SELECT DISTINCT run AS session_id
FROM events
WHERE run IN (SELECT session_id FROM sessions WHERE session_id != run)
ORDER BY session_id
