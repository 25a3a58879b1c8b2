// What tests have a browser run in the page: each function is sent there as its text.

/** Serious findings of axe-core, which the page has loaded. */
export async function findings() {
  const { violations } = await window.axe.run();
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** The bytes of an image that is shown. */
export async function bytesOf(image) {
  return [...new Uint8Array(await (await fetch(image.src)).arrayBuffer())];
}

export const clipOf = (image) => getComputedStyle(image).clipPath;

export const groundOf = () => getComputedStyle(document.body).backgroundColor;

export const widthOf = () => document.documentElement.scrollWidth;

/** How many pixels of a canvas are painted. */
export function paintedOf(canvas) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, i) => i % 4 === 3 && value > 127).length;
}

/** Drops or pastes a file: an image of 100×50 pixels, or a text that says it were one. */
export async function give([how, text]) {
  const data = new DataTransfer();
  const canvas = new OffscreenCanvas(100, 50);
  canvas.getContext("2d");
  const blob = text === undefined ? await canvas.convertToBlob() : new Blob([text]);
  data.items.add(new File([blob], `by ${how}.png`, { type: "image/png" }));
  const event =
    how === "drop"
      ? new DragEvent("drop", { dataTransfer: data, bubbles: true })
      : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
  document.querySelector(".drop").dispatchEvent(event);
}

/** Notes from now on which fields of forms are sent. */
export function recordForms() {
  const { fetch } = window;
  window.sentForms = [];
  window.fetch = (url, init) => {
    if (init?.body instanceof FormData) window.sentForms.push([...init.body.keys()]);
    return fetch(url, init);
  };
}

export const recordedForms = () => window.sentForms;
