/** Numbers, times and names as people read them. */
import type { ChannelValue } from '../domain/snapshot.ts';

const dateTimeFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const dateFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });
const integerFormat = new Intl.NumberFormat();
const decimalFormat = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 6 });
const hoursFormat = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const relativeFormat = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'narrow' });

const units: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ['year', 31_557_600_000],
  ['month', 2_629_800_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
];

export function formatDateTime(ms: number | null): string {
  return ms === null ? '–' : dateTimeFormat.format(ms);
}

export function formatDate(ms: number | null): string {
  return ms === null ? '–' : dateFormat.format(ms);
}

/** @returns for example `5 min ago` */
export function formatAgo(ms: number | null, nowMs: number = Date.now()): string {
  if (ms === null) return 'never';
  const distance = ms - nowMs;
  const [unit, length] =
    units.find(([, candidate]) => Math.abs(distance) >= candidate) ?? (['second', 1000] as const);
  if (unit === 'second' && Math.abs(distance) < 5000) return 'just now';
  return relativeFormat.format(Math.round(distance / length), unit);
}

export function formatCount(count: number): string {
  return integerFormat.format(count);
}

const bytePrefixes = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** @returns for example `1.5 MiB` */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let prefix = 0;
  for (; value >= 1024 && prefix < bytePrefixes.length - 1; prefix++) value /= 1024;
  return `${value.toFixed(prefix === 0 || value >= 100 ? 0 : 1)} ${bytePrefixes[prefix]}`;
}

/** @returns for example `3 h`; of the largest unit that fits */
export function formatDuration(ms: number): string {
  const [unit, length] = units.find(([, candidate]) => ms >= candidate) ?? (['second', 1000] as const);
  return new Intl.NumberFormat(undefined, { style: 'unit', unit, unitDisplay: 'narrow' }).format(
    Math.round(ms / length),
  );
}

/** @returns for example `1,234.5 h` */
export function formatHours(hours: number): string {
  return `${hoursFormat.format(hours)} h`;
}

/** @returns what a field for a date and a time takes, in the viewer's time zone, to the minute */
export function toLocalTime(ms: number): string {
  const offsetMs = new Date(ms).getTimezoneOffset() * 60_000;
  return new Date(ms - offsetMs).toISOString().slice(0, 'YYYY-MM-DDTHH:mm'.length);
}

/** @param text - of such a field */
export function fromLocalTime(text: string): number {
  return new Date(text).getTime(); // without a zone it is the viewer's (ECMA-262 §21.4.1.32)
}

export function formatValue(value: ChannelValue): string {
  if (typeof value === 'number') return decimalFormat.format(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return value;
}

const unitNames: Readonly<Record<string, string>> = {
  Cel: '°C',
  degR: '°R',
  '1/min': 'min⁻¹',
  m2: 'm²',
  m3: 'm³',
  '1': '',
};

/** @returns a SenML unit (RFC 8428 §12.1) as it is usually written */
export function formatUnit(unit: string | null): string {
  if (unit === null) return '';
  return unitNames[unit] ?? unit.replace('m/s2', 'm/s²').replace('/m3', '/m³');
}

/** @returns for example `3.6 bar`, which is not broken between lines */
export function formatQuantity(value: ChannelValue, unit: string | null): string {
  const name = formatUnit(unit);
  return name === '' ? formatValue(value) : `${formatValue(value)}\u{a0}${name}`;
}

const signs: Readonly<Record<string, string>> = { '!=': '≠', '<=': '≤', '>=': '≥' };

/** @param reason - a text with the rule that holds, as it was written, such as `(fault.code 23 != 0)` */
export function formatReason(reason: string): string {
  return reason.replaceAll(/ (!=|<=|>=) /g, (sign) => ` ${signs[sign.trim()] ?? sign.trim()} `);
}

/** @returns `Ps30` of `compressor.Ps30` */
export function channelTail(channel: string): string {
  const dot = channel.indexOf('.');
  return dot > 0 ? channel.slice(dot + 1) : channel;
}
