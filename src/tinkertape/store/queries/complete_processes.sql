-- complete_processes: of which processes is every event of ours from the first to the highest index stored, and how many are that?  Reads three columns of the key: asked once, at the start.
-- → project String, run String, process String, events UInt64
SELECT project, run, process, groupBitmap(`index`) AS events
FROM events
WHERE event_id = ''
GROUP BY project, run, process
HAVING events = max(`index`) + 1
ORDER BY project, run, process
