-- How long tickets take until they are closed for the first time, in hours, by the month in which they were created.
-- It reads the events, which say of each change when it was, and which status the ticket had after it:
--     tickets events --json > .tickets/events.ndjson
-- What was imported or seeded has no event for its creation, and is left out.
SET VARIABLE events = coalesce(getvariable('events'), '.tickets/events.ndjson');
SET VARIABLE closed = coalesce(getvariable('closed'), ['resolved', 'closed']);

WITH tickets_closed AS (
    SELECT
        ticket,
        min(date) FILTER (type = 'ticket.created') AS created,
        min(date) FILTER (list_contains(getvariable('closed'), status)) AS closed
    FROM read_json(
        getvariable('events'),
        format = 'newline_delimited',
        columns = {ticket: 'UBIGINT', type: 'VARCHAR', date: 'TIMESTAMPTZ', status: 'VARCHAR'}
    )
    GROUP BY ticket
)
SELECT
    date_trunc('month', created)::DATE AS month,
    count(*) AS tickets,
    count(closed) AS closed,
    round(median(epoch(closed - created)) / 3600, 1) AS median_hours,
    round(quantile_cont(epoch(closed - created), 0.9) / 3600, 1) AS ninth_tenth_hours
FROM tickets_closed
WHERE created IS NOT NULL
GROUP BY month
ORDER BY month;
