-- pass_lines: the events of plain lines (collector/plain.py), in the order of the lines, as `tape.format.decode_line` has them.  Reads one file.
-- path String (of JSON lines); what the lines leave out: project String, run String, process String, session_id String, sdk_version String
INSERT INTO passing
WITH
    if(file.process = '', {process:String}, file.process) AS whose,
    toUInt64OrZero(event_session_index) AS place,
    whose != '' AND startsWith(file.event_id, substring(whose, 1, 8)) AND file.event_id = concat(
        substring(whose, 1, 8), '-', substring(whose, 9, 4), '-', substring(whose, 13, 4), '-',
        leftPad(lower(hex(bitAnd(bitShiftRight(place, 48), 0xFFFF))), 4, '0'), '-', leftPad(lower(hex(bitAnd(place, 0xFFFFFFFFFFFF))), 12, '0')
    ) AS is_ours,
    if(file.run = '', {run:String}, file.run) AS of_run,
    if(file.project = '', {project:String}, file.project) AS of_project,
    if(file.session_id = '', {session_id:String}, file.session_id) AS of_session,
    if(event_name = '', lower(event), event_name) AS named,
    parseDateTime64BestEffortOrNull(timestamp, 6, 'UTC') AS at,
    if(event_data = '', file.metadata, event_data) AS data,
    if(event = 'GENERIC_EVENT', '', concat(
        if(isNull(duration), '', concat(',"duration":', toJSONString(assumeNotNull(duration)))),
        if(isNull(error_type), '', concat(',"error_type":', toJSONString(assumeNotNull(error_type)))),
        if(isNull(error_message), '', concat(',"error_message":', toJSONString(assumeNotNull(error_message)))),
        if(isNull(traceback), '', concat(',"traceback":', toJSONString(assumeNotNull(traceback))))
    )) AS beside
SELECT
    rowNumberInAllBlocks(), of_project, of_run, ifNull(at, toDateTime64(0, 6, 'UTC')), whose, place, if(is_ours, '', file.event_id), named, event,
    is_ours AND event_data != '', if(severity = '', 'INFO', severity), of_session, if(sdk_version = '', {sdk_version:String}, sdk_version),
    toInt64OrZero(monotonic_ns), trace_id, span_id, if(measurements = '{}', '', measurements),
    multiIf(beside = '', if(data = '{}', '', data), data IN ('', '{}'), concat('{', substring(beside, 2), '}'),
            concat(substring(data, 1, length(data) - 1), beside, '}')),
    if(scope = '{}', '', scope),
    toString(place) != event_session_index OR length(event_session_index) > 18
        OR (monotonic_ns != '' AND (toString(toInt64OrZero(monotonic_ns)) != monotonic_ns OR length(monotonic_ns) > 18))
        OR isNull(at) OR concat(replaceOne(toString(at), ' ', 'T'), 'Z') != timestamp OR NOT at BETWEEN '2000-01-01 00:00:00' AND '2099-12-31 23:59:59'
        OR (data != '' AND NOT isValidJSON(data)) OR (measurements != '' AND NOT isValidJSON(measurements)) OR (scope != '' AND NOT isValidJSON(scope))
        OR event = '' OR of_run = '' OR greatest(length(of_project), length(of_run), length(whose), length(file.event_id), length(of_session), length(named)) > 200
FROM file({path:String}, JSONEachRow, '
    event String, event_id String, event_session_index String, severity String, timestamp String, event_name String, event_data String, measurements String,
    metadata String, scope String, trace_id String, span_id String, run String, process String, monotonic_ns String, duration Nullable(String),
    error_type Nullable(String), error_message Nullable(String), traceback Nullable(String), session_id String, project String, sdk_version String
') AS file
SETTINGS input_format_json_read_numbers_as_strings = 1, input_format_json_read_objects_as_strings = 1, input_format_skip_unknown_fields = 1, input_format_parallel_parsing = 0, max_threads = 1
