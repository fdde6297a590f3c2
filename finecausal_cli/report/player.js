"use strict";
(() => {
  const root = document.querySelector(".player");
  const source = document.getElementById("player-data");
  const video = root && root.querySelector("video");
  if (!video || !source) return;
  const data = JSON.parse(source.textContent);
  const times = data.times, last = times.length - 1;
  const canvas = root.querySelector("canvas"), pen = canvas.getContext("2d");
  const find = (name) => root.querySelector(`[data-is="${name}"]`);
  const play = find("play"), clock = find("clock"), scrub = find("scrub"), speed = find("speed"), bones = find("bones");
  const readings = [...root.querySelectorAll("[data-curve]")];
  const chips = [...root.querySelectorAll(".chips [data-seek]")];
  const COLOURS = ["#ffffff", "#78dc78", "#fa9678"];
  const SURE = 30;
  let current = 0;

  // A blob seeks faster than a data URI, and phones play it.
  const uri = video.getAttribute("src");
  const bytes = Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  video.src = URL.createObjectURL(new Blob([bytes], { type: uri.slice(5, uri.indexOf(";")) }));
  video.removeAttribute("controls");
  root.classList.add("live");

  // The last of rising values that is not beyond one.
  const before = (values, value) => {
    let low = 0, high = values.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (values[middle] <= value) low = middle; else high = middle - 1;
    }
    return low;
  };
  const frameAt = (time) => before(times, time + 1e-4);

  // Sample before a time, and how far on the way to the next one the time is.
  const between = (time) => {
    const index = Math.min(before(data.samples, time), data.samples.length - 2);
    const gap = data.samples[index + 1] - data.samples[index];
    return [index, gap > 0 ? Math.min(1, Math.max(0, (time - data.samples[index]) / gap)) : 0];
  };

  const mixed = (first, second, share) => first + (second - first) * share;

  function drawSkeleton(time) {
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(video.clientWidth * scale), height = Math.round(video.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    pen.clearRect(0, 0, width, height);
    if (!bones.checked || !data.joints.length) return;
    const [index, share] = between(time);
    const first = data.joints[index], second = data.joints[index + 1];
    if (!first.length || !second.length) return;
    const part = (joint, which) => mixed(first[3 * joint + which], second[3 * joint + which], share);
    const point = (joint) => [part(joint, 0) * width / 1000, part(joint, 1) * height / 1000];
    const thick = Math.max(2, Math.min(width, height) / 200);
    pen.lineCap = "round";
    for (const [border, isEdge] of [[thick + 2 * scale, true], [thick, false]]) {
      for (const [begin, end, side] of data.bones) {
        if (part(begin, 2) < SURE || part(end, 2) < SURE) continue;
        pen.beginPath();
        pen.moveTo(...point(begin));
        pen.lineTo(...point(end));
        pen.lineWidth = border;
        pen.strokeStyle = isEdge ? "#000" : COLOURS[side];
        pen.stroke();
      }
    }
  }

  function stageAt(time) {
    let found = 0;
    data.stages.forEach(([, begin], index) => { if (time >= begin - 1e-3) found = index; });
    return found;
  }

  function reading(curve, time) {
    const [index, share] = between(time);
    const first = curve.values[index], second = curve.values[index + 1];
    if (first === null || second === null) return "–";
    const text = mixed(first, second, share).toFixed(curve.digits);
    return curve.unit === "°" ? `${text}°` : `${text} ${curve.unit}`;
  }

  function show(frame) {
    current = Math.min(last, Math.max(0, frame));
    const time = times[current], stage = stageAt(time);
    root.style.setProperty("--at", `${100 * time / data.end}%`);
    scrub.value = current;
    const at = `${(time + data.offset).toFixed(2)} s`;
    scrub.setAttribute("aria-valuetext", `${at}, ${data.stages[stage][0]}`);
    clock.textContent = `${at} · frame ${current + 1} of ${times.length}`;
    chips.forEach((chip, index) => chip.setAttribute("aria-current", index === stage ? "true" : "false"));
    readings.forEach((output) => { output.textContent = reading(data.curves[output.dataset.curve], time); });
    drawSkeleton(time);
  }

  function seek(frame) {
    video.pause();
    show(frame);
    const end = current < last ? times[current + 1] : data.end;
    video.currentTime = (times[current] + end) / 2;
  }

  const toggle = () => { if (video.paused) video.play(); else video.pause(); };
  const changeSpeed = (step) => {
    speed.selectedIndex = Math.min(speed.options.length - 1, Math.max(0, speed.selectedIndex + step));
    speed.dispatchEvent(new Event("change"));
  };

  // While it plays, the curves follow each frame that is shown.
  const follow = () => {
    if (video.paused) return;
    show(frameAt(video.currentTime));
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(follow); else requestAnimationFrame(follow);
  };
  video.addEventListener("play", () => { play.textContent = "Pause"; follow(); });
  video.addEventListener("pause", () => { play.textContent = "Play"; show(frameAt(video.currentTime)); });
  video.addEventListener("seeked", () => { if (video.paused) show(frameAt(video.currentTime)); });
  video.addEventListener("loadeddata", () => show(frameAt(video.currentTime)));
  video.addEventListener("ended", () => show(last));
  window.addEventListener("resize", () => drawSkeleton(times[current]));
  video.addEventListener("click", toggle);
  play.addEventListener("click", toggle);
  find("back").addEventListener("click", () => seek(current - 1));
  find("on").addEventListener("click", () => seek(current + 1));
  scrub.addEventListener("input", () => seek(Number(scrub.value)));
  speed.addEventListener("change", () => { video.defaultPlaybackRate = video.playbackRate = Number(speed.value); });
  bones.addEventListener("change", () => drawSkeleton(times[current]));
  for (const button of root.querySelectorAll("[data-seek]"))
    button.addEventListener("click", () => seek(frameAt(Number(button.dataset.seek))));
  for (const plot of root.querySelectorAll(".plot")) {
    const go = (event) => {
      const box = plot.getBoundingClientRect();
      seek(frameAt(data.end * (event.clientX - box.left) / box.width));
    };
    plot.addEventListener("pointerdown", (event) => { plot.setPointerCapture(event.pointerId); go(event); });
    plot.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
  }

  const KEYS = {
    " ": toggle, k: toggle,
    ",": () => seek(current - 1), ArrowLeft: () => seek(current - 1),
    ".": () => seek(current + 1), ArrowRight: () => seek(current + 1),
    "-": () => changeSpeed(-1), "+": () => changeSpeed(1),
    s: () => bones.click(),
    Home: () => seek(0), End: () => seek(last),
  };
  data.stages.forEach(([, begin], index) => { KEYS[String(index + 1)] = () => seek(frameAt(begin)); });
  document.addEventListener("keydown", (event) => {
    const action = KEYS[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    const kind = event.target.tagName;
    if (kind === "SELECT" || (kind === "INPUT" && event.target.type !== "checkbox" && event.target !== scrub)) return;
    if (event.key === " " && (kind === "BUTTON" || kind === "INPUT" || kind === "SUMMARY" || kind === "A")) return;
    event.preventDefault();
    action();
  });
  // "page.html#t=2.5" opens at 2.5 s of the file.
  const asked = /^#t=(\d+(\.\d+)?)$/.exec(location.hash);
  if (asked) video.addEventListener("loadeddata", () => seek(frameAt(asked[1] - data.offset)), { once: true });
  show(0);
})();
