// Puts what the run tells (/api/events, twice a second) and its pictures (/pair/CAMERA) on the page.

import { Course, drawBar } from "/charts.js";
import { Picture } from "/picture.js";

const RETRY_MS = 5000;
const SILENT_MS = 3000; // without figures for so long, the run is out of reach
const STALE_MS = 2000; // a picture older than that is not live
const byId = (id) => document.getElementById(id);
const picture = new Picture(byId("canvas"));
const course = new Course(byId("history"));
let camera = null; // name of the one that is shown
let figures = null; // the newest
let figuresAt = -Infinity;
let over = false;
let events = null;
let retry = 0;
// Between the machine's clock and ours: the smallest of late, which travelled least.
let delays = [];

const ms = (value) => (value === null || value === undefined ? "–" : value < 100
  ? value.toFixed(1) : value.toFixed(0));
const withUnit = (value, unit) => (value === null || value === undefined ? "–" : `${value} ${unit}`);

function say(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

// Rows of a list, kept and only rewritten where they differ.
function list(id, rows) {
  const target = byId(id);
  while (target.children.length > rows.length) target.lastChild.remove();
  rows.forEach(([name, value, kind], number) => {
    let row = target.children[number];
    if (!row) {
      row = document.createElement("div");
      row.append(document.createElement("dt"), document.createElement("dd"));
      target.append(row);
    }
    const [dt, dd] = row.children;
    if (dt.textContent !== name) dt.textContent = name;
    if (dd.textContent !== String(value)) dd.textContent = value;
    dd.className = kind || "";
  });
}

function kindOf(state) {
  if (state === "up") return "up";
  return state === "degraded" || state === "over" ? "warn" : "bad";
}

function chosen() {
  return figures && figures.cameras.find((one) => one.name === camera);
}

function choose(name) {
  if (name === camera) return;
  camera = name;
  course.clear();
  picture.forget();
  if (!document.hidden) picture.watch(name);
  byId("link-snapshot").href = `/snapshot/${encodeURIComponent(name)}.zip`;
  byId("link-report").href = `/api/report/${encodeURIComponent(name)}.json`;
  showCameras();
  if (figures) show();
}

function showCameras() {
  const group = byId("cameras");
  group.hidden = figures.cameras.length < 2;
  figures.cameras.forEach((one, number) => {
    let button = group.children[number];
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.dataset.camera = one.name;
      button.addEventListener("click", () => choose(one.name));
      group.append(button);
    }
    const text = one.state === "up" ? one.name : `${one.name}: ${one.state}`;
    if (button.textContent !== text) button.textContent = text;
    button.setAttribute("aria-pressed", String(one.name === camera));
  });
}

function showLegend(one) {
  const target = byId("legend");
  one.classes.forEach((entry, number) => {
    let row = target.children[number];
    if (!row) {
      row = document.createElement("li");
      const square = document.createElement("canvas");
      square.width = square.height = 1;
      const context = square.getContext("2d");
      context.fillStyle = `rgb(${entry.rgb.join(",")})`;
      context.fillRect(0, 0, 1, 1);
      square.setAttribute("aria-hidden", "true");
      const name = document.createElement("span");
      name.textContent = entry.name;
      const ratio = document.createElement("span");
      ratio.className = "ratio";
      row.append(square, name, ratio);
      target.append(row);
    }
    row.children[2].textContent = entry.ratio === null ? "–" : `${(entry.ratio * 100).toFixed(1)} %`;
    row.className = entry.ratio ? "" : "absent";
  });
}

function showLatency(one) {
  const rows = Object.entries(one.stages_ms).filter(([, live]) => live !== null);
  rows.push(["total", one.result_ms]);
  const body = byId("stages").tBodies[0];
  while (body.rows.length > rows.length) body.lastChild.remove();
  const longest = Math.max(...rows.map(([, live]) => live.p99 ?? live.p95 ?? live.p50 ?? 0));
  rows.forEach(([name, live], number) => {
    let row = body.rows[number];
    if (!row) {
      row = body.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      row.append(head);
      const bar = row.insertCell();
      bar.className = "bar";
      const canvas = document.createElement("canvas");
      canvas.setAttribute("aria-hidden", "true");
      bar.append(canvas);
      for (let column = 0; column < 3; column++) row.insertCell();
    }
    row.className = name === "total" ? "total" : "";
    row.cells[0].textContent = name;
    drawBar(row.cells[1].firstChild, live, longest);
    ["p50", "p95", "p99"].forEach((p, column) => {
      row.cells[2 + column].textContent = ms(live[p]);
    });
  });
  const wait = one.n < 200 ? "; p95 takes 200, p99 1,000" : one.n < 1000 ? "; p99 takes 1,000" : "";
  say("window", `ms, of the last ${one.n.toLocaleString("en")} results${wait}`);
}

function showFrames(one) {
  const causes = Object.entries(one.dropped).map(([cause, count]) => [
    `dropped: ${cause.replace("_", " ")}`, count, count ? "warn" : "",
  ]);
  list("frames", [
    ["captured", one.captured], ["inferred", one.inferred], ["published", one.published],
    ["late", one.late, one.late ? "warn" : ""], ...causes,
    ["outages", one.outages.count, one.outages.count ? "warn" : ""],
    ["reconnects", one.outages.reconnects],
    ["policy", one.policy ?? "–"], ["clock", one.clock ?? "–"],
    ["nominal rate", withUnit(one.fps_nominal && one.fps_nominal.toFixed(1), "/s")],
  ]);
}

function showMachine() {
  const told = figures.telemetry;
  const rows = [["run time", duration(figures.elapsed_s)]];
  if (told.cpu_percent) rows.push(["CPU", `${told.cpu_percent.end.toFixed(0)} %`]);
  if (told.power_w) rows.push(["power", `${told.power_w.end.toFixed(1)} W`]);
  for (const [name, range] of Object.entries(told.rails_w)) {
    rows.push([`rail ${name}`, `${range.end.toFixed(1)} W`]);
  }
  for (const [name, range] of Object.entries(told.temperatures_c)) {
    rows.push([name, `${range.end.toFixed(0)} °C`, range.end >= 85 ? "warn" : ""]);
  }
  for (const [name, range] of Object.entries(told.clocks_mhz)) {
    rows.push([`${name} clock`, `${range.end.toFixed(0)} MHz`]);
  }
  if (told.gpu_memory_mb) rows.push(["GPU memory", `${told.gpu_memory_mb.end.toFixed(0)} MB`]);
  rows.push(["memory", withUnit(figures.rss_mb && figures.rss_mb.toFixed(0), "MB")]);
  const events = told.throttle_events;
  const count = events === null ? null : Object.values(events).reduce((a, b) => a + b, 0);
  rows.push(["throttled", count === null ? "not told here" : count ? `${count} times` : "no",
    count ? "bad" : ""]);
  rows.push(["viewers", figures.viewers]);
  list("machine", rows);
}

function showModel() {
  const model = figures.model;
  list("model", [
    ["name", model.name], ["engine", model.backend], ["kind", model.kind],
    ["input", model.input.join(" × ")], ["labels", model.labels], ["sha256", `${model.key}…`],
    ["license", model.license ?? "–"], ["model changes", model.changes],
  ]);
  say("model-line", `${model.name} · ${model.backend}`);
}

function duration(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((n) => String(n).padStart(2, "0")).join(":");
}

// Milliseconds since the picture that is shown was captured, by the machine's clock.
function pictureAge() {
  if (picture.captureNs === null || !delays.length) return null;
  return performance.now() - Math.min(...delays) - picture.captureNs * 1e-6;
}

// Why what is shown is not live, or null if it is.
function staleness(one) {
  if (over) return "the run is over";
  if (performance.now() - figuresAt > SILENT_MS) return "no connection to the run";
  if (!one) return null;
  if (one.state !== "up" && one.state !== "degraded") {
    return `camera ${one.state}${one.reason ? `: ${one.reason}` : ""}`;
  }
  if (picture.problem) return picture.problem;
  const age = pictureAge();
  const limit = Math.max(STALE_MS, 3000 / (one.fps || 1));
  return age !== null && age > limit ? "no new picture" : null;
}

function showState() {
  const one = chosen();
  const age = pictureAge();
  const why = staleness(one);
  const frame = byId("picture");
  const state = why !== null ? "stale" : age === null ? "wait" : "live";
  if (frame.dataset.state !== state) frame.dataset.state = state;
  if (why !== null) {
    say("banner-why", age === null ? `NO PICTURE: ${why}` : `STALE PICTURE: ${why}`);
  } else if (age === null) {
    say("banner-why", "waiting for the first picture");
  }
  say("banner-age", age === null ? "" : `(${(age / 1000).toFixed(0)} s old)`);
  say("fact-picture-age", age === null ? "–" : `${Math.max(age, 0).toFixed(0)} ms`);
  say("fact-index", picture.index === null ? "–" : String(picture.index));
  const badge = byId("run-line");
  const reached = figures !== null && !over && performance.now() - figuresAt <= SILENT_MS;
  badge.dataset.state = over || figures === null ? "wait" : !reached ? "bad"
    : one && kindOf(one.state);
  say("run-line", over ? "run over" : figures === null ? "connecting"
    : !reached ? "no connection" : `camera ${one ? one.state : "?"}`);
  byId("canvas").setAttribute("aria-label", why === null && age !== null
    ? `Live ${picture.view} of ${camera}` : `Not live: ${why ?? "no picture yet"}`);
}

function show() {
  const one = chosen();
  if (!one) return;
  showCameras();
  showLegend(one);
  showLatency(one);
  showFrames(one);
  showMachine();
  showModel();
  say("fact-age", one.age_ms === null ? "–" : `${ms(one.age_ms)} ms`);
  say("fact-fps", `${one.fps.toFixed(1)} /s`);
  say("fact-state", one.state);
  byId("fact-state").className = kindOf(one.state);
  document.title = `${camera} ${one.state} · hyperseg`;
  showState();
}

function hush() {
  clearTimeout(retry);
  if (events) events.close();
}

function listen() {
  hush();
  events = new EventSource("/api/events");
  events.onmessage = (event) => {
    figures = JSON.parse(event.data);
    figuresAt = performance.now();
    over = false;
    delays.push(figuresAt - figures.now_ns * 1e-6);
    if (delays.length > 60) delays.shift();
    if (!chosen()) choose(figures.cameras[0].name);
    course.add(chosen().result_ms);
    show();
  };
  events.addEventListener("over", () => {
    over = true;
    delays = [];
    hush();
    retry = setTimeout(listen, RETRY_MS); // a service starts again
    showState();
  });
  events.onerror = async () => {
    if (events.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    const answer = await fetch("/api/stats").catch(() => null);
    if (answer && answer.status === 401) location.reload(); // another run, which has not seen us
    else retry = setTimeout(listen, RETRY_MS);
  };
}

for (const button of document.querySelectorAll("[data-view]")) {
  button.addEventListener("click", () => {
    picture.view = button.dataset.view;
    for (const one of document.querySelectorAll("[data-view]")) {
      one.setAttribute("aria-pressed", String(one === button));
    }
    byId("opacity").disabled = picture.view !== "overlay";
    picture.draw();
  });
}
byId("opacity").addEventListener("input", (event) => {
  picture.opacity = event.target.valueAsNumber / 100;
  byId("opacity-value").value = `${event.target.value} %`;
  picture.draw();
});
// A page that nobody sees costs the run nothing.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    hush();
    picture.watch(null);
  } else {
    delays = [];
    listen();
    picture.watch(camera); // null before the first figures
  }
});
window.addEventListener("resize", () => figures && show());
setInterval(showState, 250);
listen();
