/**
 * The arithmetic of one-pass ECMQV on one curve. Scalars are big-endian octets as long as a coordinate, from 1 to n − 1.
 * Points are SEC 1 uncompressed; with one that is not on the curve nothing is computed.
 */
export interface MqvEngine {
  /**
   * @param recipients - at most 100 points
   * @returns E = e·G and, for each recipient, the x coordinate of (e + avf(E)·d)·(1 + avf(Q'))·Q', which the caller
   *   erases; undefined if e cancels d, or a recipient's point is not on the curve
   */
  send(
    staticScalar: Uint8Array,
    ephemeralScalar: Uint8Array,
    recipients: readonly Uint8Array[],
  ): { readonly ephemeralPoint: Buffer; readonly secrets: readonly Buffer[] } | undefined;

  /** Prepares to receive with d' and Q'. */
  receiver(staticScalar: Uint8Array, ownPoint: Uint8Array): MqvReceiver;
}

/**
 * @returns the x coordinate of d'·(1 + avf(Q'))·(E + avf(E)·Q), which the caller erases; undefined if that is infinity, or
 *   a point is not on the curve
 */
export type MqvReceiver = (originatorPoint: Uint8Array, ephemeralPoint: Uint8Array) => Buffer | undefined;
