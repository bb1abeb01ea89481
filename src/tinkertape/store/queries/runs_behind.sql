-- runs_behind: which runs have grown since they were summed up?  Reads two columns of all events: asked once, at the start.
-- → run String
SELECT run
FROM (SELECT run, max(arrival) AS arrival FROM events GROUP BY run) AS grown
LEFT JOIN (SELECT run, arrival AS seen FROM summaries FINAL) AS summed USING (run)
WHERE grown.arrival > summed.seen
ORDER BY grown.arrival DESC
