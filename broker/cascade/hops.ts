/** How many brokers a message has been passed on by, in a user property of MQTT 5: so that a ring of brokers has an end. */
import { afterField, eachProperty, fieldAt, propertyId } from './each-property.ts';

const name = 'plombe-hops';
const nameBytes = Buffer.from(name);
/** Of what a message may have; a vendor, a region, a customer and its site are four. */
export const hopsMax = 8;

/** What nearly every message has that goes up from where it was published. */
const firstHop = hopProperty(1);

/**
 * @param forwarded - properties as they stand in a packet; they were checked when they came in
 * @returns 0 for a message that nobody has passed on yet; what is no number counts as the most
 */
export function hopsOf(forwarded: Buffer): number {
  if (forwarded.length === 0 || !forwarded.includes(nameBytes)) return 0;
  let hops = 0;
  eachProperty(forwarded, (id, start) => {
    if (!isHops(forwarded, id, start)) return;
    const text = fieldAt(forwarded, afterField(forwarded, start + 1)).toString();
    hops = Math.max(hops, /^\d{1,3}$/.test(text) ? Number(text) : hopsMax);
  });
  return hops;
}

/** @returns the properties with the number in place of any other, and everything else as it was, in its order */
export function withHops(forwarded: Buffer, hops: number): Buffer {
  if (forwarded.length === 0) return hops === 1 ? firstHop : hopProperty(hops);
  if (!forwarded.includes(nameBytes)) return Buffer.concat([forwarded, hopProperty(hops)]);
  const kept: Buffer[] = [];
  let keptUpTo = 0;
  eachProperty(forwarded, (id, start, end) => {
    if (!isHops(forwarded, id, start)) return;
    kept.push(forwarded.subarray(keptUpTo, start));
    keptUpTo = end;
  });
  return Buffer.concat([...kept, forwarded.subarray(keptUpTo), hopProperty(hops)]);
}

function hopProperty(hops: number): Buffer {
  const value = Buffer.from(String(hops));
  const head = Buffer.from([propertyId.userProperty, 0, nameBytes.length]);
  return Buffer.concat([head, nameBytes, Buffer.from([0, value.length]), value]);
}

function isHops(forwarded: Buffer, id: number, start: number): boolean {
  if (id !== propertyId.userProperty || forwarded.readUInt16BE(start + 1) !== nameBytes.length) return false;
  return nameBytes.compare(forwarded, start + 3, start + 3 + nameBytes.length) === 0;
}
