// Asks a question in the page. Types: types.d.ts.
(() => {
  const { endpoint, wait } = /** @type {HTMLScriptElement} */ (document.currentScript).dataset;
  if (customElements.get("journeykit-prompt") || !CSS.supports("color:light-dark(red,red)")) return;

  const css = new CSSStyleSheet();
  css.replaceSync(`
:host{position:fixed;z-index:var(--jk-z,2147483000);inset-block-end:1rem;inset-inline-end:1rem;inline-size:min(26rem,100% - 2rem);pointer-events:none;
--a:var(--jk-accent,light-dark(#0b6357,#6fd8c3));--o:var(--jk-on-accent,light-dark(#fff,#08201b));
--s:var(--jk-surface,light-dark(#fff,#1b2221));--t:var(--jk-text,light-dark(#16211e,#eef4f1));
--m:var(--jk-muted,light-dark(#52605b,#b0bdb8));--b:var(--jk-border,light-dark(#7d8b86,#75847e));--r:var(--jk-radius,.625rem)}
:host([theme=dark]){color-scheme:dark}
:host([theme=light]){color-scheme:light}
:host([top]){inset-block:1rem auto}
:host([inline]){display:block;position:static;inline-size:auto;max-inline-size:32rem}
*{box-sizing:border-box}
section{fill:none;pointer-events:auto;position:relative;max-block-size:calc(100dvh - 2rem);overflow:auto;padding:1.5rem;border:1px solid light-dark(#16211e24,#ffffff2e);
border-radius:calc(var(--r)*1.6);background:var(--s);color:var(--t);font:400 1rem/1.45 var(--jk-font,inherit);text-align:start;box-shadow:var(--jk-shadow,0 2px 6px #16211e14,0 18px 48px -8px #16211e40)}
:host([inline]) section{box-shadow:none}
fieldset,legend,h2,p{margin:0;padding:0;border:0;min-inline-size:0}
legend{padding-inline-end:2rem}
h2{font-size:1.125rem;font-weight:600;line-height:1.3;text-wrap:balance}
.hide{position:absolute;inline-size:1px;block-size:1px;overflow:hidden;clip-path:inset(50%)}
button{font:inherit;font-weight:600;min-block-size:2.75rem;padding:.5rem 1.25rem;border:0;border-radius:var(--r);background:none;color:var(--m);cursor:pointer}
button:hover{color:var(--t)}
.send,.send:hover,i{background:var(--a);color:var(--o)}
.never{font-weight:400;font-size:.8125rem;text-decoration:underline;padding-inline:0;margin-inline-end:auto}
.close{position:absolute;inset-block-start:.75rem;inset-inline-end:.75rem;inline-size:2.75rem;padding:.6875rem}
:is(button,textarea,label):is(:focus-visible,:has(:focus-visible)){outline:2px solid var(--a);outline-offset:2px}
h2:focus{outline:0}
footer{display:flex;flex-wrap:wrap;justify-content:end;align-items:center;gap:.5rem;margin-block-start:1rem}
svg{display:block;inline-size:100%;block-size:100%;stroke:currentColor;stroke-width:1.75;stroke-linecap:round;stroke-linejoin:round}
fieldset>div{display:grid;gap:.5rem;margin-block-start:1rem}
label{position:relative;border-radius:var(--r);cursor:pointer}
.scale{gap:.25rem;grid-auto-flow:column;grid-auto-columns:minmax(1.5rem,1fr)}
.scale input{position:absolute;inset:0;inline-size:100%;block-size:100%;margin:0;opacity:0}
.scale span{display:grid;place-items:center;block-size:2.75rem;border-radius:inherit}
.numbers span,.list label,textarea{border:1px solid var(--b)}
.numbers :hover>.mark,.list label:is(:hover,:has(:checked)){border-color:var(--a);box-shadow:inset 0 0 0 1px var(--a)}
.scale :checked+span{background:var(--a);border-color:var(--a);color:var(--o)}
.stars,.faces{justify-content:space-between;grid-auto-columns:3.25rem}
:is(.stars,.faces) .mark{block-size:3.25rem;padding:.375rem;color:var(--b)}
:is(.stars,.faces) :hover> .mark{color:var(--a)}
.faces label :checked+.mark{color:var(--o)}
.stars label:is(:has(:checked),:has(~* :checked)) .mark{background:none;color:var(--a);fill:currentColor}
fieldset>.ends{grid-auto-flow:column;justify-content:space-between;margin-block-start:.5rem;font-size:.8125rem;color:var(--m)}
.list label{display:flex;gap:.75rem;align-items:center;min-block-size:2.75rem;padding:.5rem 1rem}
.list input{flex:none;inline-size:1.125rem;block-size:1.125rem;margin:0;accent-color:var(--a)}
textarea{min-block-size:6rem;padding:.75rem;font:inherit;color:inherit;background:none;border-radius:var(--r);resize:vertical}
.error{color:light-dark(#a3200d,#ffb4a6);font-weight:600;margin-block-start:.75rem}
.error:empty{display:none}
.thanks{text-align:center;padding:1.5rem}
i{display:block;inline-size:3rem;padding:.75rem;margin:0 auto 1rem;border-radius:3rem}
@media (max-width:26rem){:host{inset-inline-end:.5rem;inset-block-end:.5rem;inline-size:calc(100% - 1rem)}section{padding:1.25rem 1rem}.scale:has(:nth-child(9)){grid-auto-flow:row;grid-template-columns:repeat(6,1fr)}}
@media (forced-colors:active){.scale :checked+span{background:Highlight;color:HighlightText;forced-color-adjust:none}}
@media (prefers-reduced-motion:no-preference){section{animation:in .25s ease-out}@keyframes in{from{opacity:0;translate:0 1rem}}}
@media print{:host{display:none}}`);

  /** @type {(tag: string, props?: Record<string, any>, ...kids: any[]) => any} */
  const h = (tag, props = {}, ...kids) => {
    const made = document.createElement(tag);
    for (const key in props) key in made ? (made[key] = props[key]) : made.setAttribute(key, props[key]);
    if (props.className) made.part = props.className;
    made.append(...kids);
    return made;
  };
  const icon = (d) => {
    const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    svg.setAttribute("viewBox", "0 0 24 24");
    path.setAttribute("d", d);
    svg.append(path);
    return svg;
  };
  const face = (mood) => `M12 3a9 9 0 1 1 0 18a9 9 0 1 1 0-18M9 9.5v.5M15 9.5v.5M8 ${15.5 - mood / 2}q4 ${mood * 2} 8 0`;

  const live = h("p", { className: "hide", role: "status" });
  /** @type {HTMLElement} */ let host;
  /** @type {ShadowRoot} */ let root;
  /** @type {HTMLElement} */ let card;
  /** @type {Offer} */ let offer;
  /** @type {Record<string, Answer>} */ let answers;
  /** @type {Step[]} */ let path;
  let from, started, done, timer, asked, seq = 0, since = 0;

  const tell = (event) => {
    const { impression, prompt, token } = offer;
    host.dispatchEvent(new CustomEvent(`journeykit:${event}`, { bubbles: true, detail: { prompt } }));
    return fetch(`${endpoint}/impressions/${impression}`, {
      method: "POST",
      keepalive: true,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        token, event, seq: ++seq, elapsed_ms: since && performance.now() - since,
        answers: Object.fromEntries(path.map(({ id }) => [id, answers[id]])),
      }),
    }).catch(() => ({ status: 0 }));
  };

  // Never covers what has the focus.
  const dodge = () => {
    const there = document.activeElement;
    if (!card || there === host || there === document.body) return;
    host.removeAttribute("top");
    const [a, b] = [there, card].map((each) => each.getBoundingClientRect());
    host.toggleAttribute("top", a.bottom > b.top && a.top < b.bottom && a.right > b.left && a.left < b.right);
  };

  const close = () => {
    if (!done) tell("dismissed");
    const inside = root.activeElement;
    card.remove();
    card = live.textContent = null;
    if (inside) from?.focus();
  };

  const fill = (text, make) => {
    const inside = root.activeElement;
    const title = h("h2", { id: "t", tabIndex: -1, className: "title" }, text);
    card.replaceChildren(make(title), h("button", {
      className: "close", ariaLabel: offer.labels.close, onclick: close,
    }, icon("M6 6l12 12M18 6L6 18")));
    if (inside) title.focus();
  };

  const thank = (text) => {
    done = true;
    fill(text, (title) => h("div", { className: "thanks" }, h("i", {}, icon("M4.5 12.5l5 5L19.5 7")), title));
  };

  /** @type {(step: Step) => Node[]} */
  const controls = ({ id: name, type, title, options, min, max, low, high, style }) => {
    const before = answers[name];
    if (type === "text") return [h("div", {}, h("textarea", { name, maxLength: max, value: before ?? "", className: "text", ariaLabel: title }))];
    const box = (value, props, kid) => h("label", { className: "option" }, h("input", {
      type: type === "choices" ? "checkbox" : "radio", name, value, checked: [before].flat().includes(value), ...props,
    }), kid);
    if (type !== "scale") return [h("div", { className: "list" }, ...options.map(({ id, label }) => box(id, {}, label)))];
    const cells = Array.from({ length: max - min + 1 }, (_, at) => box(min + at, {
      ariaLabel: [`${min + at} / ${max}`, !at && low, min + at === max && high].filter(Boolean).join(", "),
    }, h("span", { className: "mark" },
      style === "stars" ? icon("M12 2.8l2.8 5.8 6.4.9-4.6 4.4 1.1 6.3-5.7-3-5.7 3 1.1-6.3L2.8 9.5l6.4-.9z")
        : style === "faces" ? icon(face((at * 4) / (max - min) - 2)) : min + at)));
    return [h("div", { className: `scale ${style}` }, ...cells), h("div", { className: "ends", ariaHidden: "true" }, h("span", {}, low), h("span", {}, high))];
  };

  /** @type {(step: Step) => void} */
  const show = (step) => {
    const { labels, steps, thanks } = offer;
    const error = h("p", { id: "e", className: "error" });
    const send = h("button", { className: "send" }, steps.at(-1) === step ? labels.send : labels.next);
    const other = path.length
      ? h("button", { type: "button", className: "back", onclick: () => show(path.pop()) }, labels.back)
      : h("button", { type: "button", className: "never", onclick: () => {
        fetch(`${endpoint}/prompts`, { method: "DELETE", keepalive: true });
        thank(labels.opted_out);
      } }, labels.opt_out);
    const complain = (text) => {
      error.textContent = live.textContent = text;
      /** @type {HTMLElement} */ (root.querySelector("input,textarea")).focus();
    };
    const oninput = () => {
      if (!started) tell("started");
      started = true;
    };
    const onsubmit = async (event) => {
      event.preventDefault();
      const given = new FormData(event.target).getAll(step.id).map(String).filter((text) => text.trim());
      if (step.required && !given[0]) return complain(labels.required);
      if (send.ariaDisabled) return;
      answers[step.id] = step.type === "choices" ? given : given[0] && step.type === "scale" ? +given[0] : given[0];
      path.push(step);
      const score = answers[steps[0].id];
      const next = steps.slice(steps.indexOf(step) + 1).find(({ from: low = score, to = score }) => score >= low && score <= to);
      if (next) {
        tell("answer");
        return show(next);
      }
      send.ariaDisabled = "true";
      const { status } = await tell("completed");
      if ([204, 409, 410].includes(status)) return thank(thanks);
      seq--;
      path.pop();
      send.ariaDisabled = null;
      complain(status === 422 ? labels.invalid : labels.failed);
    };
    fill(step.title, (title) => h("form", { oninput, onsubmit },
      h("fieldset", { "aria-describedby": "e" }, h("legend", {}, title), ...controls(step)), error, h("footer", {}, other, send)));
  };

  const open = () => {
    const { lang, dir, labels, steps } = offer;
    since = performance.now();
    card = h("section", { lang, dir, className: "card", "aria-labelledby": "t", onkeydown: ({ key }) => key !== "Escape" || close() });
    root.append(card);
    show(steps[0]);
    live.textContent = `${labels.announce} ${steps[0].title}`;
    dodge();
  };

  /** @type {(given: Offer, shown?: string) => void} */
  const plan = (given, shown) => {
    offer = given;
    answers = {};
    path = [];
    started = done = false;
    if (shown != null) open();
    else timer = setTimeout(async () => (await tell("shown")).status === 204 && open(), offer.delay_ms);
  };

  customElements.define("journeykit-prompt", class extends HTMLElement {
    connectedCallback() {
      if (host) return;
      host = this;
      root = host.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [css];
      root.append(live);
      const { offer: given, shown } = host.dataset;
      if (given) plan(JSON.parse(given), shown);
    }
  });
  if (!host) document.body.append(document.createElement("journeykit-prompt"));

  const ask = (again) => {
    // Swapping the body takes it away.
    if (!host.isConnected) document.body.append(host);
    const here = location.pathname + location.search;
    if (card || (here === asked && again !== true)) return;
    asked = here;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const query = new URLSearchParams({ path: location.pathname, lang: document.documentElement.lang, from: document.referrer });
      const reply = await fetch(`${endpoint}/prompt?${query}`, { cache: "no-store" });
      if (reply.status === 200 && here === asked) plan(await reply.json());
    }, +wait);
  };
  const begin = () => (document.hidden ? addEventListener("visibilitychange", begin, { once: true }) : ask());
  begin();
  for (const name of ["popstate", "htmx:afterSettle", "turbo:load"]) addEventListener(name, ask);
  window.navigation?.addEventListener("currententrychange", ask);
  addEventListener("journeykit:ask", () => ask(true));
  addEventListener("focusin", ({ target, relatedTarget }) => (target === host ? (from = relatedTarget || from) : requestAnimationFrame(dodge)));
  addEventListener("pagehide", () => card && started && !done && tell("abandoned"));
})();
