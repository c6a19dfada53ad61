/** How many brokers a message has been passed on by, in a user property of MQTT 5: so that a ring of brokers has an end. */

const name = 'plombe-hops';
const nameBytes = Buffer.from(name);
/** Of what a message may have; a vendor, a region, a customer and its site are four. */
export const hopsMax = 8;

/** Identifiers of the properties that are passed on (MQTT 5 §2.2.2.2). */
const id = { payloadFormat: 0x01, userProperty: 0x26 } as const;

/** What nearly every message has that goes up from where it was published. */
const firstHop = hopProperty(1);

/**
 * @param forwarded - properties as they stand in a packet; they were checked when they came in
 * @returns 0 for a message that nobody has passed on yet; what is no number counts as the most
 */
export function hopsOf(forwarded: Buffer): number {
  if (forwarded.length === 0 || !forwarded.includes(nameBytes)) return 0;
  let hops = 0;
  for (const { text } of userProperties(forwarded)) {
    if (text === undefined || text[0] !== name) continue;
    hops = Math.max(hops, /^\d{1,3}$/.test(text[1]) ? Number(text[1]) : hopsMax);
  }
  return hops;
}

/** @returns the properties with the number in place of any other, and everything else as it was, in its order */
export function withHops(forwarded: Buffer, hops: number): Buffer {
  if (forwarded.length === 0) return hops === 1 ? firstHop : hopProperty(hops);
  if (!forwarded.includes(nameBytes)) return Buffer.concat([forwarded, hopProperty(hops)]);
  const kept = userProperties(forwarded)
    .filter(({ text }) => text?.[0] !== name)
    .map(({ bytes }) => bytes);
  return Buffer.concat([...kept, hopProperty(hops)]);
}

function hopProperty(hops: number): Buffer {
  const value = Buffer.from(String(hops));
  const head = Buffer.from([id.userProperty, 0, nameBytes.length]);
  return Buffer.concat([head, nameBytes, Buffer.from([0, value.length]), value]);
}

interface Part {
  readonly bytes: Buffer;
  /** Name and value of a user property. */
  readonly text: readonly [string, string] | undefined;
}

/** Splits checked properties: one byte, a pair of texts, or one text or binary behind its length. */
function userProperties(forwarded: Buffer): Part[] {
  const parts: Part[] = [];
  for (let start = 0; start < forwarded.length;) {
    const kind = forwarded[start];
    if (kind === id.payloadFormat) {
      parts.push({ bytes: forwarded.subarray(start, start + 2), text: undefined });
      start += 2;
      continue;
    }
    const firstEnd = start + 3 + forwarded.readUInt16BE(start + 1);
    const isPair = kind === id.userProperty;
    const end = isPair ? firstEnd + 2 + forwarded.readUInt16BE(firstEnd) : firstEnd;
    const text = isPair
      ? ([
          forwarded.toString('utf8', start + 3, firstEnd),
          forwarded.toString('utf8', firstEnd + 2, end),
        ] as const)
      : undefined;
    parts.push({ bytes: forwarded.subarray(start, end), text });
    start = end;
  }
  return parts;
}
