/** Splits the properties of a message that are passed on (MQTT 5 §3.3.2.3), as they stand in a packet. */

/** Identifiers of MQTT 5 §2.2.2.2. */
export const propertyId = { payloadFormat: 0x01, responseTopic: 0x08, userProperty: 0x26 } as const;

export interface PropertyPart {
  readonly id: number;
  /** All of it. */
  readonly bytes: Buffer;
  /** What stands behind a length: two texts of a user property, none of a payload format, one of any other. */
  readonly fields: readonly Buffer[];
}

/** @param forwarded - they were checked when they came in */
export function propertyParts(forwarded: Buffer): PropertyPart[] {
  const parts: PropertyPart[] = [];
  for (let start = 0; start < forwarded.length;) {
    const id = forwarded.readUInt8(start);
    const fields: Buffer[] = [];
    let end = start + (id === propertyId.payloadFormat ? 2 : 1);
    const count = id === propertyId.payloadFormat ? 0 : id === propertyId.userProperty ? 2 : 1;
    while (fields.length < count) {
      const first = end + 2;
      end = first + forwarded.readUInt16BE(end);
      fields.push(forwarded.subarray(first, end));
    }
    parts.push({ id, bytes: forwarded.subarray(start, end), fields });
    start = end;
  }
  return parts;
}
