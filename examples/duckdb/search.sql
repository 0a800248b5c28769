-- Full-text search over subjects and contents: the ten tickets that fit best.
-- The score is BM25 (k1 = 1.2, b = 0.75), a word of the subject counting twice.
SET VARIABLE search = coalesce(getvariable('search'), 'invoice refund');

CREATE OR REPLACE MACRO words(text) AS regexp_extract_all(lower(strip_accents(text)), '[\pL\pN]+');

CREATE OR REPLACE TEMP TABLE postings AS
SELECT id, word, sum(weight) AS frequency
FROM (
    SELECT id, unnest(words(subject)) AS word, 2 AS weight FROM tickets
    UNION ALL
    SELECT id, unnest(words("ticketContent")), 1 FROM tickets
)
GROUP BY id, word;

WITH
lengths AS (SELECT id, sum(frequency) AS words FROM postings GROUP BY id),
whole AS (SELECT count(*) AS tickets, avg(words) AS words FROM lengths),
asked AS (SELECT DISTINCT unnest(words(getvariable('search'))) AS word),
found AS (SELECT *, count(*) OVER (PARTITION BY word) AS tickets_with_it FROM postings SEMI JOIN asked USING (word))
SELECT
    id,
    round(sum(
        ln(1 + (whole.tickets - tickets_with_it + 0.5) / (tickets_with_it + 0.5))
        * frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * lengths.words / whole.words))
    ), 3) AS score,
    subject
FROM found JOIN lengths USING (id) JOIN tickets USING (id) CROSS JOIN whole
GROUP BY id, subject
ORDER BY score DESC, id
LIMIT 10;
