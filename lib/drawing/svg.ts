/** An SVG document of elements, as sharp reads it. */
export function svgDocument(width: number, height: number, elements: string): Buffer {
  return Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${elements}</svg>`);
}

/** The colours of all drawings in the documentation. */
export const COLOURS = { paper: "#fbfaf7", ink: "#1f2328", pale: "#8b9097", good: "#1a9850", bad: "#d73a3a" };
