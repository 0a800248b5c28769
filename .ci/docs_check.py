"""Opens the page of the API's description in Chromium, sends a request from it, and takes README's screenshot.

The link gives the key once; the page without the link's token has no key.

    docs_check.py LINK [SCREENSHOT.png]
"""

import json
import sys
import urllib.request
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

METHODS = ["get", "put", "post", "patch", "delete"]

link, *screenshot = sys.argv[1:]
origin = link.removesuffix(urlsplit(link).query).removesuffix("/docs?")

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    troubles, elsewhere = [], []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith((origin, "data:")) else elsewhere.append(request.url))
    policy = page.goto(link).headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy and "unsafe-eval" not in policy, policy
    assert page.url == f"{origin}/docs", "the token stays in the address"

    # The page shows every operation.
    operations = page.locator(".opblock-summary-path")
    described = json.load(urllib.request.urlopen(f"{origin}/openapi.json"))["paths"].values()
    expect(operations).to_have_count(sum(method in METHODS for path in described for method in path))

    if screenshot:
        page.screenshot(path=screenshot[0])

    # Create a ticket with the unchanged example, and with the key that the page has.
    create = page.locator("#operations-Tickets-createTicket")
    create.locator(".opblock-summary").click()
    create.get_by_role("button", name="Execute").click()
    answer = create.locator(".live-responses-table")
    expect(answer.locator("tbody td.response-col_status").first).to_contain_text("201")
    expect(answer).to_contain_text("etag")
    expect(answer).to_contain_text("Invoice 2026-118 is wrong")
    create.locator(".opblock-summary").click()

    # The list shows the ticket.
    listed = page.locator("#operations-Tickets-listTickets")
    listed.locator(".opblock-summary").click()
    listed.get_by_role("button", name="Execute").click()
    answer = listed.locator(".live-responses-table")
    expect(answer.locator("tbody td.response-col_status").first).to_contain_text("200")
    expect(answer).to_contain_text("sync-until")
    expect(answer).to_contain_text("Invoice 2026-118 is wrong")

    # Opening the link again, or the page without its token, gives no key.
    for again in (link, f"{origin}/docs"):
        page.goto(again)
        create = page.locator("#operations-Tickets-createTicket")
        create.locator(".opblock-summary").click()
        create.get_by_role("button", name="Execute").click()
        status = create.locator(".live-responses-table tbody td.response-col_status").first
        expect(status).to_contain_text("401")
    browser.close()

# Chromium reports the two refused requests.
troubles = [trouble for trouble in troubles if "status of 401" not in trouble]

assert not troubles, troubles
assert not elsewhere, f"the page loads from elsewhere: {elsewhere}"
print("the page of the API creates a ticket and lists it")
