/** One value as a row that plain SQL can read. */
import type { ChannelValue } from '../../domain/snapshot.ts';
import type { SqlValue } from '../statements.ts';

export interface ValueRow {
  readonly kind: number;
  readonly number_value: number | null;
  readonly text_value: string | null;
}

/** In `value_row.kind`; a released one keeps its number. */
const kinds = {
  number: 0, // in number_value
  boolean: 1, // 1 or 0 in number_value, and as a word in text_value
  text: 2, // in text_value
  named: 3, // -0, NaN or an infinity: its name in text_value, and of -0 a 0 in number_value
  escaped: 4, // a text with half a surrogate pair, which has no UTF-8: as JSON
} as const;

/** Of `value_row r`, for `valueOfRow`. */
export const valueColumns = 'r.kind, r.number_value, r.text_value';

/** @returns kind, number_value, text_value */
export function rowOfValue(value: ChannelValue): [number, number | null, string | null] {
  if (typeof value === 'boolean') return [kinds.boolean, Number(value), String(value)];
  if (typeof value === 'string')
    return value.isWellFormed() ? [kinds.text, null, value] : [kinds.escaped, null, JSON.stringify(value)];
  if (Object.is(value, -0)) return [kinds.named, 0, '-0'];
  return Number.isFinite(value) ? [kinds.number, value, null] : [kinds.named, null, String(value)];
}

/** The inverse. */
export function valueOfRow({ kind, number_value: number, text_value: text }: ValueRow): ChannelValue {
  if (kind === kinds.boolean) return number === 1;
  if (kind === kinds.text) return text ?? '';
  if (kind === kinds.escaped) return JSON.parse(text ?? '""') as string;
  return kind === kinds.named ? Number(text) : (number ?? NaN);
}

export const rowColumns = [
  'device_id',
  'channel_id',
  'time_ms',
  'sequence',
  'kind',
  'number_value',
  'text_value',
] as const;

/** @returns a row of `value_row` */
export function valueRow(
  deviceId: number,
  channelId: number,
  timeMs: number,
  sequence: number,
  value: ChannelValue,
): SqlValue[] {
  return [deviceId, channelId, timeMs, sequence, ...rowOfValue(value)];
}
