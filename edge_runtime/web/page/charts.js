// Bars by stage and the course of the latency, drawn on canvases.

const KEPT = 240; // points of the course: two minutes

function sized(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  return context;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
}

// A bar to p50, thinner lines to p95 and p99, on a scale to `longest`.
export function drawBar(canvas, live, longest) {
  const context = sized(canvas);
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const at = (ms) => (longest > 0 ? Math.max((ms / longest) * width, 1) : 0);
  const bars = [["p99", 0.2], ["p95", 0.5], ["p50", 1]];
  for (const [name, share] of bars) {
    if (live[name] === null) continue;
    context.fillStyle = colour(name);
    context.fillRect(0, (height * (1 - share)) / 2, at(live[name]), height * share);
  }
}

export class Course {
  constructor(canvas) {
    this.canvas = canvas;
    this.points = [];
  }

  clear() {
    this.points = [];
  }

  add(live) {
    this.points.push(live);
    if (this.points.length > KEPT) this.points.shift();
    this.draw();
  }

  draw() {
    const context = sized(this.canvas);
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    const values = this.points.flatMap((p) => [p.p50, p.p95, p.p99]).filter((v) => v !== null);
    if (!values.length) return;
    const top = Math.max(...values) * 1.15;
    const y = (ms) => height - 4 - (ms / top) * (height - 8);
    context.strokeStyle = colour("line");
    context.fillStyle = colour("dim");
    context.font = "12px system-ui, sans-serif";
    for (const share of [0, 0.5, 1]) {
      const ms = (top / 1.15) * share;
      context.beginPath();
      context.moveTo(0, y(ms));
      context.lineTo(width, y(ms));
      context.stroke();
      if (share) context.fillText(`${ms.toPrecision(3)} ms`, 2, y(ms) - 3);
    }
    context.textAlign = "right";
    context.fillText("now", width - 2, height - 8);
    context.textAlign = "left";
    context.fillText("2 min ago", 2, height - 8);
    for (const name of ["p99", "p95", "p50"]) this.line(context, name, width, y);
    const last = this.points[this.points.length - 1];
    const said = ["p50", "p95", "p99"].filter((n) => last[n] !== null);
    const words = said.map((n) => `${n} ${last[n].toFixed(1)} ms`).join(", ");
    this.canvas.setAttribute("aria-label", `Latency over the last two minutes, now ${words}`);
  }

  line(context, name, width, y) {
    context.strokeStyle = colour(name);
    context.lineWidth = 2;
    context.beginPath();
    let drawn = false;
    this.points.forEach((point, number) => {
      if (point[name] === null) return;
      const x = width - ((this.points.length - 1 - number) / (KEPT - 1)) * width;
      if (drawn) context.lineTo(x, y(point[name]));
      else context.moveTo(x, y(point[name]));
      drawn = true;
    });
    context.stroke();
    context.lineWidth = 1;
  }
}
