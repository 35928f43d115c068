// JupyterHub's page of a start, in our words: its script turns the bar red when the start has failed, and
// leaves it at that.
(() => {
  "use strict";

  const bar = document.getElementById("progress-bar");
  const said = document.getElementById("progress-message");
  const stop = document.getElementById("stop-server-btn");
  const details = document.querySelector("#progress-details > summary");
  // JupyterHub's button stops the default workspace, whichever is starting: home has the right one.
  if (document.querySelector("script[data-named]").dataset.named) stop?.remove();
  else if (stop) stop.textContent = "Call the start off";
  if (details) details.textContent = "What was done so far";
  said.setAttribute("role", "status");

  new MutationObserver(() => {
    if (!bar.classList.contains("bg-danger")) return;
    document.getElementById("pth-why").textContent = said.textContent;
    document.getElementById("pth-failed").hidden = false;
    document.getElementById("pth-starting").hidden = true;
    said.hidden = bar.parentElement.hidden = true;
    document.getElementById("stop-server-btn")?.remove();
    document.getElementById("pth-failed").querySelector("#retry").focus();
  }).observe(bar, { attributes: true, attributeFilter: ["class"] });
})();
