/** The response topic of a request (MQTT 5 §3.3.2.3.5), which must name where the answer is awaited also behind a cascade that renames. */
import { eachProperty, fieldAt, propertyId } from './each-property.ts';

/** MQTT 5 §1.5.4. */
const textBytesMax = 65_535;

/**
 * @param forwarded - properties as they stand in a packet; they were checked when they came in
 * @param rename - the name on the other side of a topic that answers are carried under, undefined for any other topic
 * @returns the properties, in their order; as they were if there is no other name that fits
 */
export function withResponseTopic(forwarded: Buffer, rename: (topic: string) => string | undefined): Buffer {
  if (!forwarded.includes(propertyId.responseTopic)) return forwarded;
  let [start, end] = [0, 0];
  eachProperty(forwarded, (id, from, to) => {
    if (id === propertyId.responseTopic) [start, end] = [from, to];
  });
  if (start === end) return forwarded;
  const topic = fieldAt(forwarded, start + 1).toString();
  const renamed = rename(topic);
  if (renamed === undefined || renamed === topic) return forwarded;
  const text = Buffer.from(renamed);
  if (text.length > textBytesMax) return forwarded;
  const head = Buffer.from([propertyId.responseTopic, text.length >> 8, text.length & 0xff]);
  return Buffer.concat([forwarded.subarray(0, start), head, text, forwarded.subarray(end)]);
}
