"""Kills a server under load with SIGKILL, restarts it, and looks for every acknowledged ticket.

    kill_check.py TICKETS_BINARY DATA_DIRECTORY
"""

import http.client
import json
import subprocess
import sys
import threading
import time

binary, data = sys.argv[1:]


def start():
    server = subprocess.Popen(
        [binary, "serve", "--quiet", "--listen", "127.0.0.1:0", "--data", data], stdout=subprocess.PIPE, text=True
    )
    lines = dict(server.stdout.readline().split()[:2] for _ in range(2))
    return server, lines["API"].split("/")[2], lines["key"]


def writer(host, key, acknowledged):
    connection = http.client.HTTPConnection(host)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        while True:
            connection.request("POST", "/backend/api/v1/tickets/", '{"customerID": 7, "subject": "s"}', headers)
            response = connection.getresponse()
            body = json.load(response)
            if response.status == 201:
                acknowledged.append(int(body["id"]))
    except (OSError, http.client.HTTPException, ValueError):
        pass  # the server was killed


acknowledged = []
for _ in range(3):
    server, host, key = start()
    writers = [threading.Thread(target=writer, args=(host, key, acknowledged)) for _ in range(8)]
    before = len(acknowledged)
    for thread in writers:
        thread.start()
    while len(acknowledged) < before + 200:
        time.sleep(0.01)
    server.kill()
    server.wait()
    for thread in writers:
        thread.join()

server, host, key = start()
connection = http.client.HTTPConnection(host)
deadline = time.monotonic() + 30
while True:
    connection.request("GET", "/backend/api/v1/tickets/", headers={"Authorization": f"Bearer {key}"})
    there = [int(ticket["id"]) for ticket in json.load(connection.getresponse())]
    lost = set(acknowledged) - set(there)
    if not lost or time.monotonic() > deadline:
        break
    time.sleep(0.5)  # an id whose writer was killed holds back the list, until its ticket cannot come any more
server.kill()
assert not lost, f"lost: {sorted(lost)}"
assert len(acknowledged) == len(set(acknowledged)), "an id was given twice"
assert there == sorted(set(there)), "ids do not ascend"
print(len(acknowledged), "tickets acknowledged in 3 lives,", len(there), "there")
