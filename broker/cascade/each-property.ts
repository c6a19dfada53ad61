/** Walks the properties of a message that are passed on (MQTT 5 §3.3.2.3), as they stand in a packet. */

/** Identifiers of MQTT 5 §2.2.2.2. */
export const propertyId = { payloadFormat: 0x01, responseTopic: 0x08, userProperty: 0x26 } as const;

/**
 * Makes no object for any of them: a publisher may send as many as fit into a packet.
 *
 * @param forwarded - they were checked when they came in
 * @param visit - gets the place of one; what stands there is its identifier, then, but for a payload format, two octets of
 *   length and so many of a text or of binary data, and of a user property the same once more
 */
export function eachProperty(
  forwarded: Buffer,
  visit: (id: number, start: number, end: number) => void,
): void {
  for (let start = 0; start < forwarded.length;) {
    const id = forwarded.readUInt8(start);
    let end = start + 2;
    if (id !== propertyId.payloadFormat) end = afterField(forwarded, start + 1);
    if (id === propertyId.userProperty) end = afterField(forwarded, end);
    visit(id, start, end);
    start = end;
  }
}

/** @returns what stands behind its length there */
export function fieldAt(forwarded: Buffer, at: number): Buffer {
  return forwarded.subarray(at + 2, afterField(forwarded, at));
}

/** @returns where it ends */
export function afterField(forwarded: Buffer, at: number): number {
  return at + 2 + forwarded.readUInt16BE(at);
}
