// @ts-check
/**
 * The form: edits go into `fields`, deeds are asked for by message, everything
 * else only shows what the kernel's traits say. Nothing is put in as HTML.
 */

/** @param {string} name @param {Record<string, any>} [attributes] @param {...(Node | string)} children */
function html(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** @param {{ model: any, el: HTMLElement }} context */
function render({ model, el }) {
  const key = model.get("key");
  // One widget may be shown twice: ids belong to the view.
  const own = `mb-${key}-${Math.random().toString(36).slice(2, 8)}`;
  const facts = model.get("facts");
  const inputs = new Map();
  const hints = new Map();
  const ends = [];
  /** @param {string} names @param {() => void} show */
  const follow = (names, show) => {
    for (const name of names.split(" ")) {
      model.on(`change:${name}`, show);
      ends.push(() => model.off(`change:${name}`, show));
    }
    show();
  };

  /** @type {any} */
  let timer = 0;
  /** @param {string} name @param {any} value */
  function edit(name, value) {
    model.set("fields", { ...model.get("fields"), [name]: value });
    model.save_changes();
    clearTimeout(timer);
    timer = setTimeout(() => model.send({ do: "preview" }), 300);
  }

  /** @param {string} name @param {string} label */
  function field(name, label) {
    const input = html("input", { type: "text", id: `${own}-${name}`, spellcheck: "false", autocomplete: "off" });
    const hint = html("div", { class: "mb-hint", id: `${own}-${name}-hint` });
    input.setAttribute("aria-describedby", hint.id);
    input.addEventListener("input", () => edit(name, /** @type {HTMLInputElement} */ (input).value));
    inputs.set(name, input);
    hints.set(name, hint);
    return html("div", { class: "mb-field" }, html("label", { for: input.id }, label), input, hint);
  }

  const kind = html(
    "select",
    { id: `${own}-kind` },
    html("option", { value: "job" }, "Job: runs the notebook again"),
    html("option", { value: "service" }, "Service: serves the logged model"),
  );
  if (!facts.models.length) kind.lastElementChild?.setAttribute("disabled", "");
  kind.addEventListener("change", () => edit("kind", /** @type {HTMLSelectElement} */ (kind).value));
  inputs.set("kind", kind);
  const kindHint = html("div", { class: "mb-hint" }, facts.models.length ? `Model: ${facts.models.join(", ")}` : "The run logged no model: only a job is possible.");
  const dirty = html("input", { type: "checkbox", id: `${own}-dirty` });
  dirty.addEventListener("change", () => edit("allow_dirty", /** @type {HTMLInputElement} */ (dirty).checked));

  const form = html(
    "form",
    { "aria-label": "Image and rollout" },
    html(
      "fieldset",
      {},
      html("legend", {}, "Image"),
      html("div", { class: "mb-field" }, html("label", { for: kind.id }, "Kind"), kind, kindHint),
      field("base", "Base image"),
      field("repository", "Repository"),
      html("div", { class: "mb-pair" }, field("version", "Version tag"), field("build_id", "Build tag")),
      html("div", { class: "mb-check" }, dirty, html("label", { for: dirty.id }, "Build from uncommitted changes")),
    ),
    html(
      "fieldset",
      {},
      html("legend", {}, "Resources"),
      html("div", { class: "mb-three" }, field("cpu", "CPU"), field("memory", "Memory"), field("gpus", "GPUs")),
      html("div", { class: "mb-hint", id: `${own}-why` }),
    ),
    html(
      "fieldset",
      {},
      html("legend", {}, "Rollout"),
      html("div", { class: "mb-three" }, field("name", "Name"), field("namespace", "Namespace"), field("replicas", "Replicas")),
    ),
  );
  form.addEventListener("submit", (event) => event.preventDefault());

  // --- previews

  const tabs = html("div", { class: "mb-tabs", role: "tablist", "aria-label": "Previews" });
  const panel = html("pre", { class: "mb-panel", role: "tabpanel", id: `${own}-panel`, tabindex: 0 });
  let open = "Containerfile";
  function showTexts() {
    const texts = model.get("texts");
    const names = Object.keys(texts);
    if (!names.includes(open)) open = names[0] ?? "";
    const focused = tabs.contains(document.activeElement);
    tabs.replaceChildren(
      ...names.map((name) => {
        const chosen = name === open;
        const tab = html(
          "button",
          { type: "button", role: "tab", "aria-selected": chosen, "aria-controls": panel.id, tabindex: chosen ? 0 : -1 },
          name,
        );
        tab.addEventListener("click", () => turn(name));
        tab.addEventListener("keydown", (event) => {
          const step = { ArrowRight: 1, ArrowLeft: -1 }[/** @type {KeyboardEvent} */ (event).key];
          if (!step) return;
          event.preventDefault();
          turn(names[(names.indexOf(open) + step + names.length) % names.length], true);
        });
        return tab;
      }),
    );
    if (focused) /** @type {HTMLElement} */ (tabs.querySelector('[aria-selected="true"]'))?.focus();
    const { scrollTop } = panel;
    panel.textContent = texts[open] ?? "";
    panel.scrollTop = scrollTop;
    panel.setAttribute("aria-label", open);
  }
  /** @param {string} name @param {boolean} [focus] */
  function turn(name, focus = false) {
    open = name;
    panel.scrollTop = 0;
    showTexts();
    if (focus) /** @type {HTMLElement} */ (tabs.querySelector('[aria-selected="true"]'))?.focus();
  }
  const problems = html("ul", { class: "mb-warn", "aria-label": "In the way" });
  const notes = html("ul", { class: "mb-warn mb-notes", "aria-label": "Notes" });

  // --- deeds

  /** @param {string} label @param {Record<string, any>} message @param {string} [style] */
  function deed(label, message, style = "") {
    const button = html("button", { type: "button", class: style }, label);
    button.addEventListener("click", () => model.send(message));
    return /** @type {HTMLButtonElement} */ (button);
  }
  const build = deed("Build", { do: "build", push: false }, "mb-main");
  const push = deed("Build and push", { do: "build", push: true });
  const roll = deed("Roll out", { do: "rollout" });
  const cancel = deed("Cancel", { do: "cancel" });
  const where = html("span", { class: "mb-where" });
  const status = html("div", { class: "mb-status", role: "status", "aria-live": "polite" });
  const log = html("pre", { class: "mb-log", "aria-label": "Log", tabindex: 0 });

  function showDeeds() {
    const busy = model.get("busy");
    const reference = model.get("result").reference;
    build.disabled = push.disabled = Boolean(busy);
    roll.disabled = Boolean(busy) || !reference || !facts.context;
    cancel.hidden = !busy;
    for (const input of [...inputs.values(), dirty]) input.toggleAttribute("disabled", Boolean(busy));
    const to = model.get("fields").namespace;
    where.textContent = facts.context
      ? `Cluster: ${facts.context}${to ? `, namespace ${to}` : ""}${reference ? "" : " (push first)"}`
      : "No Kubernetes context: set KUBECONFIG to roll out.";
  }

  function showStatus() {
    const [busy, error, result, progress] = ["busy", "error", "result", "progress"].map((name) => model.get(name));
    if (busy) {
      const bar = html("progress", { "aria-label": busy });
      if (progress.total) {
        bar.setAttribute("max", progress.total);
        bar.setAttribute("value", progress.done ?? 0);
      }
      status.replaceChildren(html("span", {}, progress.message ?? busy), bar);
      return;
    }
    const parts = [];
    if (error.message) {
      parts.push(html("div", { class: "mb-error" }, error.message));
      if (error.remedy) parts.push(html("div", {}, error.remedy));
      if (error.output) parts.push(html("pre", {}, error.output));
    } else if (result.id) {
      const list = html("dl");
      const row = (name, ...value) => list.append(html("dt", {}, name), html("dd", {}, ...value));
      row("Tags", ...result.references.flatMap((text, n) => [...(n ? [html("br")] : []), html("code", {}, text)]));
      row(result.digest ? "Digest" : "Image id", html("code", {}, result.digest || result.id), copy(result.reference || result.id));
      if (result.rollout) {
        row("Runs as", `${result.rollout.workload} ${result.rollout.name} in ${result.rollout.namespace} (${result.rollout.status})`);
      }
      const said = result.rollout ? "Rolled out" : result.digest ? "Built and pushed" : "Built";
      parts.push(html("div", { class: "mb-done" }, `${said} (${result.kind})`), list);
    }
    status.replaceChildren(...parts);
  }

  /** @param {string} text */
  function copy(text) {
    const button = html("button", { type: "button", class: "mb-copy", "aria-label": `Copy ${text}` }, "Copy");
    button.addEventListener("click", () => navigator.clipboard?.writeText(text));
    return button;
  }

  const title = html("header", {}, html("b", {}, facts.notebook), html("span", {}, "record ", html("code", {}, facts.record)));
  title.append(html("span", {}, "commit ", html("code", {}, facts.commit)));
  if (facts["uncommitted changes"]) title.append(html("span", {}, "with uncommitted changes"));
  const root = html(
    "section",
    { class: `mlrepro-build mlrepro-live-${key}`, "aria-label": `Containerize ${facts.notebook}`, "data-lm-suppress-shortcuts": "true" },
    title,
    html("div", { class: "mb-body" }, form, html("div", { class: "mb-show" }, tabs, panel)),
    problems,
    notes,
    html("footer", {}, html("div", { class: "mb-deeds" }, build, push, roll, cancel, where), status, log),
  );
  el.append(root);

  follow("texts", showTexts);
  follow("problems notes", () => {
    problems.replaceChildren(...model.get("problems").map((text) => html("li", {}, text)));
    notes.replaceChildren(...model.get("notes").map((text) => html("li", {}, text)));
  });
  follow("fields", () => {
    for (const [name, input] of inputs) {
      const value = String(model.get("fields")[name] ?? "");
      // Not while it is typed in: an echo from the kernel may be older than the last key.
      if (input.value !== value && document.activeElement !== input) input.value = value;
    }
    /** @type {HTMLInputElement} */ (dirty).checked = Boolean(model.get("fields").allow_dirty);
    showDeeds();
  });
  follow("placeholders", () => {
    for (const [name, input] of inputs) {
      if (name !== "kind") input.setAttribute("placeholder", model.get("placeholders")[name] ?? "automatic");
    }
  });
  follow("sources", () => {
    const lines = Object.entries(model.get("sources")).map(([name, why]) => html("div", {}, `${name}: ${why}`));
    root.querySelector(`[id="${own}-why"]`)?.replaceChildren(...lines);
  });
  follow("busy result", showDeeds);
  follow("busy error result progress", showStatus);
  follow("log", () => {
    const following = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    log.textContent = model.get("log");
    if (following) log.scrollTop = log.scrollHeight;
  });

  const watch = new ResizeObserver(() => root.classList.toggle("mb-narrow", root.clientWidth < 720));
  watch.observe(root);
  return () => {
    clearTimeout(timer);
    watch.disconnect();
    for (const end of ends) end();
  };
}

export default { render };
