"""Checks lines of the functions' log against the schema of CloudWatch's embedded metric format.

    log_check.py LOG FUNCTION…

The schema is the one that AWS published with Powertools for AWS Lambda (Python) 1.0.0, `metrics/schema.json`. It equals
that of *Specification: Embedded metric format* in the Amazon CloudWatch User Guide. LOG is the functions' output; other
lines are ignored. Each FUNCTION must have a line in it.
"""

import importlib.metadata
import json
import sys

import jsonschema

powertools = importlib.metadata.distribution("aws-lambda-powertools")
text = powertools.locate_file("aws_lambda_powertools/metrics/schema.json").read_text()
# Drop the parts' `$id`s: current drafts of JSON Schema do not allow their form, and nothing refers to them.
schema = json.loads(text, object_hook=lambda members: {name: one for name, one in members.items() if name != "$id"})
validator = jsonschema.validators.validator_for(schema)(schema)
validator.check_schema(schema)

seen, lines = set(), 0
for text in open(sys.argv[1], encoding="utf-8", errors="replace"):
    start = text.find('{"_aws"')
    if start < 0:
        continue
    line = json.loads(text[start:])
    validator.validate(line)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        # The schema does not require this: each dimension and metric is a member of the line.
        assert directive["Dimensions"] == [["function"]], directive
        assert all(isinstance(line[metric["Name"]], (int, float)) for metric in directive["Metrics"]), line
    for member in ("level", "message", "timestamp", "service", "cold_start", "function_request_id"):
        assert member in line, (member, line)
    seen.add(line["function"])
    lines += 1

missing = set(sys.argv[2:]) - seen
assert not missing, f"no line of {sorted(missing)} in {lines} lines"
broken = json.loads(json.dumps(line))
broken["_aws"]["CloudWatchMetrics"][0]["Metrics"] = [{"Unit": "Count"}]
assert not validator.is_valid(broken), "the schema refuses a metric without a name"
print(lines, "lines of", len(seen), "functions are as CloudWatch wants them")
