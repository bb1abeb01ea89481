-- count_events: how many events has one run, each once?  Reads that run's key columns.
-- run String → events UInt64 (0: no such run)
SELECT sum(ours + foreign_ones) AS events
FROM
(
    SELECT groupBitmapIf(`index`, event_id = '') AS ours, uniqExactIf((`index`, event_id), event_id != '') AS foreign_ones
    FROM events
    WHERE run = {run:String}
    GROUP BY process
)
