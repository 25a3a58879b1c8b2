/** The demo's page, with all images inside. */
export async function drawPage({ photos, world, lesson, losses, seconds }) {
  const picture = async (image, side = 128) => {
    const data = await (await image.resize(192, 192, "lanczos")).encode("png");
    return `<img width="${side}" height="${side}" alt="" src="data:image/png;base64,${data.toString("base64")}">`;
  };
  const row = async (pictures, text, success, side) =>
    `<figure><div>${(await Promise.all(pictures.map((each) => picture(each, side)))).join("")}</div><figcaption class="${success ? "good" : "bad"}">${escaped(text)}</figcaption></figure>`;
  const photographs = await Promise.all(
    photos.results.map(({ example, picture: result, score }) =>
      row([example.original, result, example.target], example.instruction, score.success, 170),
    ),
  );
  const known = await Promise.all(
    world.results.map(({ example, picture: result, score }) =>
      row([example.original, result, example.target], example.instruction, score.success),
    ),
  );
  const taught = await Promise.all(
    lesson.after.results
      .slice(0, 12)
      .map(({ example, picture: result, score }, i) =>
        row(
          [example.original, lesson.before.results[i].picture, result, example.target],
          example.instruction,
          score.success,
        ),
      ),
  );
  const percent = (share) => `${Math.round(100 * share)} %`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>instruct-pix2pix: the demo</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; color: #1f2328; background: #fbfaf7; max-width: 1180px; margin: 3rem auto; padding: 0 1.5rem; }
  h1, h2 { font-weight: 650; letter-spacing: -.01em; }
  .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 1.75rem 2rem; }
  .wide { grid-template-columns: repeat(auto-fill, minmax(530px, 1fr)); }
  figure { margin: 0; } figure div { display: flex; gap: 6px; } img { border-radius: 6px; }
  figcaption { margin-top: .35rem; } figcaption::before { content: "✗ "; color: #d73a3a; } .good::before { content: "✓ "; color: #1a9850; }
  svg { width: 100%; max-width: 640px; height: auto; } strong { font-size: 1.15em; }
</style>
<h1>instruct-pix2pix: the demo</h1>
<p>Computed on this machine in ${Math.round(seconds)} seconds by the two small built-in models, which were trained with this package.</p>
<h2>Photographs</h2>
<p>Each row: a photograph, the result, the ground truth, which is computed by an image filter. The model has never seen these photographs. <strong>${percent(photos.success)}</strong> of these ${photos.count} edits succeed: the result is nearer to the ground truth than to the original and to 15 other edits.</p>
<div class="grid wide">${photographs.join("\n")}</div>
<h2>Drawings</h2>
<p>The other model edits drawings of shapes. Each row: the original, the result, the ground truth. <strong>${percent(world.success)}</strong> of these ${world.count} edits succeed: the result is nearer to the ground truth than to the original and to 15 other edits.</p>
<div class="grid">${known.join("\n")}</div>
<h2>A new edit</h2>
<p>Old photographs, which the model had never seen: trained on ${lesson.pairs} pairs, half of them known edits, in ${lesson.steps} steps of <code>train()</code>, ${Math.round(lesson.seconds)} seconds. On ${lesson.after.count} unseen scenes success rises from <strong>${percent(lesson.before.success)}</strong> to <strong>${percent(lesson.after.success)}</strong>; on the known edits it was ${percent(world.success)} before training and is ${percent(lesson.known.success)} after it. Each row: the original, the result before training, after training, the ground truth.</p>
<div class="grid wide">${taught.join("\n")}</div>
<h2>Training loss</h2>
${lossCurve(losses)}
</html>
`;
}

/** Means of ten steps, on a logarithmic scale. */
function lossCurve(losses) {
  const [width, height, margin] = [640, 220, 40];
  const means = [];
  for (let i = 0; i + 10 <= losses.length; i += 10)
    means.push(losses.slice(i, i + 10).reduce((sum, loss) => sum + loss, 0) / 10);
  const logs = means.map(Math.log10);
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  const points = logs.map((value, i) => {
    const x = margin + (i / Math.max(1, logs.length - 1)) * (width - 2 * margin);
    const y = margin + ((high - value) / (high - low || 1)) * (height - 2 * margin);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  const label = (text, x, y) => `<text x="${x}" y="${y}" font-size="13" fill="#8b9097">${text}</text>`;
  return `<svg viewBox="0 0 ${width} ${height}"><polyline points="${points.join(" ")}" fill="none" stroke="#1a6fb5" stroke-width="2"/>${label((10 ** high).toFixed(3), margin, margin - 10)}${label((10 ** low).toFixed(3), width - 2 * margin, height - margin + 20)}</svg>`;
}

function escaped(text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
