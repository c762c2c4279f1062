// journeykit asks one question in the page. Text only, no dependency, no build step; types.d.ts has the types.
(() => {
  const { dataset } = /** @type {HTMLScriptElement} */ (document.currentScript);
  const base = dataset.endpoint || "/journeykit/v1";
  if (customElements.get("journeykit-prompt") || !document.adoptedStyleSheets) return;

  const css = new CSSStyleSheet();
  css.replaceSync(`
:host{position:fixed;z-index:var(--jk-z,2147483000);inset-block-end:max(1rem,env(safe-area-inset-bottom));inset-inline-end:1rem;
inline-size:min(25.5rem,100% - 2rem);pointer-events:none;
--a:var(--jk-accent,light-dark(#0b6357,#6fd8c3));--o:var(--jk-on-accent,light-dark(#fff,#08201b));
--s:var(--jk-surface,light-dark(#fff,#1b2221));--t:var(--jk-text,light-dark(#16211e,#eef4f1));
--m:var(--jk-muted,light-dark(#52605b,#b0bdb8));--b:var(--jk-border,light-dark(#7d8b86,#75847e));--r:var(--jk-radius,1rem)}
@supports not (color:light-dark(red,red)){:host{--s:Canvas;--t:CanvasText;--m:CanvasText;--b:CanvasText;--a:#0b6357;--o:#fff}}
:host([theme=light]){color-scheme:light}
:host([theme=dark]){color-scheme:dark}
:host([top]){inset-block:1rem auto}
:host([inline]){display:block;position:static;inline-size:auto;max-inline-size:32rem}
section{pointer-events:auto;position:relative;box-sizing:border-box;max-block-size:calc(100dvh - 2rem);overflow:auto;padding:1.5rem;
border-radius:var(--r);background:var(--s);color:var(--t);font:400 1rem/1.45 var(--jk-font,inherit);text-align:start;
box-shadow:var(--jk-shadow,0 0 0 1px light-dark(#16211e1a,#ffffff24),0 2px 6px #16211e14,0 18px 48px -8px #16211e40)}
:host([inline]) section{box-shadow:none;border:1px solid var(--b)}
form,fieldset,legend,h2,p{margin:0;padding:0;border:0;min-inline-size:0}
legend{display:block;inline-size:100%;padding-inline-end:2.25rem;box-sizing:border-box}
h2{font:600 1.125rem/1.35 var(--jk-font,inherit);text-wrap:balance}
p{color:var(--m);font-size:.9375rem;margin-block-start:.375rem}
.hide{position:absolute;inline-size:1px;block-size:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
button{font:600 .9375rem/1.25 var(--jk-font,inherit);min-block-size:2.75rem;padding:.5rem 1.25rem;border:0;border-radius:calc(var(--r)*.625);background:none;color:var(--m);cursor:pointer}
button:hover{color:var(--t)}
button.send{background:var(--a);color:var(--o);order:1}
button.send:hover{box-shadow:inset 0 0 0 9rem light-dark(#0002,#fff3)}
button.send[aria-disabled]{opacity:.6}
button.quiet{font-weight:400;font-size:.8125rem;text-decoration:underline;text-underline-offset:.2em;padding-inline:0;margin-inline-end:auto}
button.x{position:absolute;inset-block-start:.75rem;inset-inline-end:.75rem;inline-size:2.75rem;padding:.6875rem}
:is(button,h2,textarea,label):is(:focus-visible,:has(:focus-visible)){outline:2px solid var(--a);outline-offset:2px}
h2:focus{outline:0}
footer{display:flex;flex-wrap:wrap;justify-content:flex-end;align-items:center;gap:.25rem .5rem;margin-block-start:1.25rem}
svg{display:block;inline-size:100%;block-size:100%;fill:none;stroke:currentColor;stroke-width:1.75;stroke-linecap:round;stroke-linejoin:round}
.body{margin-block-start:1rem}
.scale{display:grid;gap:.25rem;grid-auto-flow:column;grid-auto-columns:minmax(1.5rem,1fr)}
.scale label{position:relative;border-radius:calc(var(--r)*.5);cursor:pointer}
.scale input{position:absolute;inset:0;inline-size:100%;block-size:100%;margin:0;opacity:0;cursor:inherit}
.scale span{display:grid;place-items:center;box-sizing:border-box;block-size:2.75rem;border-radius:inherit}
.numbers span{border:1px solid var(--b);font-variant-numeric:tabular-nums}
.numbers label:hover span{border-color:var(--a);box-shadow:inset 0 0 0 1px var(--a)}
.numbers :checked+span{background:var(--a);border-color:var(--a);color:var(--o);font-weight:600}
.icons{justify-content:space-between;grid-auto-columns:minmax(2.75rem,3.25rem)}
.icons span{block-size:3.25rem;padding:.375rem;color:var(--b)}
.icons label:hover span{color:var(--a)}
.faces :checked+span{color:var(--o);background:var(--a)}
.stars label:has(:checked) span,.stars label:has(~label :checked) span{color:var(--a)}
.stars label:has(:checked) path,.stars label:has(~label :checked) path{fill:currentColor}
.ends{display:flex;justify-content:space-between;gap:1.5rem;font-size:.8125rem;color:var(--m);margin-block-start:.5rem}
.ends span+span{text-align:end}
.list{display:grid;gap:.5rem}
.list label{display:flex;gap:.75rem;align-items:center;min-block-size:2.75rem;box-sizing:border-box;padding:.5rem .875rem;border:1px solid var(--b);border-radius:calc(var(--r)*.625);cursor:pointer}
.list label:is(:hover,:has(:checked)){border-color:var(--a);box-shadow:inset 0 0 0 1px var(--a)}
.list input{flex:none;inline-size:1.125rem;block-size:1.125rem;margin:0;accent-color:var(--a)}
textarea{display:block;inline-size:100%;box-sizing:border-box;min-block-size:6rem;padding:.75rem .875rem;font:inherit;color:inherit;background:none;border:1px solid var(--b);border-radius:calc(var(--r)*.625);resize:vertical}
.error{color:light-dark(#a3200d,#ffb4a6);font-weight:600}
.error:empty{display:none}
.done{text-align:center;padding-block:2rem}
.done i{display:block;inline-size:2rem;padding:.625rem;margin:0 auto 1rem;border-radius:50%;background:var(--a);color:var(--o)}
@media (max-width:26rem){:host{inset-inline-end:.5rem;inset-block-end:.5rem;inline-size:calc(100% - 1rem)}section{padding:1.25rem 1rem}
.long{grid-auto-flow:row;grid-template-columns:repeat(6,1fr)}}
@media (forced-colors:active){section{border:1px solid}.scale :checked+span{background:Highlight;color:HighlightText;forced-color-adjust:none}}
@media (prefers-reduced-motion:no-preference){section{animation:in .28s cubic-bezier(.2,.8,.3,1)}span,button{transition:color .12s,background-color .12s,box-shadow .12s}
@keyframes in{from{opacity:0;transform:translateY(.75rem)}}}
@media print{:host{display:none}}`);

  /** @type {(tag: string, props?: Record<string, any>, ...kids: (Node | string | false)[]) => any} */
  const h = (tag, props = {}, ...kids) => {
    const made = /** @type {any} */ (document.createElement(tag));
    for (const key in props) key in made ? (made[key] = props[key]) : made.setAttribute(key, props[key]);
    made.append(...kids.filter(Boolean));
    return made;
  };

  /** @type {(d: string) => SVGElement} */
  const icon = (d) => {
    const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", d);
    svg.append(path);
    return /** @type {SVGElement} */ (svg);
  };
  const STAR = "M12 2.8l2.8 5.8 6.4.9-4.6 4.4 1.1 6.3-5.7-3-5.7 3 1.1-6.3L2.8 9.5l6.4-.9z";
  /** @type {(mood: number) => string} */
  const face = (mood) => `M12 3a9 9 0 1 1 0 18a9 9 0 1 1 0-18M9 9.5v.5M15 9.5v.5M8 ${15.5 - mood / 2}q4 ${mood * 2} 8 0`;

  class Prompt extends HTMLElement {
    #live = h("p", { className: "hide", role: "status" });
    /** @type {Offer | undefined} */ #offer;
    /** @type {Record<string, Answer>} */ #answers = {};
    /** @type {string[]} */ #path = [];
    /** @type {HTMLElement | undefined} */ #card;
    /** @type {any} */ #from;
    #seq = 0;
    #since = 0;
    #started = false;
    #done = false;
    #timer = 0;
    #asked = "";

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [css];
      root.append(this.#live);
      this.addEventListener("focusin", (event) => { this.#from ||= event.relatedTarget; });
      document.addEventListener("focusin", () => requestAnimationFrame(() => this.#dodge()));
      addEventListener("pagehide", () => this.#started && !this.#done && this.#tell("abandoned"));
    }

    connectedCallback() {
      if (this.dataset.offer && !this.#offer) this.#open(JSON.parse(this.dataset.offer));
    }

    /** Asks the shop whether there is a question; `again` asks also where it was asked. */
    async ask(again = false) {
      const here = location.pathname + location.search;
      if (this.#card || (here === this.#asked && !again)) return;
      this.#asked = here;
      clearTimeout(this.#timer);
      const from = document.referrer && (new URL(document.referrer).host === location.host ? "internal" : "external");
      const query = new URLSearchParams({
        path: location.pathname, page: dataset.page || "", lang: document.documentElement.lang, ref: from || "direct",
      });
      const reply = await fetch(`${base}/prompt?${query}`, { cache: "no-store" }).catch(() => null);
      if (reply?.status !== 200 || this.#card || here !== this.#asked) return;
      const offer = /** @type {Offer} */ (await reply.json());
      this.#timer = setTimeout(async () => {
        this.#offer = offer;
        // The shop looks once more: another tab may have asked, or the case be closed.
        if (!this.#card && (await this.#tell("shown"))?.ok) this.#open(offer);
      }, offer.delay_ms);
    }

    /** @type {(event: string) => Promise<Response | null>} */
    #tell(event) {
      const offer = /** @type {Offer} */ (this.#offer);
      const body = JSON.stringify({
        token: offer.token, event, seq: ++this.#seq, answers: this.#path.reduce((all, id) => (
          id in this.#answers ? { ...all, [id]: this.#answers[id] } : all), {}),
        elapsed_ms: this.#since && Math.round(performance.now() - this.#since),
      });
      this.dispatchEvent(new CustomEvent(`journeykit:${event}`, { bubbles: true, detail: { prompt: offer.prompt } }));
      return fetch(`${base}/impressions/${offer.impression}`, {
        method: "POST", keepalive: true, headers: { "content-type": "application/json" }, body,
      }).catch(() => null);
    }

    /** @type {(offer: Offer) => void} */
    #open(offer) {
      Object.assign(this, { hidden: false });
      this.#offer = offer;
      this.#answers = {};
      this.#path = [];
      this.#started = this.#done = false;
      this.#since = performance.now();
      this.#card = h("section", { lang: offer.lang, dir: offer.dir, part: "card", "aria-labelledby": "t" });
      this.#card?.addEventListener("keydown", (event) => { if (event.key === "Escape") this.#close(); });
      this.shadowRoot?.append(/** @type {Node} */ (this.#card));
      this.#show(offer.steps[0]);
      this.#live.textContent = `${offer.labels.announce} ${offer.steps[0].title}`;
      this.#dodge();
    }

    #close() {
      if (!this.#done) this.#tell("dismissed");
      const inside = this.shadowRoot?.activeElement;
      this.#card?.remove();
      this.#card = undefined;
      this.#live.textContent = "";
      if (inside) this.#from?.focus();
      this.#from = undefined;
    }

    /** Moves away from what has the focus, so that it is never covered. */
    #dodge() {
      const there = document.activeElement;
      if (!this.#card || !there || there === this || there === document.body) return;
      this.removeAttribute("top");
      const [a, b] = [there, this.#card].map((each) => each.getBoundingClientRect());
      this.toggleAttribute("top", a.bottom > b.top && a.top < b.bottom && a.right > b.left && a.left < b.right);
    }

    /** @type {(...kids: (Node | false)[]) => void} */
    #fill(...kids) {
      const close = h("button", {
        type: "button", className: "x", part: "close", "aria-label": this.#offer?.labels.close, onclick: () => this.#close(),
      }, icon("M6 6l12 12M18 6L6 18"));
      this.#card?.replaceChildren(.../** @type {Node[]} */ (kids.filter(Boolean)), close);
    }

    /** @type {(step: Step, problem?: string) => void} */
    #show(step, problem = "") {
      const { labels } = /** @type {Offer} */ (this.#offer);
      const inside = this.shadowRoot?.activeElement;
      const title = h("h2", { id: "t", tabIndex: -1, part: "title", textContent: step.title });
      const error = h("p", { id: "e", className: "error", part: "error", textContent: problem });
      const last = !step.then && !step.next;
      const send = h("button", { className: "send", part: "button", textContent: last ? labels.send : labels.next });
      const form = h("form", { noValidate: true, part: "form" },
        h("fieldset", { "aria-describedby": "p e" },
          h("legend", {}, title),
          step.hint && h("p", { id: "p", part: "hint", textContent: step.hint }),
          h("div", { className: "body" }, ...this.#controls(step))),
        error,
        h("footer", {},
          this.#path.length ? h("button", { type: "button", part: "back", textContent: labels.back, onclick: () => this.#show(this.#step(this.#path.pop())) })
            : h("button", { type: "button", className: "quiet", part: "opt-out", textContent: labels.opt_out, onclick: () => this.#optOut() }),
          send));
      form.oninput = () => {
        error.textContent = "";
        if (!this.#started) this.#tell("started");
        this.#started = true;
      };
      form.onsubmit = async (/** @type {Event} */ event) => {
        event.preventDefault();
        const value = this.#read(form, step);
        const missing = value === undefined && step.required;
        if (missing) return this.#complain(error, labels.required, form);
        if (value === undefined) delete this.#answers[step.id];
        else this.#answers[step.id] = value;
        const go = (step.next || []).find((rule) => rule.is.includes(/** @type {any} */ (value)))?.go ?? step.then;
        if (send.ariaDisabled) return undefined;
        this.#path.push(step.id);
        if (go) {
          this.#tell("answer");
          return this.#show(this.#step(go));
        }
        send.ariaDisabled = "true";
        const reply = await this.#tell("completed");
        if (reply?.ok || reply?.status === 409 || reply?.status === 410) return this.#thank();
        // What was lost goes once more under the same number: it counts once.
        if (!reply) this.#seq--;
        this.#path.pop();
        send.ariaDisabled = null;
        return this.#complain(error, reply?.status === 422 ? labels.invalid : labels.failed, form);
      };
      this.#fill(form);
      if (inside) title.focus();
    }

    /** @type {(error: HTMLElement, text: string, form: HTMLFormElement) => void} */
    #complain(error, text, form) {
      error.textContent = this.#live.textContent = text;
      /** @type {HTMLElement | null} */ (form.querySelector("input,textarea"))?.focus();
    }

    /** @type {(id: string | undefined) => Step} */
    #step(id) {
      return /** @type {Step} */ (this.#offer?.steps.find((step) => step.id === id));
    }

    /** @type {(step: Step) => Node[]} */
    #controls(step) {
      const before = this.#answers[step.id];
      if (step.type === "text") {
        return [h("textarea", { name: step.id, maxLength: step.max, value: before ?? "", part: "text", "aria-labelledby": "t" })];
      }
      if (step.type !== "scale") {
        const type = step.type === "choice" ? "radio" : "checkbox";
        return [h("div", { className: "list" }, ...(step.options || []).map(({ id, label }) => h("label", { part: "option" },
          h("input", { type, name: step.id, value: id, checked: before === id || (Array.isArray(before) && before.includes(id)) }), label)))];
      }
      const { min = 0, max = 10, low = "", high = "", style = "numbers" } = step;
      const cells = [];
      for (let at = min; at <= max; at++) {
        const name = [`${at} / ${max}`, at === min && low, at === max && high].filter(Boolean).join(", ");
        cells.push(h("label", { part: "option" },
          h("input", { type: "radio", name: step.id, value: at, checked: before === at, "aria-label": name }),
          h("span", { part: "mark", "aria-hidden": "true" }, style === "stars" ? icon(STAR)
            : style === "faces" ? icon(face(((at - min) / (max - min)) * 4 - 2)) : `${at}`)));
      }
      const look = style === "numbers" ? `numbers ${max - min > 7 ? "long" : ""}` : `icons ${style}`;
      return [h("div", { className: `scale ${look}` }, ...cells),
        h("div", { className: "ends", "aria-hidden": "true" }, h("span", {}, low), h("span", {}, high))];
    }

    /** @type {(form: HTMLFormElement, step: Step) => Answer | undefined} */
    #read(form, step) {
      const found = new FormData(form).getAll(step.id).map(String).filter((text) => text.trim());
      if (!found.length) return undefined;
      return step.type === "scale" ? Number(found[0]) : step.type === "choices" ? found : found[0];
    }

    #optOut() {
      fetch(`${base}/prompts`, { method: "DELETE", keepalive: true }).catch(() => null);
      this.#thank(this.#offer?.labels.opted_out);
    }

    /** @type {(instead?: string) => void} */
    #thank(instead) {
      const { thanks } = /** @type {Offer} */ (this.#offer);
      this.#done = true;
      const title = h("h2", { id: "t", tabIndex: -1, part: "title", textContent: instead || thanks.title });
      this.#fill(h("div", { className: "done", part: "thanks" }, h("i", {}, icon("M4.5 12.5l5 5L19.5 7")), title,
        !instead && thanks.text && h("p", { textContent: thanks.text })));
      title.focus();
    }
  }

  customElements.define("journeykit-prompt", Prompt);
  const prompt = /** @type {Prompt} */ (document.querySelector("journeykit-prompt") || new Prompt());
  const ask = (/** @type {boolean | undefined} */ again) => {
    // A page that swapped its body took the element with it; it keeps what it knows.
    if (!prompt.isConnected) document.body.append(prompt);
    setTimeout(() => prompt.ask(again), Number(dataset.wait ?? 1000));
  };
  /** Runs once the page is really looked at. @type {() => void} */
  const begin = () => {
    if (!document.hidden) ask();
    else document.addEventListener("visibilitychange", begin, { once: true });
  };
  begin();
  document.addEventListener("journeykit:ask", () => ask(true));
  /** @type {any} */ (window).navigation?.addEventListener("currententrychange", () => ask());
  for (const name of ["popstate", "htmx:afterSettle", "turbo:load"]) addEventListener(name, () => ask());
})();
