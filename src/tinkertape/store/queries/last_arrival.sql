-- last_arrival: the cursor of the newest row, so that the next one is larger, whatever the clock says.  Reads one column.
-- → arrival UInt64
SELECT max(arrival) AS arrival FROM events
