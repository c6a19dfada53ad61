/** What was promised and what arrived: finds what is missing, what came twice, and what came out of order. */

const violationsMax = 50;

/** One topic, whose messages are numbers from 0. */
interface Account {
  published: number;
  acknowledged: number;
}

/** One receiver, or several who share a subscription, who are to get all of some topics. */
interface Expectation {
  readonly topics: readonly string[];
  readonly seen: Map<string, Set<number>>;
}

export class Ledger {
  readonly violations: string[] = [];
  readonly #accounts = new Map<string, Account>();
  readonly #expected = new Map<string, Expectation>();
  /** By who got it and topic. */
  readonly #last = new Map<string, number>();
  received = 0;
  /** At QoS 1 a message may come again. */
  repeated = 0;

  get published(): number {
    return sumOf(this.#accounts.values(), ({ published }) => published);
  }

  get acknowledged(): number {
    return sumOf(this.#accounts.values(), ({ acknowledged }) => acknowledged);
  }

  /** @param name - of a receiver or a group, which is to get everything of these topics */
  expect(name: string, topics: readonly string[]): void {
    this.#expected.set(name, { topics, seen: new Map(topics.map((topic) => [topic, new Set()])) });
  }

  /** @returns the payload of the topic's next message */
  publish(topic: string): string {
    const account = this.#accounts.get(topic) ?? { published: 0, acknowledged: 0 };
    this.#accounts.set(topic, account);
    return `${topic} ${account.published++}`;
  }

  /** @param payload - of a message that the broker has promised to carry */
  acknowledge(payload: string): void {
    const { topic, number } = parse(payload);
    const account = this.#accounts.get(topic);
    if (account !== undefined) account.acknowledged = Math.max(account.acknowledged, number + 1);
  }

  lastPublished(topic: string): string {
    return `${topic} ${(this.#accounts.get(topic)?.published ?? 0) - 1}`;
  }

  /** @param member - of the group `name`; the receiver itself otherwise. Each has a topic's messages in order. */
  receive(name: string, member: string, qos: number, payload: string): void {
    this.received++;
    const { topic, number } = parse(payload);
    const seen = this.#expected.get(name)?.seen.get(topic);
    if (seen === undefined) return this.violate(`${member} got ${payload}, which it was not to get`);
    if (seen.has(number)) {
      if (qos === 2) return this.violate(`${member} got ${payload}, which had come, at QoS 2`);
      this.repeated++;
      return;
    }
    seen.add(number);
    const key = `${member} ${topic}`;
    const last = this.#last.get(key) ?? -1;
    if (number < last) this.violate(`${member} got ${payload} after number ${last}`);
    this.#last.set(key, Math.max(last, number));
  }

  /** @returns what was acknowledged and did not come */
  missing(): string[] {
    return [...this.#expected].flatMap(([name, { topics, seen }]) =>
      topics.flatMap((topic) => {
        const lacking = (this.#accounts.get(topic)?.acknowledged ?? 0) - (seen.get(topic)?.size ?? 0);
        return lacking > 0 ? [`${name} lacks ${lacking} of ${topic}`] : [];
      }),
    );
  }

  violate(what: string): void {
    if (this.violations.length < violationsMax) this.violations.push(what);
  }
}

function parse(payload: string): { topic: string; number: number } {
  const [topic = '', number] = payload.split(' ');
  return { topic, number: Number(number) };
}

function sumOf<Item>(items: Iterable<Item>, valueOf: (item: Item) => number): number {
  let sum = 0;
  for (const item of items) sum += valueOf(item);
  return sum;
}
