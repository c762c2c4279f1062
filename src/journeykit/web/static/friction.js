// Looks for friction: rage clicks, dead clicks, errors behind a click, forms that were left.
// Sends names that the shop has given, never a text, a value or an address. Types: types.d.ts.
(() => {
  const { endpoint, page } = /** @type {HTMLScriptElement} */ (document.currentScript).dataset;
  /** @type {{ name: string, at: number, [key: string]: string | number | undefined }[]} */
  const waiting = [];
  let timer = 0;

  const send = () => {
    clearTimeout(timer);
    if (!waiting.length) return;
    const events = waiting.splice(0, 50).map(({ at, ...event }) => ({ ...event, page, ago_ms: Math.round(performance.now() - at) }));
    navigator.sendBeacon(`${endpoint}/events`, new Blob([JSON.stringify({ events })], { type: "application/json" }));
  };
  /** @type {(name: string, properties?: Record<string, string | number>, at?: number) => void} */
  const track = (name, properties = {}, at = performance.now()) => {
    if (waiting.length < 50) waiting.push({ name, at, ...properties });
    clearTimeout(timer);
    timer = setTimeout(send, 5000);
  };

  /** What the shop calls an element: its id, or its name, or only what kind it is. @type {(element: Element) => string} */
  const nameOf = (element) => {
    const tag = element.tagName.toLowerCase();
    const name = element.getAttribute("name");
    return (element.id ? `${tag}#${element.id}` : name ? `${tag}[${name}]` : tag).slice(0, 80);
  };
  const ours = (/** @type {Element} */ element) => element.localName === "journeykit-prompt";

  // Rage: three clicks, each within a second of the last and near it; text, numbers and steppers are clicked on purpose.
  /** @type {{ at: number, x: number, y: number, many: number }} */
  let burst = { at: -1e9, x: 0, y: 0, many: 0 };
  /** @type {(event: MouseEvent, target: Element) => void} */
  const rage = (event, target) => {
    const at = performance.now();
    const near = at - burst.at < 1000 && Math.abs(event.clientX - burst.x) + Math.abs(event.clientY - burst.y) < 30;
    const many = near ? burst.many + 1 : 1;
    burst = { at, x: event.clientX, y: event.clientY, many };
    if (many === 3 && !target.closest("input,textarea,select,[contenteditable],[aria-roledescription=carousel]") && getSelection()?.isCollapsed !== false) {
      track("Rage Clicked", { element: nameOf(target) });
    }
  };

  // Dead: nothing changes, moves, or is selected for 2.5 seconds behind a click on what looks alive.
  const LIVE = "a[href],button,[role=button],[role=link],[role=tab],[onclick],summary";
  let stirred = -1e9;
  const stir = () => { stirred = performance.now(); };
  new MutationObserver(stir).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  for (const name of ["scroll", "selectionchange", "visibilitychange", "popstate", "beforeunload", "input", "toggle"]) {
    addEventListener(name, stir, true);
  }
  addEventListener("blur", stir);
  /** @type {(event: MouseEvent, target: Element) => void} */
  const dead = (event, target) => {
    const live = target.closest(LIVE);
    if (!live || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (live.matches("[target=_blank],[download],a[href^='mailto:'],a[href^='tel:']") || target.closest("canvas,video,audio")) return;
    const at = performance.now();
    setTimeout(() => {
      // What stirs just before belongs to it: text is selected while the button goes down.
      if (stirred < at - 100 && live.isConnected) track("Dead Clicked", { element: nameOf(live), waited_ms: 2500 }, at);
    }, 2500);
  };

  // Errors: a script that fails within a second of a click.
  /** @type {{ at: number, element: string } | undefined} */
  let clicked;
  const failed = () => {
    if (!clicked || performance.now() - clicked.at > 1000) return;
    track("Element Clicked", { element: clicked.element }, clicked.at);
    track("Script Failed");
    clicked = undefined;
  };
  addEventListener("error", failed);
  addEventListener("unhandledrejection", failed);

  document.addEventListener("click", (event) => {
    const target = event.target;
    if (!(target instanceof Element) || !event.isTrusted || ours(target)) return;
    clicked = { at: performance.now(), element: nameOf(target) };
    rage(event, target);
    dead(event, target);
  }, true);

  // Forms: filled in and left. Of the fields only the name of the last one.
  /** @type {Map<HTMLFormElement, { field: string, at: number }>} */
  const forms = new Map();
  document.addEventListener("change", (event) => {
    const field = /** @type {HTMLInputElement} */ (event.target);
    if (field.form && field.name && field.type !== "password") forms.set(field.form, { field: field.name.slice(0, 80), at: performance.now() });
  }, true);
  document.addEventListener("submit", (event) => forms.delete(/** @type {HTMLFormElement} */ (event.target)), true);
  addEventListener("pagehide", () => {
    for (const [form, { field, at }] of forms) {
      const name = nameOf(form);
      track("Form Field Filled", { form: name, field }, at);
      track("Form Left", { form: name });
    }
    forms.clear();
    send();
  });
  document.addEventListener("visibilitychange", () => document.hidden && send());
})();
