-- Tickets created each month, and how many of them are in each status now.
PIVOT (
    SELECT date_trunc('month', "createdDate")::DATE AS month, coalesce(status, 'none') AS status, count(*) AS number
    FROM tickets
    GROUP BY ALL
)
ON status
USING coalesce(sum(number), 0)
GROUP BY month
ORDER BY month;
