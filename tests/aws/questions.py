"""Tests of a deployment that only AWS can run: rights to single items, the gateway's own replies, TLS, and metrics of
functions.

    questions.py STACK BASE_URL <KEY
"""

import gzip
import json
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3

stack, base = sys.argv[1:]
key = sys.stdin.read().strip()
checks = 0


def check(holds, what):
    global checks
    checks += 1
    print("ok " if holds else "NOT", what)
    if not holds:
        sys.exit(1)


pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
physical = {one["LogicalResourceId"]: one["PhysicalResourceId"] for page in pages for one in page["StackResourceSummaries"]}
iam = boto3.client("iam")


def decision(function, action, resource, **context):
    role = iam.get_role(RoleName=physical[f"{function}Role"])["Role"]["Arn"]
    entries = [{"ContextKeyName": f"dynamodb:{name}", "ContextKeyValues": value, "ContextKeyType": "stringList"} for name, value in context.items()]
    answer = iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource], ContextEntries=entries)
    return answer["EvaluationResults"][0]["EvalDecision"]


table = boto3.client("dynamodb").describe_table(TableName=physical["Tickets"])["Table"]["TableArn"]
for function in ["CreateTicketFunction", "UpdateTicketFunction", "UpdateTicketsFunction", "DeleteTicketFunction"]:
    denied = [(partition, "explicitDeny") for partition in ["counter", "ranges", "export", "settings"]]
    for partition, expected in [("42#1", "allowed"), *denied]:
        decided = decision(function, "dynamodb:PutItem", table, LeadingKeys=[partition])
        check(decided == expected, f"{function} puts an item of {partition}: {decided}")
for partition, expected in [("counter", "allowed"), ("ranges", "explicitDeny"), ("42#1", "explicitDeny")]:
    decided = decision("CreateTicketFunction", "dynamodb:UpdateItem", table, LeadingKeys=[partition])
    check(decided == expected, f"CreateTicketFunction counts in {partition}: {decided}")
for partition, expected in [("export", "allowed"), ("settings", "allowed"), ("42#1", "implicitDeny")]:
    decided = decision("ExportTicketsFunction", "dynamodb:PutItem", table, LeadingKeys=[partition])
    check(decided == expected, f"ExportTicketsFunction puts an item of {partition}: {decided}")

groups = boto3.client("logs").describe_log_groups(logGroupNamePrefix=physical["FunctionLogs"])["logGroups"]
own = groups[0]["arn"]
for group, expected in [(own, "allowed"), (own.replace(physical["FunctionLogs"], "another"), "implicitDeny")]:
    decided = decision("GetTicketFunction", "logs:PutLogEvents", f"{group.removesuffix(':*')}:log-stream:x")
    check(decided == expected, f"a function writes to the log {group.split(':')[6]}: {decided}")


def ask(path, method="GET", data=None, **headers):
    request = urllib.request.Request(base + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


bearer = {"Authorization": f"Bearer {key}"}
for headers in [{}, bearer]:
    status, answered, body = ask("/no-such-path", **headers)
    check(status == 404 and answered["Content-Type"] == "application/problem+json", "an unknown path is a problem, 404")
    check(key not in body.decode(), "and does not repeat the key")
for path in ["/tickets", "/tickets/"]:
    check(ask(path, **bearer)[0] == 200, f"{path} is answered, not redirected")
check(ask("/tickets/1%2F2", **bearer)[0] == 400, "an encoded slash in an id reaches the function")
status, answered, _ = ask("/tickets/")
check(status == 401 and answered["x-amzn-remapped-www-authenticate"] == "Bearer", "without a key: 401, the header renamed")
status, answered, _ = ask("/tickets/", "POST", b" " * 11_000_000, **bearer, **{"Content-Type": "application/json"})
check(status == 413, f"11 MB are too much for the gateway: {status}")
status, answered, _ = ask("/tickets/", "POST", b"no gzip", **bearer, **{"Content-Type": "application/json", "Content-Encoding": "gzip"})
check(400 <= status < 500 and answered["Content-Type"] == "application/problem+json", f"a body that is no gzip is a problem: {status}")
status, answered, body = ask("/tickets/?limit=100", **bearer, **{"Accept-Encoding": "gzip"})
check(answered["Content-Encoding"] == "gzip" and json.loads(gzip.decompress(body)) is not None, "lists are compressed")

host = urllib.parse.urlsplit(base).hostname
for version, accepted in [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)]:
    context = ssl.create_default_context()
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # The client must allow old versions, so that only the server refuses
    context.minimum_version = context.maximum_version = version
    try:
        urllib.request.urlopen(f"https://{host}/backend/api/v1/openapi.json", context=context, timeout=30).close()
        answered = True
    except urllib.error.URLError:
        answered = False
    check(answered == accepted, f"{version.name} is {'accepted' if answered else 'refused'}")

cloudwatch = boto3.client("cloudwatch")
for _ in range(40):  # CloudWatch lists a new metric within a few minutes
    metrics = cloudwatch.list_metrics(Namespace=stack, MetricName="Requests")["Metrics"]
    if metrics:
        break
    time.sleep(15)
check(metrics and all([d["Name"] for d in metric["Dimensions"]] == ["function"] for metric in metrics), "functions write metrics, by function")
states = {alarm["AlarmName"]: alarm["StateValue"] for alarm in cloudwatch.describe_alarms(AlarmNamePrefix=f"{stack}-")["MetricAlarms"]}
check(len(states) >= 15, f"{len(states)} alarms are there")
print(f"{checks} answers")
