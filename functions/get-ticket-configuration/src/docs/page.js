// Starts Swagger UI. This text never changes, so that the page's policy can contain its hash.
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => root.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

const page = document.getElementById("ui");
const { url, key, order } = page.dataset;
const place = (operation) => order.split(" ").indexOf(operation.getIn(["operation", "operationId"]));
// The token in the link was for once.
history.replaceState(null, "", location.pathname + location.hash);

const ui = SwaggerUIBundle({
  url,
  dom_id: "#ui",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  validatorUrl: null,
  operationsSorter: (one, other) => place(one) - place(other),
  onComplete: () => { if (key) ui.preauthorizeApiKey("key", key); },
});

// Swagger UI opens an operation by the address only when the page is loaded.
addEventListener("hashchange", () => ui.layoutActions.parseDeepLinkHash(location.hash));

new MutationObserver(() => {
  // It gives fields no labels: each gets the name of its parameter.
  for (const field of page.querySelectorAll(":is(input, select, textarea):not([aria-label], label *, [id])")) {
    const name = field.closest("[data-param-name]")?.dataset.paramName;
    field.setAttribute("aria-label", name ?? (field.matches("textarea") ? "Request body" : "Example"));
  }
  // It opens links in a new tab, which would have no key.
  for (const link of page.querySelectorAll('a[href^="#"][target]')) link.removeAttribute("target");
  document.getElementById("no-key").hidden = Boolean(key) || ui.authSelectors.authorized().size > 0;
}).observe(page, { childList: true, subtree: true });
