// The home page, kept up to date: the same cards asked for again, forms sent without leaving the page.
(() => {
  "use strict";

  const EVERY = 10_000; // ms between two looks, while the page is visible
  const SOON = 1_500; // and while something starts, stops or is being made
  const home = document.getElementById("pth-home");
  const problem = document.getElementById("pth-problem");
  const said = document.getElementById("pth-said");
  const changes = document.getElementById("pth-changes");
  const token = window.jhdata ? window.jhdata.xsrf_token : "";
  let timer = 0;
  let looking = null;
  let lost = false; // the hub does not answer, or does not know us any more

  const cards = () => document.getElementById("pth-cards");
  const states = () =>
    new Map([...document.querySelectorAll(".pth-card")].map((card) => [card.id, card]));

  function tell(text, bad) {
    problem.className = text && bad ? "alert alert-danger" : "";
    problem.textContent = bad ? text : "";
    said.className = text && !bad ? "pth-said alert alert-info py-2" : "pth-said";
    said.textContent = bad ? "" : text;
  }

  // Makes `old` what `fresh` is, and keeps each element that stays: focus, open lists and dialogs with it.
  function become(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) return;
    for (const { name } of [...old.attributes])
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes)
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    const wanted = [...fresh.childNodes];
    const stay = new Set(wanted.map((node) => node.id).filter(Boolean));
    for (const node of [...old.childNodes]) if (node.id && !stay.has(node.id)) node.remove();
    wanted.forEach((node, place) => {
      const same = node.id && [...old.children].find((child) => child.id === node.id);
      const here = old.childNodes[place];
      if (same) {
        if (same !== here) old.insertBefore(same, here);
        become(same, node);
      } else if (!here) old.append(node);
      else if (here.id && stay.has(here.id)) old.insertBefore(node, here);
      else become(here, node);
    });
    while (old.childNodes.length > wanted.length) old.lastChild.remove();
  }

  function show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("pth-cards");
    if (!fresh) throw new Error("no cards");
    const before = new Map([...states()].map(([id, card]) => [id, card.dataset.state]));
    const focused = document.activeElement && document.activeElement.closest(".pth-card");
    become(cards(), document.importNode(fresh, true));
    const news = [];
    for (const [id, card] of states()) {
      const state = before.get(id);
      if (state !== undefined && state !== card.dataset.state)
        news.push(`${card.querySelector("h2").textContent.trim()}: ${card.dataset.badge}.`);
    }
    for (const id of before.keys()) if (!document.getElementById(id)) news.push("A workspace is gone.");
    if (news.length) changes.textContent = news.join(" ");
    // The button that had the focus may be gone: stay at its card, not at the page's top.
    if (focused && document.activeElement === document.body) {
      const card = document.getElementById(focused.id);
      const first = card && card.querySelector(".pth-actions a, .pth-actions button");
      if (first) first.focus({ preventScroll: true });
    }
  }

  async function look() {
    const answer = await fetch(home.dataset.cards, {
      headers: { Accept: "text/html", "X-XSRFToken": token },
      cache: "no-store",
      credentials: "same-origin",
    });
    if (answer.status === 401 || answer.status === 403 || answer.redirected) throw new Error("login");
    if (!answer.ok) throw new Error("hub");
    show(await answer.text());
    if (lost) tell("", false);
    lost = false;
  }

  // One look at a time; the next one is planned when it is over.
  function refresh() {
    clearTimeout(timer);
    looking ??= look()
      .catch((error) => {
        if (lost) return;
        lost = true;
        if (error.message === "login") {
          tell("You are logged out here. Your workspaces and their terminals go on. ", true);
          const link = document.createElement("a");
          link.href = home.dataset.login;
          link.textContent = "Log in";
          link.className = "alert-link";
          problem.append(link);
          return;
        }
        const now = new Date().toLocaleTimeString();
        tell(`The hub has not answered since ${now}; what you see is of then. Workspaces and their terminals go on.`, true);
      })
      .finally(() => {
        looking = null;
        plan();
      });
    return looking;
  }

  function plan() {
    clearTimeout(timer);
    if (document.visibilityState !== "visible") return;
    timer = setTimeout(refresh, cards().hasAttribute("data-soon") && !lost ? SOON : EVERY);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refresh();
    else clearTimeout(timer);
  });

  // -- forms ------------------------------------------------------------------------------------------
  function errors(form, found) {
    for (const place of form.querySelectorAll("[data-problem]")) {
      const field = form.elements[place.dataset.problem];
      const text = found[place.dataset.problem] || "";
      place.textContent = text;
      if (!field) continue;
      field.classList.toggle("is-invalid", Boolean(text));
      if (text) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
    const first = form.querySelector(".is-invalid");
    if (first) first.focus();
  }

  async function send(form) {
    const button = form.querySelector("[type=submit]");
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    button.classList.add("disabled");
    const card = form.closest(".pth-card");
    const popup = form.closest("[popover]");
    tell("", false);
    // A stop takes seconds: the card says meanwhile how far it is.
    const early = setTimeout(refresh, 400);
    try {
      // Not form.action: that is the field of this name.
      const answer = await fetch(form.getAttribute("action"), {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        headers: { Accept: "application/json" },
        credentials: "same-origin",
      });
      let model;
      try {
        model = await answer.json();
      } catch {
        model = { message: "The hub answered something else: open the page again. Nothing is lost." };
      }
      if (answer.ok && popup && popup.matches(":popover-open")) popup.hidePopover();
      if (answer.ok && model.next && !model.next.endsWith("/home")) {
        location.assign(model.next);
        return;
      }
      if (form.dataset.act === "new") {
        errors(form, model.errors || {});
        if (answer.ok) {
          form.reset();
          document.getElementById("pth-new").open = false;
        }
      }
      const title = card ? `${card.querySelector("h2").textContent.trim()}: ` : "";
      if (!answer.ok && popup && popup.matches(":popover-open")) popup.hidePopover();
      if (model.message) tell(title + model.message, !answer.ok);
    } catch {
      tell("The hub does not answer; it is not known whether that was done. Workspaces and their terminals go on.", true);
    } finally {
      clearTimeout(early);
      button.removeAttribute("aria-disabled");
      button.classList.remove("disabled");
      if (looking) await looking;
      refresh();
    }
  }

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-act]");
    if (!form || !home.contains(form)) return;
    event.preventDefault();
    if (form.dataset.act === "new" && !check(form)) return;
    send(form);
  });

  // What a stop would end is looked up when it is asked about.
  home.addEventListener("toggle", (event) => {
    if (event.newState === "open" && event.target.matches(".pth-confirm")) refresh();
  }, true);

  // -- the form of a new workspace ----------------------------------------------------------------------
  const form = home.querySelector("form[data-act=new]");

  const slug = (text) =>
    text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^[-0-9]+/, "").replace(/-+$/, "")
      .slice(0, 30).replace(/-+$/, "");

  function nameProblem(name) {
    if (!name) return "Give it a name.";
    if (name.length > 30 || !/^[a-z](?:-?[a-z0-9])*$/.test(name))
      return "A name has 1 to 30 characters of a-z, 0-9 and single hyphens between them, and begins with a letter.";
    if (JSON.parse(form.dataset.taken).includes(name)) return "You have a workspace of this name already.";
    return "";
  }

  function urlProblem(url) {
    if (!url) return "";
    if (!/^((https|ssh|git):\/\/[^\s/]+\/\S+|[\w.-]+@[\w.-]+:\S+)$/.test(url))
      return "Give the repository's address with https://, ssh:// or git:// (or user@host:path).";
    if (/^https:\/\/[^/]*@/.test(url))
      return "Leave user name and password out of the address: it would be kept in the repository's settings.";
    return "";
  }

  function mark(field, text) {
    form.querySelector(`[data-problem=${field.name}]`).textContent = text;
    field.classList.toggle("is-invalid", Boolean(text));
    if (text) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
    return !text;
  }

  function check() {
    const { name, title, url, branch } = form.elements;
    if (!name.value.trim()) name.value = slug(title.value);
    const fine = [mark(name, nameProblem(name.value.trim()))];
    if (url) fine.push(mark(url, urlProblem(url.value.trim())));
    if (branch && url)
      fine.push(mark(branch, branch.value.trim() && !url.value.trim() ? "A branch needs the repository that it is of." : ""));
    const first = form.querySelector(".is-invalid");
    if (first) first.focus();
    return fine.every(Boolean);
  }

  if (form) {
    const { name, title, url } = form.elements;
    let own = Boolean(name.value); // somebody chose the name: it no longer follows the title
    title.addEventListener("input", () => {
      if (own) return;
      name.value = slug(title.value);
      mark(name, name.value ? nameProblem(name.value) : "");
    });
    name.addEventListener("input", () => {
      own = name.value !== "";
      mark(name, name.value ? nameProblem(name.value) : "");
    });
    if (url) {
      // Nobody is told that half an address is wrong before it is whole.
      url.addEventListener("input", () => url.classList.contains("is-invalid") && mark(url, urlProblem(url.value.trim())));
      url.addEventListener("change", () => mark(url, urlProblem(url.value.trim())));
    }
  }

  plan();
  if (cards().hasAttribute("data-soon")) refresh();
})();
