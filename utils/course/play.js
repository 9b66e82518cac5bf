// The browser's half of play.py. It asks for every frame, with at most two requests on the way.
const IN_FLIGHT = 2, HOLD = 350, REPEAT = 130;     // ms until a held key repeats where worlds wait
const CSS = `
.wm-play { display: inline-block; padding: 8px; border-radius: 6px; border: 2px solid #8a8a8a;
  outline: none; font: 13px/1.4 system-ui, sans-serif; user-select: none; max-width: 100%;
  color: var(--jp-content-font-color1, var(--vscode-foreground, inherit)); box-sizing: border-box }
.wm-play:focus-within { border-color: #3a8fd0 }
.wm-play canvas { image-rendering: pixelated; display: block; max-width: 100%; cursor: pointer;
  margin: 4px auto; background: #222 }
.wm-play button { font: 600 16px/1 system-ui, sans-serif; min-width: 44px; min-height: 38px;
  margin: 2px; padding: 0 10px; border-radius: 5px; border: 1px solid #8a8a8a; color: inherit;
  background: rgba(128, 128, 128, .18); touch-action: none; cursor: pointer }
.wm-play button:disabled { opacity: .4; cursor: default }
.wm-play button.wm-held { background: #0072b2; color: #fff }
.wm-bar { text-align: center } .wm-info { white-space: pre-wrap }
.wm-hint { opacity: .8 } .wm-fps { float: right; opacity: .8 }
.wm-error { display: block; color: #fff; background: #a33a00; padding: 6px 8px; border-radius: 4px }`;

function render({ model, el }) {
  const buttons = model.get("buttons"), paced = model.get("paced"), gap = 1000 / model.get("fps");
  const view = Math.random().toString(36).slice(2);     // answers go to all views of this player
  // lm-suppress-shortcuts: otherwise JupyterLab takes the arrow keys to move between cells.
  el.innerHTML = `<style>${CSS}</style>
    <div class="wm-play" tabindex="0" data-lm-suppress-shortcuts="true" role="application">
    <div class="wm-text"></div><canvas></canvas><div class="wm-bar"></div>
    <div><span class="wm-fps"></span><span class="wm-info" aria-live="polite"></span></div>
    <div class="wm-hint"></div></div>`;
  const $ = name => el.querySelector(name), box = $(".wm-play"), canvas = $("canvas");
  const keys = new Set(buttons.map(([key]) => key)), faces = {}, held = new Set();
  let tapped = null, flying = 0, due = 0, timer, watch, repeat, dead = false, drawn = 0, since = 0;
  let order = Promise.resolve();
  $(".wm-text").textContent = model.get("text");
  box.setAttribute("aria-label", model.get("text") || "player");

  const focused = () => box.contains(document.activeElement) && !document.hidden;
  const hint = () => $(".wm-hint").textContent = dead ? "" : focused()
    ? "press keys or buttons" + (paced ? "; click elsewhere to pause" : "")
    : paced ? "paused: click the picture to play" : "click the picture to use the keys";

  function ask(what) {
    flying++;
    model.send({ view, ...what });
    clearTimeout(watch);
    watch = setTimeout(() => $(".wm-hint").textContent =
      "waiting for the kernel: it is busy, or was restarted (then run this cell again)", 4000);
  }
  function pump() {                                     // paced worlds: as often as fps, and no more
    clearTimeout(timer);
    if (dead || !paced || !focused() || flying >= IN_FLIGHT) return;
    const now = performance.now();
    if (now < due - 1) { timer = setTimeout(pump, due - now); return; }
    due = Math.max(due + gap, now);                     // keeps the beat, catches nothing up
    ask({ key: tapped ?? [...held].pop() ?? null });    // a tap between two frames is not lost
    tapped = null;
    timer = setTimeout(pump, due - now);
  }
  function press(key) {                                 // worlds that wait: one step a press
    if (!dead && flying < IN_FLIGHT) ask({ key });
  }
  function down(key) {
    if (held.has(key)) return;
    held.add(key);
    faces[key].classList.add("wm-held");
    if (paced) { tapped = key; pump(); return; }
    press(key);
    clearTimeout(repeat);
    const again = () => {
      if (!held.has(key)) return;
      if (!flying) press(key);
      repeat = setTimeout(again, REPEAT);
    };
    repeat = setTimeout(again, HOLD);
  }
  function up(key) {
    if (held.delete(key)) faces[key].classList.remove("wm-held");
  }
  async function draw(msg) {
    if (msg.png) {
      const image = new Image();
      image.src = "data:image/png;base64," + msg.png;
      await image.decode();
      if (canvas.width !== image.width) canvas.width = image.width;
      if (canvas.height !== image.height) canvas.height = image.height;
      canvas.style.width = image.width * model.get("scale") + "px";
      box.style.width = Math.max(image.width * model.get("scale"), 300) + 20 + "px";   // whatever the text
      canvas.getContext("2d").drawImage(image, 0, 0);
      box.dataset.frames = Number(box.dataset.frames ?? 0) + 1;
    }
    dead = Boolean(msg.error);
    $(".wm-info").textContent = msg.error ?? msg.text;
    $(".wm-info").classList.toggle("wm-error", dead);
    if (dead) for (const face of Object.values(faces)) face.disabled = true;
    if (paced && ++drawn === 20) {
      const now = performance.now();
      $(".wm-fps").textContent = `${(20000 / (now - since)).toFixed(0)} fps`;
      [drawn, since] = [0, now];
    }
    if (msg.view === view) {                            // drawn: this is what makes room for the next
      flying--;
      clearTimeout(watch);
      hint();
      pump();
    }
  }

  for (const [key, sign] of buttons) {
    const face = faces[key] = document.createElement("button");
    face.textContent = sign;
    face.title = face.ariaLabel = key === " " ? "space" : key.replace("Arrow", "").toLowerCase();
    face.tabIndex = -1;
    face.onpointerdown = e => {
      e.preventDefault();
      box.focus({ preventScroll: true });
      face.setPointerCapture(e.pointerId);              // released anywhere, it is released
      down(key);
    };
    face.onpointerup = face.onpointercancel = face.onlostpointercapture = () => up(key);
    $(".wm-bar").append(face);
  }
  box.addEventListener("keydown", e => {
    if (!keys.has(e.key) || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    e.stopPropagation();
    down(e.key);
  });
  box.addEventListener("keyup", e => { if (keys.has(e.key)) { e.stopPropagation(); up(e.key); } });
  box.addEventListener("focusin", () => { [drawn, since] = [0, performance.now()]; hint(); pump(); });
  box.addEventListener("focusout", () => { [...held].forEach(up); tapped = null; setTimeout(hint); });
  const receive = msg => { order = order.then(() => draw(msg)).catch(console.error); };
  model.on("msg:custom", receive);
  hint();
  ask({ open: true });
  return () => { dead = true; [timer, watch, repeat].forEach(clearTimeout); model.off("msg:custom", receive); };
}
export default { render };
