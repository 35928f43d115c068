/** How sessions share the page: a tree of panes, kept with the tabs. A session is in one tree at most. Pure. */

/** The second part lies beside the first, or below it. */
export type Way = 'beside' | 'below';
export interface Fork {
  readonly way: Way;
  /** What the first part has of the room: 0 to 1. */
  readonly share: number;
  readonly first: Tree;
  readonly second: Tree;
}
/** A session's id, or two parts. */
export type Tree = string | Fork;

/** Panes of one split; more cannot be read. */
export const MOST_PANES = 8;
/** What a part keeps of its fork at least. */
export const LEAST = 0.1;
const DEEPEST = 16;

export const bounded = (share: number): number => Math.max(LEAST, Math.min(1 - LEAST, share));

/** What was kept, as far as it makes sense; each session once. */
export function readSplits(value: unknown): Fork[] {
  const seen = new Set<string>();
  return (Array.isArray(value) ? value.slice(0, 300) : []).flatMap(one => {
    const tree = readTree(one, seen, { left: MOST_PANES }, 0);
    return tree === null || typeof tree === 'string' ? [] : [tree];
  });
}

function readTree(value: unknown, seen: Set<string>, room: { left: number }, depth: number): Tree | null {
  if (typeof value === 'string') {
    if (value === '' || value.length > 64 || seen.has(value) || room.left === 0) {
      return null;
    }
    seen.add(value);
    room.left -= 1;
    return value;
  }
  if (typeof value !== 'object' || value === null || depth > DEEPEST) {
    return null;
  }
  const { way, share, first, second } = value as Record<string, unknown>;
  const parts = [first, second].map(part => readTree(part, seen, room, depth + 1));
  return joined(
    way === 'below' ? 'below' : 'beside',
    typeof share === 'number' && Number.isFinite(share) ? bounded(share) : 0.5,
    parts[0] ?? null,
    parts[1] ?? null
  );
}

function joined(way: Way, share: number, first: Tree | null, second: Tree | null): Tree | null {
  return first === null || second === null ? (first ?? second) : { way, share, first, second };
}

/** Sessions of a tree, as a person reads them. */
export function leaves(tree: Tree): string[] {
  return typeof tree === 'string' ? [tree] : [...leaves(tree.first), ...leaves(tree.second)];
}

/** What is left of it when only some sessions are; null: nothing. */
export function only(tree: Tree, there: (id: string) => boolean): Tree | null {
  if (typeof tree === 'string') {
    return there(tree) ? tree : null;
  }
  return joined(tree.way, tree.share, only(tree.first, there), only(tree.second, there));
}

/** With something else in a session's place. */
export function put(tree: Tree, id: string, into: Tree): Tree {
  if (typeof tree === 'string') {
    return tree === id ? into : tree;
  }
  return { ...tree, first: put(tree.first, id, into), second: put(tree.second, id, into) };
}

const isFork = (tree: Tree | null): tree is Fork => tree !== null && typeof tree !== 'string';

/** Without a session: what shared the page with it has its room. */
export function leave(splits: readonly Fork[], id: string): Fork[] {
  return splits.map(tree => only(tree, one => one !== id)).filter(isFork);
}

/** The tree that a session is in; alone: its id. */
export const treeOf = (splits: readonly Fork[], id: string): Tree => splits.find(tree => leaves(tree).includes(id)) ?? id;

/** `id` beside or below `at`, in whichever tree that is. */
export function join(splits: readonly Fork[], at: string, id: string, way: Way): Fork[] {
  if (at === id) {
    return [...splits];
  }
  const others = leave(splits, id);
  const tree = treeOf(others, at);
  if (leaves(tree).length >= MOST_PANES) {
    return [...splits];
  }
  const made = put(tree, at, { way, share: 0.5, first: at, second: id }) as Fork;
  return [...others.filter(one => one !== tree), made];
}

/** Another share for the fork at `path`, of the tree that has `id`. */
export function reshare(splits: readonly Fork[], id: string, path: string, share: number): Fork[] {
  const change = (tree: Tree, rest: string): Tree => {
    if (typeof tree === 'string') {
      return tree;
    }
    if (rest === '') {
      return { ...tree, share: bounded(share) };
    }
    const part = rest.startsWith('1') ? 'first' : 'second';
    return { ...tree, [part]: change(tree[part], rest.slice(1)) };
  };
  return splits.map(tree => (leaves(tree).includes(id) ? (change(tree, path) as Fork) : tree));
}

/** A place on the page: parts of its width and height, 0 to 1. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}
export interface Edge {
  /** From the root: 1 is the first part, 2 the second. */
  readonly path: string;
  readonly way: Way;
  readonly share: number;
  /** Of the fork that it divides. */
  readonly box: Box;
  /** Sessions of the first part. */
  readonly before: readonly string[];
}
export interface Places {
  readonly panes: ReadonlyMap<string, Box>;
  readonly edges: readonly Edge[];
}

/** Where each pane and each edge between two is. */
export function placesOf(tree: Tree): Places {
  const panes = new Map<string, Box>();
  const edges: Edge[] = [];
  const place = (part: Tree, box: Box, path: string): void => {
    if (typeof part === 'string') {
      panes.set(part, box);
      return;
    }
    const { way, share, first, second } = part;
    edges.push({ path, way, share, box, before: leaves(first) });
    const { x, y, width, height } = box;
    if (way === 'beside') {
      place(first, { ...box, width: width * share }, `${path}1`);
      place(second, { ...box, x: x + width * share, width: width * (1 - share) }, `${path}2`);
    } else {
      place(first, { ...box, height: height * share }, `${path}1`);
      place(second, { ...box, y: y + height * share, height: height * (1 - share) }, `${path}2`);
    }
  };
  place(tree, { x: 0, y: 0, width: 1, height: 1 }, '');
  return { panes, edges };
}

export type Direction = 'left' | 'right' | 'up' | 'down';

/** The pane that one comes to from `id` in a direction; null: there is none. */
export function beyond(tree: Tree, id: string, direction: Direction): string | null {
  const { panes } = placesOf(tree);
  const from = panes.get(id);
  if (!from) {
    return null;
  }
  const level = direction === 'left' || direction === 'right';
  const centre = (box: Box): number => (level ? box.y + box.height / 2 : box.x + box.width / 2);
  const gap = (box: Box): number => {
    switch (direction) {
      case 'left':
        return from.x - (box.x + box.width);
      case 'right':
        return box.x - (from.x + from.width);
      case 'up':
        return from.y - (box.y + box.height);
      case 'down':
        return box.y - (from.y + from.height);
    }
  };
  const near = [...panes]
    .filter(([other, box]) => other !== id && gap(box) > -1e-6)
    .map(([other, box]) => ({ other, gap: gap(box), aside: Math.abs(centre(box) - centre(from)) }))
    .sort((a, b) => (Math.abs(a.gap - b.gap) > 1e-6 ? a.gap - b.gap : a.aside - b.aside));
  return near[0]?.other ?? null;
}
