"""Opens the page of the API's description in Chromium, sends a request from it, and takes README's screenshot.

The link gives the key once; the page without the link's token has no key, and says so. The page fits a telephone, is dark
where the system is, and labels its fields.

    docs_check.py LINK [SCREENSHOT.png]
"""

import json
import sys
import urllib.request
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

METHODS = ["get", "put", "post", "patch", "delete"]

LIGHT, DARK = "rgb(255, 255, 255)", "rgb(28, 32, 34)"


def background(page):
    """What the page has behind it: its own colour, or the browser's."""
    colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return LIGHT if colour == "rgba(0, 0, 0, 0)" else colour


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

    # The page has its key, and no word about one that is missing.
    expect(page.locator("#no-key")).to_be_hidden()
    assert background(page) == LIGHT, background(page)

    # The page shows every operation.
    described = json.load(urllib.request.urlopen(f"{origin}/openapi.json"))["paths"].values()
    operations_described = sum(method in METHODS for path in described for method in path)
    expect(page.locator(".opblock-summary-path")).to_have_count(operations_described)

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
    expect(listed.get_by_label("limit", exact=True)).to_have_value("20")
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
        expect(page.locator("#no-key")).to_contain_text("Press Authorize and paste a key")

    # With a pasted key, the word about it goes.
    page.get_by_role("button", name="Authorize").first.click()
    page.locator("#auth-bearer-value").fill("tk_a_b")
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#no-key")).to_be_hidden()
    page.close()

    # On a telephone, in the dark: with every operation open, nothing is wider than the screen, and every field has a
    # label.
    page = browser.new_page(viewport={"width": 375, "height": 812}, color_scheme="dark")
    page.goto(f"{origin}/")
    assert page.url == f"{origin}/docs" and background(page) == DARK, (page.url, background(page))
    expect(page.locator(".opblock").first).to_be_visible()
    page.get_by_role("link", name="create", exact=True).click()
    expect(page.locator("#operations-Tickets-createTicket .opblock-body")).to_be_visible()
    for operation in page.locator(".opblock-summary-control[aria-expanded=false]").all()[::-1]:
        operation.click()
    expect(page.locator(".opblock-body")).to_have_count(operations_described)
    expect(page.locator(".opblock-body .live-responses-table, .opblock-body .responses-table")).not_to_have_count(0)
    for width in (375, 320):
        page.set_viewport_size({"width": width, "height": 812})
        widest = page.evaluate("document.documentElement.scrollWidth")
        assert widest <= width, f"{widest} px at {width}"
    fields = page.locator("input:visible, select:visible, textarea:visible")
    unlabelled = fields.evaluate_all("all => all.filter(one => !one.labels.length && !one.ariaLabel).map(one => one.outerHTML)")
    assert fields.count() > 100 and not unlabelled, (fields.count(), unlabelled)
    browser.close()

# Chromium reports the two refused requests.
troubles = [trouble for trouble in troubles if "status of 401" not in trouble]

assert not troubles, troubles
assert not elsewhere, f"the page loads from elsewhere: {elsewhere}"
print("the page of the API creates a ticket and lists it")
