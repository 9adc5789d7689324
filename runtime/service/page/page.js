// The page of rsvl serve. Everything comes from the server that it was loaded from; paths are relative, for proxies.
const at = (id) => document.getElementById(id);
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7"];
const PREVIEW = 1600;
const state = { bundles: [], base: null, size: [0, 0], layers: [], shown: new Set(), scale: 1, x: 0, y: 0, followed: null };

// --- asking the server ---

async function fetched(path, options = {}) {
  const key = at("key").value.trim() || sessionStorage.getItem("key") || "";
  const headers = { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...options.headers };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) at("key-row").hidden = false;
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.detail || `${answer.status} ${answer.statusText}`);
  }
  return answer;
}
const json = async (path, options) => (await fetched(path, options)).json();

function say(text, bad = false) {
  at("message").textContent = text;
  at("message").classList.toggle("bad", bad);
}

async function doing(text, work) {
  say(text);
  for (const id of ["ask", "job"]) at(id).disabled = true;
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  } finally {
    for (const id of ["ask", "job"]) at(id).disabled = false;
  }
}

async function start() {
  const { bundles } = await json("bundles", { headers: { Accept: "application/json" } });
  const { images } = await json("images");
  state.bundles = bundles;
  at("bundle").replaceChildren(...bundles.map((bundle) => new Option(`${bundle.name} – ${bundle.task}`, bundle.name)));
  at("sample").replaceChildren(new Option("–", ""), ...images.map((name) => new Option(name, name)));
  at("sample-row").hidden = !images.length;
  showBundle();
  await showJobs();
}

function chosenBundle() {
  return state.bundles.find((bundle) => bundle.name === at("bundle").value);
}

function showBundle() {
  const bundle = chosenBundle();
  at("about").textContent = `${bundle.model}, ${bundle.precision} on ${bundle.provider}, ${bundle.sha256.slice(0, 12)}`;
  at("text-row").hidden = !bundle.takes_text;
  at("text-label").textContent = bundle.task.includes("question") ? "Questions, one per line"
    : bundle.options.includes("geojson") ? "Sentences, one per line" : "Labels, one per line";
  at("threshold-row").hidden = !bundle.options.includes("threshold");
}

function asked() {
  const bundle = chosenBundle();
  const found = {};
  const texts = at("text").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (bundle.takes_text) {
    if (!texts.length) throw new Error("Say what to find, answer or tell apart");
    found.text = texts;
  }
  if (!at("threshold-row").hidden && at("threshold").value) found.threshold = Number(at("threshold").value);
  if (at("sample").value) found[imageField(bundle)] = at("sample").value;
  else if (!at("file").files.length) throw new Error("Choose an image");
  return found;
}

const imageField = (bundle) => (bundle.sensors.includes("optical") ? "image" : "sar");

async function ask() {
  const bundle = chosenBundle();
  const inputs = { ...asked(), masks: true, preview: PREVIEW };
  const body = new FormData();
  for (const [name, value] of Object.entries(inputs)) for (const each of [value].flat()) body.append(name, String(each));
  if (!at("sample").value) body.append(imageField(bundle), at("file").files[0]);
  const answer = await json(`bundles/${encodeURIComponent(bundle.name)}/ask`, {
    method: "POST", body, headers: { Accept: "application/json" },
  });
  if (!isMap(bundle)) state.layers = [];
  const size = answer.found[0]?.size ?? answer.read[0]?.size;
  await showBase(await loaded(`data:image/jpeg;base64,${answer.preview}`), size);
  await showFound(answer, bundle, (found, index) => shortLayer(found, answer.masks?.[index], COLOURS[index % COLOURS.length]));
  at("downloads").replaceChildren(download("answer.json", async () => new Blob([JSON.stringify(answer.found, null, 1)])));
  say(`Answered in ${answer.seconds.toFixed(2)} s`);
}

const isMap = (bundle) => bundle.options.includes("geojson");

// --- results ---

async function loaded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

async function showBase(image, size) {
  state.base = image;
  state.size = size ?? [image.naturalWidth, image.naturalHeight];
  state.layers = [];
  at("drop").hidden = true;
  fit();
}

async function shortLayer(found, mask, colour) {
  const shapes = mask ? [] : (found.boxes ?? []).map((box) => boxRing(box));
  return { colour, mask: mask ? await tinted(mask, colour) : null, rings: shapes };
}

const boxRing = ([x1, y1, x2, y2]) => [[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]];

async function tinted(base64, colour) {
  const image = await loaded(`data:image/png;base64,${base64}`);
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  const rgb = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  for (let i = 0; i < pixels.data.length; i += 4) {
    const inside = pixels.data[i] > 127;
    pixels.data.set([...rgb, inside ? 140 : 0], i);
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

async function showFound(answer, bundle, layerOf) {
  const rows = [];
  state.shown = new Set(answer.found.keys());
  for (const [index, found] of answer.found.entries()) {
    if (isMap(bundle)) state.layers[index] = await layerOf(found, index);
    rows.push(...(isMap(bundle) ? [mapRow(found, index)] : answerRows(found)));
  }
  at("found").replaceChildren(...rows);
  const notes = [...(answer.warnings ?? []), ...(answer.read ?? []).flatMap((reading) => reading.notes)];
  at("notes").replaceChildren(...notes.map((note) => element("li", { textContent: note })));
  at("results").hidden = false;
  draw();
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function mapRow(found, index) {
  const colour = COLOURS[index % COLOURS.length];
  const box = element("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => { state.shown[box.checked ? "add" : "delete"](index); draw(); });
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = colour;
  const count = (found.objects ?? found.boxes ?? []).length;
  const about = found.found ? `${count} ${found.objects ? "object" : "box"}${count === 1 ? "" : found.objects ? "s" : "es"}` +
    (found.area ? `, ${found.area} px` : "") : "not found";
  const words = element("span", { className: "words", textContent: found.text }, element("small", { textContent: about }));
  const score = element("span", { className: "score", textContent: found.found ? found.score.toFixed(2) : "–" });
  return element("li", {}, element("label", {}, box, swatch, words, score));
}

function answerRows(found) {
  const chances = Object.entries(found.distribution ?? found.probabilities ?? {});
  const head = found.question ? [element("li", {}, element("span"), element("span"),
    element("strong", { className: "words", textContent: `${found.question} ${found.answer}` }), element("span"))] : [];
  return head.concat(chances.map(([label, chance]) => element("li", {}, element("span"), element("span"),
    element("span", { className: "words", textContent: label }, element("meter", { max: 1, value: chance, title: label })),
    element("span", { className: "score", textContent: chance.toFixed(2) }))));
}

function download(name, blobOf) {
  const button = element("button", { type: "button", textContent: `↓ ${name}` });
  button.addEventListener("click", () => doing(`Fetching ${name} …`, async () => {
    const link = element("a", { href: URL.createObjectURL(await blobOf()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say("");
  }));
  return button;
}

// --- jobs ---

async function runJob() {
  const bundle = chosenBundle();
  const execute = { inputs: asked() };
  const path = `processes/${encodeURIComponent(bundle.name)}/execution`;
  let options = { method: "POST", headers: { Prefer: "respond-async" } };
  if (at("sample").value) {
    options = { ...options, body: JSON.stringify(execute), headers: { ...options.headers, "Content-Type": "application/json" } };
  } else {
    const body = new FormData();
    body.append("execute", JSON.stringify(execute));
    body.append(imageField(bundle), at("file").files[0]);
    options = { ...options, body };
  }
  const job = await json(path, options);
  say("");
  follow(job.jobID);
}

async function follow(id) {
  state.followed = id;
  let hasPreview = false;
  at("results").hidden = true;
  while (state.followed === id) {
    const job = await json(`jobs/${id}`).catch((error) => ({ status: "failed", message: error.message, progress: 0 }));
    at("progress-row").hidden = false;
    at("progress").value = job.progress;
    at("progress-text").textContent = `${job.status} ${job.progress} % ${job.message ?? ""}`;
    if (!hasPreview && job.progress > 0) hasPreview = await showPreview(id).catch(() => false);
    if (["successful", "failed", "dismissed"].includes(job.status)) {
      at("progress-row").hidden = true;
      await showJobs();
      if (job.status === "successful") await showJob(id, job.processID);
      else say(`The job is ${job.status}${job.message ? `: ${job.message}` : ""}`, job.status === "failed");
      return;
    }
    await showJobs();
    await new Promise((done) => setTimeout(done, 400));
  }
}

async function showPreview(id) {
  const blob = await (await fetched(`jobs/${id}/results/preview`)).blob();
  await showBase(await loaded(URL.createObjectURL(blob)));
  return true;
}

async function showJob(id, process) {
  const bundle = state.bundles.find((each) => each.name === process) ?? chosenBundle();
  const results = await json(`jobs/${id}/results`);
  const answer = await json(results.answer.href);
  if (results.preview) {
    const blob = await (await fetched(results.preview.href)).blob();
    await showBase(await loaded(URL.createObjectURL(blob)), answer.found[0]?.size);
  }
  const outlines = results.outlines ? (await json(results.outlines.href)).objects : [];
  await showFound(answer, bundle, (found, index) => ({
    colour: COLOURS[index % COLOURS.length], mask: null, fills: true,
    rings: outlines.filter((each) => each.text === found.text).flatMap((each) => each.polygons.flat()),
  }));
  at("downloads").replaceChildren(...Object.entries(results).map(([name, about]) =>
    download(name + (SUFFIXES[about.type] ?? ""), async () => (await fetched(about.href)).blob())));
  say(`The job is successful`);
}

const SUFFIXES = { "application/json": ".json", "application/geo+json": ".geojson", "image/png": ".png", "image/jpeg": ".jpg",
  "image/tiff; application=geotiff": ".tif" };

async function showJobs() {
  const { jobs } = await json("jobs?limit=8");
  at("jobs-section").hidden = !jobs.length;
  const focused = document.activeElement?.dataset?.job;
  at("jobs").replaceChildren(...jobs.map((job) => {
    const about = element("span", { textContent: `${job.processID}, ${job.created.slice(11, 16)} UTC: ${job.status}` +
      (job.status === "running" ? ` ${job.progress} %` : "") });
    const row = element("li", {}, about);
    const button = (text, work) => {
      const made = element("button", { type: "button", textContent: text });
      made.dataset.job = `${text} ${job.jobID}`;
      made.addEventListener("click", work);
      row.append(made);
    };
    if (job.status !== "dismissed" && job.status !== "failed") button("Show", () => follow(job.jobID));
    if (job.status !== "dismissed") button("Dismiss", () => doing("", async () => {
      await fetched(`jobs/${job.jobID}`, { method: "DELETE" });
      await showJobs();
    }));
    return row;
  }));
  if (focused) document.querySelector(`[data-job="${focused}"]`)?.focus();
}

// --- the view ---

function fit() {
  const { clientWidth: width, clientHeight: height } = at("canvas");
  state.scale = Math.min(width / state.size[0], height / state.size[1]) * 0.95 || 1;
  state.x = (width - state.size[0] * state.scale) / 2;
  state.y = (height - state.size[1] * state.scale) / 2;
  draw();
}

function zoom(factor, x = at("canvas").clientWidth / 2, y = at("canvas").clientHeight / 2) {
  const next = Math.min(Math.max(state.scale * factor, 0.005), 60);
  state.x = x - (x - state.x) * next / state.scale;
  state.y = y - (y - state.y) * next / state.scale;
  state.scale = next;
  draw();
}

function move(x, y) {
  state.x += x;
  state.y += y;
  draw();
}

function draw() {
  const canvas = at("canvas");
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  if (!state.base) return;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio * state.scale, 0, 0, ratio * state.scale, ratio * state.x, ratio * state.y);
  pen.imageSmoothingEnabled = state.scale < 4;
  pen.drawImage(state.base, 0, 0, ...state.size);
  state.layers.forEach((layer, index) => { if (state.shown.has(index)) drawLayer(pen, layer); });
}

function drawLayer(pen, layer) {
  if (layer.mask) pen.drawImage(layer.mask, 0, 0, ...state.size);
  if (!layer.rings.length) return;
  const path = new Path2D();
  for (const ring of layer.rings) {
    ring.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  pen.lineWidth = 2 / state.scale;
  pen.strokeStyle = layer.colour;
  pen.stroke(path);
  if (layer.fills) {
    pen.fillStyle = `${layer.colour}73`;
    pen.fill(path, "evenodd");
  }
}

// --- events ---

async function chosen(file) {
  at("sample").value = "";
  try {
    await showBase(await loaded(URL.createObjectURL(file)));
  } catch {
    at("drop").hidden = false;
    at("drop").textContent = `${file.name}: shown when it is answered`;
  }
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  doing("Asking …", ask);
});
at("job").addEventListener("click", () => doing("Sending …", runJob));
at("bundle").addEventListener("change", showBundle);
at("file").addEventListener("change", () => at("file").files.length && chosen(at("file").files[0]));
at("sample").addEventListener("change", () => doing("", async () => {
  if (!at("sample").value) return;
  at("file").value = "";
  const blob = await (await fetched(`preview/${at("sample").value.split("/").map(encodeURIComponent).join("/")}`)).blob();
  await showBase(await loaded(URL.createObjectURL(blob)));
}));
at("key").addEventListener("change", () => {
  sessionStorage.setItem("key", at("key").value.trim());
  start().then(() => say("")).catch((error) => say(error.message, true));
});
for (const name of ["dragover", "dragleave", "drop"]) at("view").addEventListener(name, (event) => {
  event.preventDefault();
  at("view").classList.toggle("over", name === "dragover");
  if (name !== "drop" || !event.dataTransfer.files.length) return;
  at("file").files = event.dataTransfer.files;
  chosen(event.dataTransfer.files[0]);
});

const canvas = at("canvas");
const held = new Map();
canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, event); });
canvas.addEventListener("pointermove", (event) => {
  const last = held.get(event.pointerId);
  if (!last) return;
  held.set(event.pointerId, event);
  move((event.clientX - last.clientX) / held.size, (event.clientY - last.clientY) / held.size);
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => held.delete(event.pointerId));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 500), event.offsetX, event.offsetY);
}, { passive: false });
const KEYS = { ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
  "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), 0: fit };
canvas.addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
at("closer").addEventListener("click", () => zoom(1.3));
at("farther").addEventListener("click", () => zoom(1 / 1.3));
at("fit").addEventListener("click", fit);
new ResizeObserver(() => (state.base ? draw() : null)).observe(canvas);
start().catch((error) => say(error.message, true));
