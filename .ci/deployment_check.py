"""Tests a running deployment: its configuration, the sync client, the export, the history by the table's stream, and
that a function needs each action that its policies allow.

    deployment_check.py STACK BASE_URL TICKETS TICKETS_KEY_COMMAND [--policies]

The environment has the endpoint and credentials of AWS, as for the AWS CLI. The emulator's CloudFormation gives roles no
boundary, so there this script sets the one that the template names.
"""

import functools
import http.server
import itertools
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
import botocore.exceptions

stack, base, tickets = sys.argv[1:4]
checks = 0


def check(holds, what):
    global checks
    checks += 1
    if not holds:
        sys.exit(f"not so: {what}")


def until(condition, what, seconds=60):
    """Waits for an effect of the stream or the scheduler."""
    for _ in range(seconds * 4):
        if condition():
            return check(True, what)
        time.sleep(0.25)
    check(False, f"{what}, within {seconds} s")


services = ("apigateway", "cloudformation", "dynamodb", "dynamodbstreams", "iam", "lambda", "logs", "s3", "scheduler")
aws = {name: boto3.client(name) for name in services}
outputs = {one["OutputKey"]: one["OutputValue"] for one in aws["cloudformation"].describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]}
pages = aws["cloudformation"].get_paginator("list_stack_resources").paginate(StackName=stack)
resources = {one["LogicalResourceId"]: one for page in pages for one in page["StackResourceSummaries"]}
physical = {name: one["PhysicalResourceId"] for name, one in resources.items()}
functions = [name for name, one in resources.items() if one["ResourceType"] == "AWS::Lambda::Function"]


class Inbox:
    """A receiver of webhooks on loopback: keeps the messages that it gets."""

    def __init__(self):
        self.messages = messages = []

        class Receiver(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                messages.append((dict(self.headers), json.loads(self.rfile.read(int(self.headers["content-length"])))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}/"

    def versions(self, ticket):
        """The versions of a ticket of which it was told, in this order."""
        events = [message["data"] for _, message in self.messages]
        return [event["version"] for event in events if event.get("ticket") == ticket]


def webhooks(*arguments):
    tables = ["--webhooks-table", outputs["WebhooksTableName"], "--history-table", outputs["HistoryTableName"]]
    return subprocess.run([tickets, "webhooks", *tables, *arguments], check=True, capture_output=True, text=True).stdout


def make_key(*options):
    command = [tickets, "keys", "--api-keys-table", outputs["ApiKeysTableName"], "create", "--scopes", "read,write,delete", "--note", "check"]
    return subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout.strip()


def call(key, method, path, body=None, **headers):
    """Sends a request; returns the status and the answer's JSON."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, data, headers, method=method), timeout=60) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, None


def invoke(output, event):
    """Invokes the alias; returns whether it succeeded, and its result."""
    answer = aws["lambda"].invoke(FunctionName=outputs[output], Payload=json.dumps(event).encode())
    return "FunctionError" not in answer, json.loads(answer["Payload"].read() or b"null")


def objects(prefix):
    return aws["s3"].list_objects_v2(Bucket=outputs["ExportsBucketName"], Prefix=prefix).get("Contents", [])


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def a_deployment_does_what_it_says():
    began = now()
    for name in functions:
        alias = aws["lambda"].get_alias(FunctionName=physical[name], Name="live")
        published = aws["lambda"].get_function_configuration(FunctionName=physical[name], Qualifier="live")
        latest = aws["lambda"].get_function_configuration(FunctionName=physical[name])
        check(alias["FunctionVersion"] != "$LATEST", f"{name} has a published version")
        check(published["Environment"] == latest["Environment"], f"{name}: what is configured is in force")
    key = make_key()
    status, ticket = call(key, "POST", "/tickets/", {"customerID": 7, "subject": "before"})
    check(status == 201, "a ticket is created")
    path = f"/tickets/{ticket['id']}"
    check(call(key, "PATCH", path, {"subject": "after", "status": "resolved"})[0] == 200, "and changed")
    history = lambda: (call(key, "GET", f"{path}/history/")[1] or [])
    until(lambda: [entry["change"] for entry in history()] == ["created", "updated"], "its history comes by the stream")
    check(history()[1]["fields"] == {"subject": "after", "status": "resolved"}, "with what changed")
    check(all(entry["by"] == key.split("_")[1] for entry in history()), "and by whom")
    feed = lambda: [event["type"] for event in call(key, "GET", "/events/")[1] or [] if event["ticket"] == ticket["id"]]
    until(lambda: feed() == ["ticket.created", "ticket.updated"], "and the feed has both, once they have settled")

    inbox = Inbox()
    webhook = webhooks("create", inbox.url, "--from", began).split()[1]
    check("204 after" in webhooks("test", webhook), "the command reaches the receiver")
    until(lambda: inbox.versions(ticket["id"]) == [1, 2], "the function sends it what happened before", 90)
    check(call(key, "PATCH", path, {"subject": "again"})[0] == 200, "the ticket is changed")
    until(lambda: inbox.versions(ticket["id"]) == [1, 2, 3], "and what happens, woken by the stream", 30)
    check(all("webhook-signature" in headers for headers, _ in inbox.messages), "signed")
    check("active" in webhooks("list"), "it is shown as active")
    webhooks("delete", webhook)

    schedule = physical["ExportTicketsFunctionSchedule"]
    schedule = aws["scheduler"].get_schedule(Name=schedule.split("/")[-1])
    check(schedule["Target"]["Arn"] == outputs["ExportFunctionName"], "the schedule starts the version that is live")
    before = {one["Key"] for one in objects("manifests/")}
    # Do not wait five minutes.
    wanted = {name: schedule[name] for name in ("Name", "FlexibleTimeWindow", "Target")}
    aws["scheduler"].update_schedule(**wanted, ScheduleExpression="rate(1 minute)")
    until(lambda: {one["Key"] for one in objects("manifests/")} - before, "the export runs by its schedule", 150)
    aws["scheduler"].update_schedule(**wanted, ScheduleExpression=schedule["ScheduleExpression"])
    check(objects("tickets/"), "and writes tickets")


def what_functions_would_refuse_is_refused_before():
    parameters = [one["ParameterKey"] for one in aws["cloudformation"].describe_stacks(StackName=stack)["Stacks"][0]["Parameters"]]

    def refusal(changed, value):
        """CloudFormation's message on a change set; None if it accepts it. The change set is then deleted."""
        given = [{"ParameterKey": name, "UsePreviousValue": True} for name in parameters if name != changed]
        name = f"check-{time.time_ns()}"
        try:
            aws["cloudformation"].create_change_set(
                StackName=stack, ChangeSetName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
                Parameters=[*given, {"ParameterKey": changed, "ParameterValue": value}])
        except botocore.exceptions.ClientError as error:
            return str(error)
        aws["cloudformation"].delete_change_set(StackName=stack, ChangeSetName=name)

    lists = ["TicketTypes", "TicketStatuses", "TicketPriorities", "ClosedStatuses", "TicketOwners"]
    refused = [(name, value) for name in lists for value in ["a, A", "a,b,c , A ,d", "one two, ONE TWO"]]
    refused += [(name, value) for name in lists[:3] for value in ["", " ", " , ,"]]
    refused += [("SettleSeconds", "3"), ("SettleSeconds", "301"), ("TombstoneDays", "0"), ("ServeDocs", "yes")]
    refused += [("CorsOrigins", value) for value in ["portal.example", "https://Portal.example", "https://a.example;https://b.example", "https://a.example:443"]]
    refused += [("AlarmEmail", "ops"), ("AlarmTopicArn", "alarms"), ("KmsKeyArn", "key"), ("WebAclArn", "acl"), ("DeploymentPreference", "soon")]
    refused += [("DomainName", "https://api.example.com"), ("CertificateArn", "certificate"), ("TruststoreUri", "clients.pem"), ("WarmWriteUnits", "3999")]
    for name, value in refused:
        check(name in (refusal(name, value) or ""), f"{name}={value!r} is refused by name")
    taken = [(name, value) for name in lists for value in ["a", " Bug ,wish, a b,a c, ,"]]
    taken += [(name, "") for name in lists[3:]]
    taken += [("CorsOrigins", value) for value in ["", "*", "https://portal.example", "http://localhost:5173, https://portal.example/"]]
    taken += [("AlarmEmail", "ops@example.com"), ("AlarmTopicArn", "arn:aws:sns:us-east-1:123456789012:alarms")]
    for name, value in taken:
        check(refusal(name, value) is None, f"{name}={value!r} is taken")


# Actions whose absence shows nowhere in the emulator. It uses its own rights to read the stream and to put
# failed records into the queue, and functions there do not write the logs and traces.
UNSEEN = {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams", "sqs:SendMessage"}


class Probes:
    """For each function, requests that need all its rights. Each method returns whether all of them succeeded."""

    def __call__(self, name):
        """The probe of a function: its own, or its sample event if that needs all its rights."""
        return getattr(self, name)() if hasattr(self, name) else self.sample(name)

    def __init__(self):
        self.began = now()
        options = subprocess.run([tickets, "keys", "create", "--help"], check=True, capture_output=True, text=True).stdout
        self.limit = ["--limit", "1000/h"] if "--limit" in options else []
        self.customer = str(int(time.time()))
        self.restricted = make_key("--customer", self.customer)
        self.ids = itertools.count(int(time.time()) * 1000)
        self.records = self.some_records()
        # Whichever function is probed first, the customer's list has a ticket, and the feed an event.
        history = f"/tickets/{self.new_ticket()}/history/"
        until(lambda: call(self.restricted, "GET", history)[1], "what the probes begin with is recorded")

    def http(self, *requests):
        # A new key, which no instance remembers. If keys have limits, functions lease requests from its item.
        # Without that right they admit requests on trust, and the item does not change.
        key, statuses = make_key(*self.limit), []
        stored = lambda: aws["dynamodb"].get_item(TableName=outputs["ApiKeysTableName"], Key={"keyId": {"S": key.split("_")[1]}})["Item"]
        made = stored()
        for method, path, *rest in requests:
            status, answer = call(key, method, path, *rest[:1], **(rest[1] if len(rest) > 1 else {}))
            statuses += [row["status"] for row in answer] if status == 207 else [status]
        return all(status < 500 for status in statuses) and (not self.limit or stored() != made)

    def new_ticket(self):
        status, ticket = call(self.restricted, "POST", "/tickets/", {"customerID": int(self.customer), "subject": "probe"})
        assert status == 201, status
        return ticket["id"]

    def some_records(self):
        """The stream's records of one ticket, from creation to deletion."""
        id = self.new_ticket()
        assert call(self.restricted, "DELETE", f"/tickets/{id}")[0] == 204
        stream = aws["dynamodb"].describe_table(TableName=outputs["TicketsTableName"])["Table"]["LatestStreamArn"]
        records = []
        for shard in aws["dynamodbstreams"].describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]:
            iterator = aws["dynamodbstreams"].get_shard_iterator(
                StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            for _ in range(1000):
                page = aws["dynamodbstreams"].get_records(ShardIterator=iterator)
                records += page["Records"]
                iterator = page.get("NextShardIterator")
                if not iterator or not page["Records"]:
                    break
        mine = [r for r in records if r["dynamodb"]["Keys"]["id"] == {"N": id} and "version" in r["dynamodb"].get("NewImage", {})]
        assert len(mine) == 2, len(mine)
        return mine

    def sample(self, name):
        kebab = re.sub("(?<=[a-z])(?=[A-Z])", "-", name.removesuffix("Function")).lower()
        event = json.loads((pathlib.Path(__file__).parent.parent / "events" / f"{kebab}.rest.json").read_text())
        query = urllib.parse.urlencode(event["queryStringParameters"] or {})
        body = json.loads(event["body"]) if event["body"] else None
        return self.http((event["httpMethod"], f"{event['path'].removeprefix('/api/v1')}?{query}", body))

    def ListTicketsFunction(self):
        mine = call(self.restricted, "GET", "/tickets/")[0] < 500  # Through the customers' index: the key sees only one
        return mine and self.http(
            ("GET", "/tickets/?limit=5"), ("GET", "/tickets/?updatedSince=2020-01-01&limit=5"), ("GET", "/tickets/?open=true&limit=5"))

    def ListCustomerTicketsFunction(self):
        path = f"/customers/{self.customer}/tickets/"
        return self.http(("GET", path), ("GET", f"{path}?updatedSince=2020-01-01"), ("GET", f"{path}?open=true"))

    def CountTicketsFunction(self):
        mine = call(self.restricted, "GET", "/ticket-counts/")[0] < 500  # The customer's few tickets
        return mine and self.http(("GET", "/ticket-counts/?by=status"))

    def CreateTicketFunction(self):
        body, name = {"customerID": 7, "subject": "probe"}, {"Idempotency-Key": str(next(self.ids))}
        return self.http(("POST", "/tickets/", body, name), ("POST", "/tickets/", body, name))

    def UpdateTicketFunction(self):
        return self.http(("PATCH", f"/tickets/{self.new_ticket()}", {"subject": "changed"}))

    def UpdateTicketsFunction(self):
        return self.http(("PATCH", "/tickets/", [{"id": self.new_ticket(), "subject": "changed"}]))

    def DeleteTicketFunction(self):
        return self.http(("DELETE", f"/tickets/{self.new_ticket()}"))

    def RecordChangesFunction(self):
        id = next(self.ids)
        key = {"id": {"N": str(id)}, "bucket": {"S": f"{id // 1000}#{id % 4}"}}

        def of_another(value):
            if isinstance(value, dict):
                return {name: key.get(name) or of_another(one) for name, one in value.items()}
            return value.timestamp() if hasattr(value, "timestamp") else value

        def recorded(record):
            succeeded, answer = invoke("RecordChangesFunctionName", {"Records": [of_another(record)]})
            return succeeded and answer["batchItemFailures"] == []

        succeeded = all([recorded(record) for record in self.records])
        versions = aws["dynamodb"].query(
            TableName=outputs["HistoryTableName"], KeyConditionExpression="ticket = :id",
            ExpressionAttributeValues={":id": {"N": str(id)}})["Items"]
        return succeeded and len(versions) == 2

    def DeliverWebhooksFunction(self):
        # A webhook of its own, so that no run of the schedule or the stream has sent its events.
        inbox, began = Inbox(), time.time()
        webhook = webhooks("create", inbox.url, "--from", self.began).split()[1]
        try:
            answer = aws["lambda"].invoke(FunctionName=physical["DeliverWebhooksFunction"], Qualifier="live", Payload=b"{}")
            return "FunctionError" not in answer and bool(inbox.messages) and time.time() - began < 60
        finally:
            webhooks("delete", webhook)

    def ExportTicketsFunction(self):
        # A first pass walks all buckets; an export that is requested by hand goes by the changes.
        for number in range(3):
            aws["dynamodb"].delete_item(TableName=outputs["TicketsTableName"], Key={"bucket": {"S": "export"}, "id": {"N": str(number)}})
        return invoke("ExportFunctionName", {})[0] and invoke("ExportFunctionName", {"since": "2020-01-01"})[0]


def what_is_watched_is_there():
    """Metric filters read the logs, and the stage has the throttles: nothing that alarms watch was left out."""
    made = {name: one for name, one in resources.items() if one["ResourceType"] == "AWS::Logs::MetricFilter"}
    groups = [physical["FunctionLogs"], physical["AccessLogs"]]
    filters = {one["filterName"] for group in groups for one in aws["logs"].describe_metric_filters(logGroupName=group)["metricFilters"]}
    for name, one in made.items():
        check(one["PhysicalResourceId"] in filters, f"{name} reads a log")
    (stage,) = aws["apigateway"].get_stages(restApiId=physical["Api"])["item"]
    settings = stage["methodSettings"]
    check(settings["*/*"]["throttlingRateLimit"] == 500, "the stage has the throttle of all callers")
    keyless = {path for path, one in settings.items() if one["throttlingRateLimit"] == 10}
    check(len(keyless) == len(settings) - 1 and any("OPTIONS" in path for path in keyless), "what needs no key has its own")


# A policy must have a statement, so this one allows nothing.
NOTHING = {"Effect": "Deny", "Action": "dynamodb:DeleteTable", "Resource": "*"}


def listed(value):
    return value if isinstance(value, list) else [value]


def shared_policies(role):
    """The policies of the stack that a role shares with others: not AWS' own, which SAM attaches."""
    attached = aws["iam"].list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    return [one["PolicyArn"] for one in attached if one["PolicyArn"] in physical.values()]


def document_of(arn):
    version = aws["iam"].get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return aws["iam"].get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def each_action_is_needed():
    probes, needed, unseen = Probes(), 0, 0
    for name in functions:
        role, probe = physical[f"{name}Role"], functools.partial(probes, name)
        aws["iam"].put_role_permissions_boundary(RoleName=role, PermissionsBoundary=physical["Boundary"])
        check(probe(), f"{name} does its work with all that it may do, inside the boundary")
        # Each policy that functions share becomes one of the function's own, from which actions can be taken away.
        shared = shared_policies(role)
        for arn in shared:
            aws["iam"].put_role_policy(RoleName=role, PolicyName=arn.split("/")[-1], PolicyDocument=json.dumps(document_of(arn)))
            aws["iam"].detach_role_policy(RoleName=role, PolicyArn=arn)
        for policy in aws["iam"].list_role_policies(RoleName=role)["PolicyNames"]:
            document = aws["iam"].get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            grants = [
                {**statement, "Action": action, "Resource": resource}
                for statement in document["Statement"]
                for action in listed(statement["Action"]) for resource in listed(statement["Resource"])
            ]
            for left_out in grants:
                if left_out["Effect"] == "Deny":
                    continue
                keys = left_out.get("Condition", {}).get("ForAllValues:StringEquals", {}).get("dynamodb:LeadingKeys")
                # The format of what is stored is read at the start, over TLS, which the emulator does not have.
                if left_out["Action"] in UNSEEN or keys == ["settings"]:
                    unseen += 1
                    continue
                fewer = {**document, "Statement": [grant for grant in grants if grant is not left_out] + [NOTHING]}
                aws["iam"].put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(fewer))
                what = f"{name} needs {left_out['Action']} on {left_out['Resource'].split(':')[-1]}"
                check(not probe(), what)
                needed += 1
            aws["iam"].put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
        for arn in shared:
            aws["iam"].attach_role_policy(RoleName=role, PolicyArn=arn)
            aws["iam"].delete_role_policy(RoleName=role, PolicyName=arn.split("/")[-1])
        check(probe(), f"{name} does its work again")
    print(f"policies: {needed} actions taken away one by one, each is missed; {unseen} that the emulator does not ask for")


def policies(role):
    """The documents of a role's own policies, and of those of the stack that it shares with others."""
    own = [
        aws["iam"].get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        for policy in aws["iam"].list_role_policies(RoleName=role)["PolicyNames"]
    ]
    return own + [document_of(arn) for arn in shared_policies(role)]


def the_counter_and_the_checkpoint_are_their_owners():
    """The emulator does not pass a request's partition (`dynamodb:LeadingKeys`) to its policy evaluator; this does."""
    from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

    def may(function, action, partition):
        role = physical[f"{function}Role"]
        documents = policies(role)
        table = aws["dynamodb"].describe_table(TableName=outputs["TicketsTableName"])["Table"]["TableArn"]
        asked = EvalContext(
            principal_arn=f"arn:aws:sts::000000000000:assumed-role/{role}/x", principal_type="AssumedRole",
            principal_account="000000000000", action=f"dynamodb:{action}", resource_arn=table, region="us-east-1",
            service_context={"dynamodb:leadingkeys": [partition]})
        return evaluate(asked, [parse_policy_document(document) for document in documents]).decision == "Allow"

    for function in ["CreateTicketFunction", "UpdateTicketFunction", "UpdateTicketsFunction", "DeleteTicketFunction"]:
        for partition, allowed in [("42#1", True), ("claim#k.n", True), ("departures#7", True), ("counter", False), ("export", False)]:
            check(may(function, "PutItem", partition) == allowed, f"{function} puts an item of {partition}: {allowed}")
    for partition, allowed in [("counter", True), ("42#1", False), ("export", False)]:
        check(may("CreateTicketFunction", "UpdateItem", partition) == allowed, f"an id is reserved in {partition}: {allowed}")
    for partition, allowed in [("export", True), ("counter", False), ("42#1", False)]:
        check(may("ExportTicketsFunction", "PutItem", partition) == allowed, f"a checkpoint is put in {partition}: {allowed}")


a_deployment_does_what_it_says()
what_functions_would_refuse_is_refused_before()
what_is_watched_is_there()
if "--policies" in sys.argv:
    the_counter_and_the_checkpoint_are_their_owners()
    each_action_is_needed()
print(f"deployment: {checks} checks hold")
