// The stream of pictures, each with its own mask below it in one image, and how they are shown.

const MARK = new TextEncoder().encode("\r\n\r\n");

function find(buffer, mark, end) {
  for (let at = 0; at + mark.length <= end; at++) {
    let n = 0;
    while (n < mark.length && buffer[at + n] === mark[n]) n++;
    if (n === mark.length) return at;
  }
  return -1;
}

// Collects bytes and gives back whole parts: {headers, body}.
class Parts {
  constructor() {
    this.bytes = new Uint8Array(0);
  }

  add(chunk) {
    const joined = new Uint8Array(this.bytes.length + chunk.length);
    joined.set(this.bytes);
    joined.set(chunk, this.bytes.length);
    this.bytes = joined;
  }

  next() {
    const end = find(this.bytes, MARK, Math.min(this.bytes.length, 2048));
    if (end < 0) return null;
    const headers = new Map();
    for (const line of new TextDecoder().decode(this.bytes.subarray(0, end)).split("\r\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    const start = end + MARK.length;
    const stop = start + Number(headers.get("content-length"));
    if (this.bytes.length < stop) return null;
    const body = this.bytes.slice(start, stop);
    this.bytes = this.bytes.slice(stop + 2);
    return { headers, body };
  }
}

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.view = "overlay";
    this.opacity = 0.5;
    this.image = null;
    this.captureNs = null; // of the picture that is shown
    this.index = null;
    this.problem = null;
    this.abort = null;
  }

  // Watch another camera; null watches none.
  watch(camera) {
    if (this.abort) this.abort.abort();
    this.abort = null;
    if (camera === null) return;
    this.abort = new AbortController();
    this.run(camera, this.abort.signal);
  }

  forget() {
    this.image = this.captureNs = this.index = null;
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  async run(camera, signal) {
    while (!signal.aborted) {
      let waitMs = 2000;
      try {
        const answer = await fetch(`/pair/${encodeURIComponent(camera)}`, { signal });
        if (answer.status === 503) waitMs = 5000;
        if (!answer.ok) throw new Error((await answer.text()).trim());
        this.problem = null;
        await this.read(answer.body.getReader(), signal);
      } catch (error) {
        if (signal.aborted) return;
        this.problem = error.message;
      }
      await new Promise((go) => setTimeout(go, waitMs));
    }
  }

  async read(reader, signal) {
    const parts = new Parts();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      parts.add(value);
      let newest = null;
      for (let part = parts.next(); part !== null; part = parts.next()) newest = part;
      if (newest === null) continue; // of several that came at once only the last is of interest
      const image = await createImageBitmap(new Blob([newest.body], { type: "image/jpeg" }));
      if (signal.aborted) return;
      if (this.image) this.image.close();
      this.image = image;
      this.captureNs = Number(newest.headers.get("x-capture-ns"));
      this.height = Number(newest.headers.get("x-height"));
      this.index = Number(newest.headers.get("x-index"));
      this.draw();
    }
  }

  draw() {
    if (this.image === null) return;
    const { width, height: both } = this.image; // each half may have rows that are none of it
    const height = this.height;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const context = this.canvas.getContext("2d");
    const part = (top) => context.drawImage(this.image, 0, top, width, height, 0, 0, width, height);
    context.globalAlpha = 1;
    if (this.view !== "mask") part(0);
    if (this.view === "raw") return;
    context.globalAlpha = this.view === "mask" ? 1 : this.opacity;
    part(both / 2);
  }
}
