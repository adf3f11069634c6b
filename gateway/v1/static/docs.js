// Starts the documentation page. Nothing here leaves this server: no validator badge, no fonts, no remote specs.
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  queryConfigEnabled: false,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
});
