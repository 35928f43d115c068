// Asks the browser for a passkey and sends what it gives with the page's own form.
(() => {
  "use strict";

  const bytes = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=+$/, "");
  const withBytes = (list) => (list || []).map((item) => ({ ...item, id: bytes(item.id) }));

  async function ask(kind, options) {
    options.challenge = bytes(options.challenge);
    if (kind === "get") {
      options.allowCredentials = withBytes(options.allowCredentials);
      return navigator.credentials.get({ publicKey: options });
    }
    options.user.id = bytes(options.user.id);
    options.excludeCredentials = withBytes(options.excludeCredentials);
    return navigator.credentials.create({ publicKey: options });
  }

  function toJSON({ id, rawId, type, response }) {
    const fields = ["clientDataJSON", "authenticatorData", "signature", "userHandle", "attestationObject"];
    const answer = {};
    for (const name of fields) if (response[name]) answer[name] = text(response[name]);
    if (response.attestationObject) {
      delete answer.authenticatorData; // it is part of the attestation
      answer.transports = response.getTransports ? response.getTransports() : [];
    }
    return JSON.stringify({ id, rawId: text(rawId), type, response: answer });
  }

  const reasons = {
    NotAllowedError:
      "No passkey was used: it was cancelled, took too long, or this device has none that fits. Try again.",
    InvalidStateError: "This device has a passkey of yours for this hub already. None was added.",
    SecurityError: "The browser does not allow this hub's passkeys at this address.",
    NotSupportedError: "This device cannot do what is needed here. Use another one.",
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const button = form.querySelector("button[type=button]");
    const says = form.querySelector("[data-passkey-says]");
    if (!window.PublicKeyCredential) {
      says.textContent = "This browser has no passkeys at this address.";
      continue;
    }
    if (form.dataset.origin !== location.origin) {
      says.textContent = `Passkeys work at ${form.dataset.origin} only: open this page there.`;
      continue;
    }
    const start = async () => {
      if (button.disabled) return;
      button.disabled = true;
      says.textContent = "";
      try {
        const credential = await ask(form.dataset.passkey, JSON.parse(form.dataset.options));
        form.elements.credential.value = toJSON(credential);
        form.submit();
      } catch (error) {
        says.textContent = reasons[error.name] || `The browser refused (${error.name}). Try again.`;
        button.disabled = false;
      }
    };
    says.textContent = "";
    button.disabled = false;
    button.addEventListener("click", start);
    // Enter in the field for the name.
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      start();
    });
  }
})();
