-- The tickets as they are now, of the objects that the scheduled export wrote.
-- The directory, or the bucket (s3://…), with the folder `tickets`:
SET VARIABLE exports = coalesce(getvariable('exports'), '.tickets/exports');

-- Every record of every run. Columns are named, so that a field that no ticket has yet is there too.
CREATE OR REPLACE VIEW records AS
SELECT *
FROM read_json(
    getvariable('exports') || '/tickets/**/*.ndjson.gz',
    format = 'newline_delimited',
    columns = {
        id: 'UBIGINT',
        "customerID": 'UBIGINT',
        "ticketType": 'VARCHAR',
        "status": 'VARCHAR',
        "ticketPriority": 'VARCHAR',
        "customerEmail": 'VARCHAR',
        "subject": 'VARCHAR',
        "ticketContent": 'VARCHAR',
        "owner": 'VARCHAR',
        "users": 'VARCHAR',
        "departments": 'VARCHAR',
        "ticketSuppliers": 'VARCHAR',
        "ticketFollowupDate": 'VARCHAR',
        "ticketActionRequired": 'VARCHAR',
        "createdDate": 'TIMESTAMPTZ',
        "updatedDate": 'TIMESTAMPTZ',
        "deletedDate": 'TIMESTAMPTZ'
    }
);

-- The newest record of each ticket, without the deleted ones.
CREATE OR REPLACE VIEW tickets AS
SELECT * EXCLUDE ("deletedDate")
FROM (FROM records QUALIFY row_number() OVER (PARTITION BY id ORDER BY "updatedDate" DESC) = 1)
WHERE "deletedDate" IS NULL;
