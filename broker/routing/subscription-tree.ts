/** Which subscriptions match a topic: a tree with one node per level of the filters (MQTT 3.1.1 §4.7). */

interface Node<S> {
  readonly children: Map<string, Node<S>>;
  readonly subscribers: Set<S>;
}

/** Holds subscribers of any kind under topic filters. */
export class SubscriptionTree<S> {
  readonly #root: Node<S> = emptyNode();

  add(filter: string, subscriber: S): void {
    let node = this.#root;
    for (const level of filter.split('/')) {
      let child = node.children.get(level);
      if (child === undefined) {
        child = emptyNode();
        node.children.set(level, child);
      }
      node = child;
    }
    node.subscribers.add(subscriber);
  }

  remove(filter: string, subscriber: S): void {
    const path = [this.#root];
    const levels = filter.split('/');
    for (const level of levels) {
      const child = path.at(-1)?.children.get(level);
      if (child === undefined) return;
      path.push(child);
    }
    path.at(-1)?.subscribers.delete(subscriber);
    for (let depth = levels.length; depth > 0; depth--) {
      const node = path[depth];
      if (node === undefined || node.subscribers.size > 0 || node.children.size > 0) return;
      path[depth - 1]?.children.delete(levels[depth - 1] ?? '');
    }
  }

  /** @returns every subscriber that has a matching filter, each once for every such filter */
  match(topic: string): S[] {
    const found: S[] = [];
    collect(this.#root, topic.split('/'), 0, found);
    return found;
  }
}

function emptyNode<S>(): Node<S> {
  return { children: new Map(), subscribers: new Set() };
}

function collect<S>(node: Node<S>, levels: readonly string[], depth: number, found: S[]): void {
  const level = levels[depth];
  // [MQTT-4.7.2-1]: a leading wildcard does not match a topic that begins with `$`.
  const isWildcardAllowed = depth > 0 || levels[0]?.startsWith('$') !== true;
  // §4.7.1.2: `a/#` matches `a` too, so `#` is looked at before the end of the topic.
  if (isWildcardAllowed) {
    const rest = node.children.get('#');
    if (rest !== undefined) found.push(...rest.subscribers);
  }
  if (level === undefined) {
    found.push(...node.subscribers);
    return;
  }
  const exact = node.children.get(level);
  if (exact !== undefined) collect(exact, levels, depth + 1, found);
  const any = isWildcardAllowed ? node.children.get('+') : undefined;
  if (any !== undefined) collect(any, levels, depth + 1, found);
}
