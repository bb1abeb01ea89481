-- rejected_reasons: why were lines set aside, and how many for each reason?  Reads the table.
-- → reason String, rejected UInt64
SELECT reason, count() AS rejected FROM rejected FINAL GROUP BY reason ORDER BY reason
