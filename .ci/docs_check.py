"""Opens the page of the API's description in Chromium, sends a request from it, and takes README's screenshot.

    docs_check.py ORIGIN [SCREENSHOT.png]
"""

import sys

from playwright.sync_api import expect, sync_playwright

origin, *screenshot = sys.argv[1:]

with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    troubles, elsewhere = [], []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith((origin, "data:")) else elsewhere.append(request.url))
    page.goto(f"{origin}/docs")

    # Every operation is there.
    operations = page.locator(".opblock-summary-path")
    expect(operations).to_have_count(7)

    if screenshot:
        page.screenshot(path=screenshot[0])

    # A new ticket, with the example as it stands and the key that is there already.
    create = page.locator("#operations-Tickets-createTicket")
    create.locator(".opblock-summary").click()
    create.get_by_role("button", name="Execute").click()
    answer = create.locator(".live-responses-table")
    expect(answer.locator("tbody td.response-col_status").first).to_contain_text("201")
    expect(answer).to_contain_text("etag")
    expect(answer).to_contain_text("Invoice 2026-118 is wrong")
    create.locator(".opblock-summary").click()

    # And the list shows it.
    listed = page.locator("#operations-Tickets-listTickets")
    listed.locator(".opblock-summary").click()
    listed.get_by_role("button", name="Execute").click()
    answer = listed.locator(".live-responses-table")
    expect(answer.locator("tbody td.response-col_status").first).to_contain_text("200")
    expect(answer).to_contain_text("sync-until")
    expect(answer).to_contain_text("Invoice 2026-118 is wrong")
    browser.close()

assert not troubles, troubles
assert not elsewhere, f"the page loads from elsewhere: {elsewhere}"
print("the page of the API creates a ticket and lists it")
