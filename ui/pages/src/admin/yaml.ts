// Finding lines in YAML. Pure.

const depth = (line: string): number => line.length - line.trimStart().length;

/** The lines that hold the text, each below the keys that it belongs to. */
export function matching(lines: readonly string[], query: string): string[] {
  const wanted = query.trim().toLowerCase();
  const above: string[] = [];
  const found: string[] = [];
  let inside = -1; // the depth of a key that matched: what is below it belongs to it
  for (const line of lines) {
    const at = depth(line);
    while (above.length && depth(above[above.length - 1] ?? '') >= at) {
      above.pop();
    }
    if (inside >= 0 && at <= inside) {
      inside = -1;
    }
    if (!wanted || inside >= 0 || line.toLowerCase().includes(wanted)) {
      found.push(...above.splice(0), line);
      if (inside < 0 && line.trimEnd().endsWith(':')) {
        inside = at;
      }
    } else {
      above.push(line);
    }
  }
  return found;
}
