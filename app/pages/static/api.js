// Starts Swagger UI at /docs; the Content-Security-Policy allows no inline script.
"use strict";

SwaggerUIBundle({
  url: document.getElementById("api").dataset.document,
  dom_id: "#api",
  deepLinking: true,
  layout: "BaseLayout",
  presets: [SwaggerUIBundle.presets.apis],
  // Otherwise it would send the document's address to a public validator.
  validatorUrl: null,
});
