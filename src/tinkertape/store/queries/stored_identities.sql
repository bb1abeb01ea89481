-- stored_identities: which of these identities of one run are stored already?  Reads that run only, by sort key.
-- run String, processes Array(String), low UInt64, high UInt64 → process String, index UInt64, event_id String
SELECT process, `index`, event_id
FROM events
WHERE run = {run:String} AND process IN {processes:Array(String)} AND `index` BETWEEN {low:UInt64} AND {high:UInt64}
GROUP BY process, `index`, event_id
