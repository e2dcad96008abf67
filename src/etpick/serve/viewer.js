// Three linked slices of a tomogram with circles for picks. Slices come by address from the server; wheel, drag and
// keys are answered here, so that scrolling waits for nothing but the next picture. Positions are voxels, centre = integer.

const PANELS = {
  xy: { axis: 0, col: "x", row: "y", through: "z", swap: false },
  xz: { axis: 1, col: "x", row: "z", through: "y", swap: false },
  zy: { axis: 2, col: "z", row: "y", through: "x", swap: true },
};
const INDEX = { z: 0, y: 1, x: 2 };
const CACHE_BYTES = 200e6;
const AHEAD = 8; // slices fetched ahead in the direction of scrolling
const AT_ONCE = 3;
const DRAG_PX = 4;
const GRAB_PX = 7;
const SIDE_DELAY_MS = 160; // side views follow when the crosshair rests
const TOLD_MS = 120;

export default {
  template: `
    <div class="etpick-viewer" tabindex="0" ref="root">
      <canvas ref="xy" class="etpick-xy" data-panel="xy"></canvas>
      <canvas ref="zy" class="etpick-zy" data-panel="zy"></canvas>
      <canvas ref="xz" class="etpick-xz" data-panel="xz"></canvas>
      <div class="etpick-corner" v-html="corner"></div>
      <input ref="slider" class="etpick-slider" type="range" min="0" :max="shape[0] - 1" step="1" :value="slice"
             aria-label="slice along z" @input="goSlice(Number($event.target.value))">
    </div>`,
  props: { tomogram: String, shape: Array, spacing: Number, display: String, placing: Boolean },
  data: () => ({ slice: 0, corner: "" }),
  created() {
    this.marks = new Map();
    this.selected = null;
    this.minScore = -1;
    this.images = new Map(); // address → ImageBitmap, least recently used first
    this.waiting = new Map(); // address → AbortController
    this.shown = {};
    this.direction = 1;
    this.drawn = 0;
  },
  mounted() {
    const [nz, ny, nx] = this.shape;
    this.pos = { z: Math.floor(nz / 2), y: Math.floor(ny / 2), x: Math.floor(nx / 2) };
    this.centre = { ...this.pos };
    this.slice = this.pos.z;
    this.fitted = false;
    this.sizes = new ResizeObserver(() => this.resize());
    for (const name in PANELS) {
      const canvas = this.$refs[name];
      this.sizes.observe(canvas);
      canvas.addEventListener("wheel", (e) => this.onWheel(e, name), { passive: false });
      canvas.addEventListener("pointerdown", (e) => this.onDown(e, name));
      canvas.addEventListener("pointermove", (e) => this.onMove(e, name));
      canvas.addEventListener("pointerup", (e) => this.onUp(e, name));
      canvas.addEventListener("contextmenu", (e) => e.preventDefault());
    }
    this.keys = (e) => this.onKey(e);
    document.addEventListener("keydown", this.keys);
    this.$refs.root.viewer = this; // for tests and the benchmark
    this.resize();
    this.$emit("ready", {});
  },
  unmounted() {
    document.removeEventListener("keydown", this.keys);
    this.sizes.disconnect();
    this.fitted = false; // what was planned draws nothing more
    clearTimeout(this.later);
    clearTimeout(this.telling);
    for (const controller of this.waiting.values()) controller.abort();
  },
  watch: {
    display() { this.abandon(); this.request(); },
    tomogram() { this.images.clear(); this.abandon(); this.request(); },
  },
  methods: {
    // --- called from the server ---
    setMarks(marks) { this.marks = new Map(marks.map((m) => [m.id, m])); this.draw(); },
    changeMarks(changed, gone) {
      for (const id of gone) this.marks.delete(id);
      for (const mark of changed) this.marks.set(mark.id, mark);
      this.draw();
    },
    setMinScore(score) { this.minScore = score; this.draw(); },
    select(id) { this.selected = id; this.draw(); },
    goTo(z, y, x) {
      this.pos = this.clamped({ z, y, x });
      this.slice = Math.round(this.pos.z);
      this.centre.z = this.pos.z;
      const [w, h] = this.extent("xy");
      for (const [c, size] of [["x", w], ["y", h]])
        if (Math.abs(this.pos[c] - this.centre[c]) * this.scale > 0.45 * size) this.centre[c] = this.pos[c];
      this.request();
      this.tell();
    },
    fit() {
      const [w, h] = this.extent("xy");
      if (!w || !h) return;
      const [nz, ny, nx] = this.shape;
      this.scale = Math.min(w / nx, h / ny);
      this.centre = { z: (nz - 1) / 2, y: (ny - 1) / 2, x: (nx - 1) / 2 };
      this.fitted = true;
      this.draw();
    },

    // --- geometry ---
    clamped(p) {
      const out = {};
      for (const c in INDEX) out[c] = Math.min(Math.max(p[c], 0), this.shape[INDEX[c]] - 1);
      return out;
    },
    extent(name) { const c = this.$refs[name]; return [c.clientWidth, c.clientHeight]; },
    toScreen(name, p) {
      const { col, row } = PANELS[name], [w, h] = this.extent(name);
      return [(p[col] - this.centre[col]) * this.scale + w / 2, (p[row] - this.centre[row]) * this.scale + h / 2];
    },
    toVoxels(name, sx, sy) {
      const { col, row } = PANELS[name], [w, h] = this.extent(name);
      const p = { ...this.pos };
      p[col] = (sx - w / 2) / this.scale + this.centre[col];
      p[row] = (sy - h / 2) / this.scale + this.centre[row];
      return p;
    },
    resize() {
      const ratio = window.devicePixelRatio || 1;
      for (const name in PANELS) {
        const canvas = this.$refs[name];
        canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
        canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
      }
      if (!this.fitted) this.fit();
      this.request();
    },

    // --- slices ---
    address(axis, index) { return `/slices/${this.tomogram}/${axis}/${index}?${this.display}`; },
    abandon() {
      for (const controller of this.waiting.values()) controller.abort();
      this.waiting.clear();
    },
    keep(address, image) {
      this.images.set(address, image);
      const each = image.width * image.height * 4;
      while (this.images.size > Math.max(12, CACHE_BYTES / each)) {
        const [oldest, bitmap] = this.images.entries().next().value;
        this.images.delete(oldest);
        if (!Object.values(this.shown).includes(bitmap)) bitmap.close();
      }
    },
    async fetchSlice(axis, index) {
      const address = this.address(axis, index);
      if (this.images.has(address) || this.waiting.has(address)) return;
      const controller = new AbortController();
      this.waiting.set(address, controller);
      try {
        const answer = await fetch(address, { signal: controller.signal });
        if (answer.status === 403) throw new Error("The server has been started anew: open the link that it has printed.");
        if (!answer.ok) throw new Error((await answer.json()).detail || answer.statusText);
        this.keep(address, await createImageBitmap(await answer.blob()));
      } catch (error) {
        if (error.name !== "AbortError") this.trouble(String(error.message || error));
        return;
      } finally {
        if (this.waiting.get(address) === controller) this.waiting.delete(address);
      }
      this.draw();
      this.ahead();
    },
    trouble(message) { // once, not for every slice that is asked for
      if (message === this.told && performance.now() - this.toldAt < 10000) return;
      this.told = message;
      this.toldAt = performance.now();
      this.$emit("trouble", { message });
    },
    request() {
      if (!this.fitted) return;
      const z = Math.round(this.pos.z), wanted = this.address(0, z);
      for (const [address, controller] of this.waiting) { // whoever is far from here is not waited for
        const [, , , axis, rest] = address.split("/");
        if (axis === "0" && Math.abs(parseInt(rest) - z) > AHEAD) { controller.abort(); this.waiting.delete(address); }
      }
      if (!this.images.has(wanted)) this.fetchSlice(0, z);
      else this.ahead();
      clearTimeout(this.later);
      this.later = setTimeout(() => {
        this.fetchSlice(1, Math.round(this.pos.y));
        this.fetchSlice(2, Math.round(this.pos.x));
      }, SIDE_DELAY_MS);
      this.draw();
    },
    ahead() {
      const z = Math.round(this.pos.z);
      if (!this.images.has(this.address(0, z))) return;
      for (let i = 1; i <= AHEAD && this.waiting.size < AT_ONCE; i++) {
        const next = z + i * this.direction;
        if (next >= 0 && next < this.shape[0]) this.fetchSlice(0, next);
      }
    },

    // --- drawing ---
    draw() {
      if (this.pending) return;
      this.pending = requestAnimationFrame(() => {
        this.pending = null;
        if (!this.fitted) return;
        for (const name in PANELS) this.drawPanel(name);
        this.tellCorner();
      });
    },
    drawPanel(name) {
      const panel = PANELS[name], canvas = this.$refs[name], ctx = canvas.getContext("2d");
      const ratio = canvas.width / Math.max(1, canvas.clientWidth), [w, h] = this.extent(name);
      const address = this.address(panel.axis, Math.round(this.pos[panel.through]));
      if (this.images.has(address)) {
        const image = this.images.get(address);
        this.images.delete(address); // to the end: used last
        this.images.set(address, image);
        if (this.shown[name] !== image && name === "xy") {
          this.drawn++;
          canvas.dataset.slice = Math.round(this.pos.z);
        }
        this.shown[name] = image;
      }
      ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
      ctx.fillStyle = "#15181c";
      ctx.fillRect(0, 0, w, h);
      if (this.shown[name]) this.drawImage(ctx, name, this.shown[name], ratio);
      this.drawMarks(ctx, name);
      this.drawCross(ctx, name, w, h);
      if (name === "xy") this.drawBar(ctx, h);
    },
    drawImage(ctx, name, image, ratio) {
      const { col, row, swap } = PANELS[name];
      const [left, top] = this.toScreen(name, { ...this.pos, [col]: -0.5, [row]: -0.5 });
      const nCol = this.shape[INDEX[col]], nRow = this.shape[INDEX[row]];
      ctx.save();
      ctx.imageSmoothingEnabled = this.scale < 3;
      ctx.translate(left, top);
      ctx.scale(this.scale, this.scale);
      if (swap) ctx.transform(0, 1, 1, 0, 0, 0);
      ctx.drawImage(image, 0, 0, swap ? nRow : nCol, swap ? nCol : nRow);
      ctx.restore();
    },
    visible(mark) { return mark.score === null || mark.score === undefined || mark.score >= this.minScore; },
    radiusAt(mark, name) {
      const through = PANELS[name].through;
      const d = mark[through] - Math.round(this.pos[through]);
      return Math.abs(d) < mark.radius ? Math.sqrt(mark.radius ** 2 - d ** 2) : 0;
    },
    drawMarks(ctx, name) {
      for (const mark of this.marks.values()) {
        const radius = this.visible(mark) ? this.radiusAt(mark, name) : 0;
        if (!radius) continue;
        const at = this.dragged && this.dragged.id === mark.id ? { ...mark, ...this.dragged.to } : mark;
        const [sx, sy] = this.toScreen(name, at), chosen = mark.id === this.selected;
        const r = Math.max(2, radius * this.scale);
        ctx.beginPath();
        ctx.arc(sx, sy, r, 0, 2 * Math.PI);
        ctx.lineWidth = chosen ? 3 : 1.6;
        ctx.strokeStyle = mark.color;
        ctx.setLineDash(mark.negative ? [4, 3] : []);
        ctx.stroke();
        ctx.setLineDash([]);
        if (mark.negative) {
          ctx.moveTo(sx - r * 0.7, sy - r * 0.7); ctx.lineTo(sx + r * 0.7, sy + r * 0.7); ctx.stroke();
        }
        if (chosen) {
          ctx.beginPath(); ctx.arc(sx, sy, r + 3, 0, 2 * Math.PI);
          ctx.lineWidth = 1.2; ctx.strokeStyle = "#ffffff"; ctx.stroke();
        }
        if (Math.abs(mark[PANELS[name].through] - this.pos[PANELS[name].through]) < 1) {
          ctx.fillStyle = mark.color; ctx.fillRect(sx - 1.5, sy - 1.5, 3, 3);
        }
      }
    },
    drawCross(ctx, name, w, h) {
      const [sx, sy] = this.toScreen(name, this.pos);
      ctx.lineWidth = 1;
      ctx.strokeStyle = "rgba(255,214,102,0.55)";
      ctx.beginPath();
      for (const [x0, y0, x1, y1] of [[0, sy, sx - 12, sy], [sx + 12, sy, w, sy], [sx, 0, sx, sy - 12], [sx, sy + 12, sx, h]]) {
        ctx.moveTo(x0, y0); ctx.lineTo(x1, y1);
      }
      ctx.stroke();
    },
    drawBar(ctx, h) {
      const most = 160 / this.scale * this.spacing / 10; // nm in 160 pixels
      const ten = 10 ** Math.floor(Math.log10(most));
      const nm = [5, 2, 1].map((f) => f * ten).find((n) => n <= most) || ten;
      const px = nm * 10 / this.spacing * this.scale;
      ctx.fillStyle = "rgba(0,0,0,0.55)"; ctx.fillRect(10, h - 38, px + 20, 28);
      ctx.fillStyle = "#ffffff"; ctx.fillRect(20, h - 17, px, 3);
      ctx.font = "12px sans-serif"; ctx.textAlign = "center";
      ctx.fillText(`${nm} nm`, 20 + px / 2, h - 23);
    },
    tellCorner() {
      const p = this.pos, text = ["x", "y", "z"].map((c) => `<b>${c}</b> ${p[c].toFixed(1)}`).join(" &nbsp; ");
      this.corner = `${text}<br>slice ${Math.round(p.z) + 1} of ${this.shape[0]}<br>zoom ${this.scale.toFixed(2)}`;
    },

    // --- hands ---
    at(e, name) { const box = this.$refs[name].getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; },
    goSlice(z) {
      z = Math.min(Math.max(z, 0), this.shape[0] - 1);
      if (z !== Math.round(this.pos.z)) this.direction = z > this.pos.z ? 1 : -1;
      this.pos.z = z; this.slice = z; this.centre.z = z;
      this.request();
      this.tell();
    },
    onWheel(e, name) {
      e.preventDefault();
      if (e.ctrlKey || e.metaKey || name !== "xy") return this.zoom(e.deltaY < 0 ? 1.15 : 1 / 1.15, name, ...this.at(e, name));
      this.goSlice(Math.round(this.pos.z) + (e.deltaY > 0 ? 1 : -1) * (e.shiftKey ? 5 : 1));
    },
    zoom(factor, name, sx, sy) {
      const before = this.toVoxels(name, sx, sy), { col, row } = PANELS[name];
      this.scale = Math.min(Math.max(this.scale * factor, 0.05), 40);
      const after = this.toVoxels(name, sx, sy);
      this.centre[col] += before[col] - after[col];
      this.centre[row] += before[row] - after[row];
      this.draw();
    },
    hit(name, sx, sy) {
      let best = null, least = Infinity;
      for (const mark of this.marks.values()) {
        const radius = this.visible(mark) ? this.radiusAt(mark, name) : 0;
        if (!radius) continue;
        const [mx, my] = this.toScreen(name, mark), d = Math.hypot(mx - sx, my - sy);
        if (d <= Math.max(GRAB_PX, radius * this.scale) && d < least) { best = mark; least = d; }
      }
      return best;
    },
    onDown(e, name) {
      this.$refs.root.focus({ preventScroll: true });
      this.$refs[name].setPointerCapture(e.pointerId);
      const [sx, sy] = this.at(e, name);
      this.press = { name, sx, sy, moved: false, pan: e.button !== 0, mark: e.button === 0 ? this.hit(name, sx, sy) : null,
                     centre: { ...this.centre } };
    },
    onMove(e, name) {
      const press = this.press;
      if (!press || press.name !== name) return;
      const [sx, sy] = this.at(e, name);
      if (!press.moved && Math.hypot(sx - press.sx, sy - press.sy) < DRAG_PX) return;
      press.moved = true;
      if (press.mark && this.placing && !press.pan) {
        const to = this.toVoxels(name, sx, sy), { col, row } = PANELS[name];
        this.dragged = { id: press.mark.id, to: { [col]: to[col], [row]: to[row] } };
      } else {
        const { col, row } = PANELS[name];
        this.centre[col] = press.centre[col] - (sx - press.sx) / this.scale;
        this.centre[row] = press.centre[row] - (sy - press.sy) / this.scale;
      }
      this.draw();
    },
    onUp(e, name) {
      const press = this.press, dragged = this.dragged;
      this.press = this.dragged = null;
      if (!press || press.name !== name) return;
      if (dragged) {
        const mark = this.marks.get(dragged.id);
        if (mark) this.$emit("move", { id: mark.id, z: mark.z, y: mark.y, x: mark.x, ...dragged.to });
      } else if (!press.moved && !press.pan) {
        const p = this.toVoxels(name, press.sx, press.sy);
        const inside = Object.keys(INDEX).every((c) => p[c] >= -0.5 && p[c] <= this.shape[INDEX[c]] - 0.5);
        if (press.mark) { this.select(press.mark.id); this.$emit("select", { id: press.mark.id }); }
        else if (inside) {
          if (name === "xy") p.z = Math.round(this.pos.z);
          this.pos = this.clamped(p);
          this.slice = Math.round(this.pos.z);
          if (name === "xy" && this.placing) this.$emit("place", p);
          this.request();
          this.tell();
        }
      }
      this.draw();
    },
    onKey(e) {
      const tag = (e.target.tagName || "").toLowerCase();
      if ((["input", "textarea", "select"].includes(tag) && e.target !== this.$refs.slider) || e.altKey) return;
      const jumps = { ArrowUp: 1, ArrowDown: -1, ArrowRight: 1, ArrowLeft: -1, PageUp: 10, PageDown: -10 };
      const plain = !(e.ctrlKey || e.metaKey);
      if (plain && e.key in jumps) this.goSlice(Math.round(this.pos.z) + jumps[e.key]);
      else if (plain && (e.key === "+" || e.key === "-" || e.key === "=")) {
        const [w, h] = this.extent("xy");
        this.zoom(e.key === "-" ? 1 / 1.25 : 1.25, "xy", w / 2, h / 2);
      } else if (plain && e.key === "f") this.fit();
      else {
        const known = ["Delete", "Backspace", "Escape"].includes(e.key) || /^[0-9nps]$/.test(e.key) || (!plain && /^[zy]$/i.test(e.key));
        if (!known) return;
        this.$emit("key", { key: e.key, ctrl: !plain, shift: e.shiftKey });
      }
      e.preventDefault();
    },
    tell() {
      if (this.telling) return;
      this.telling = setTimeout(() => { this.telling = null; this.$emit("position", { ...this.pos }); }, TOLD_MS);
    },
  },
};
