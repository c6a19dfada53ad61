/** What a command asks of a running broker, and what it answers, as JSON. */
import { z } from 'zod';
import type { Decided } from '../cascade/asides.ts';
import { setAsideMax } from '../cascade/set-aside.ts';
import type { RefusedMessage } from '../cascade/up-store.ts';

const idType = z.int().min(1);
const idsType = z.array(idType).min(1).max(setAsideMax);

const orderType = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('list') }),
  z.strictObject({ kind: z.literal('show'), id: idType }),
  z.strictObject({ kind: z.literal('retry'), ids: idsType }),
  z.strictObject({ kind: z.literal('drop'), ids: idsType }),
]);

export type Order = z.infer<typeof orderType>;

export interface ShownMessage extends RefusedMessage {
  readonly expiresMs: number | undefined;
  /** In base64. */
  readonly payload: string;
}

export type Answer =
  | { readonly kind: 'list'; readonly messages: readonly RefusedMessage[] }
  | { readonly kind: 'show'; readonly message: ShownMessage | undefined }
  | { readonly kind: 'decided'; readonly messages: readonly Decided[] }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** @throws Error that says what is wrong */
export function readOrder(text: string): Order {
  return orderType.parse(JSON.parse(text));
}
