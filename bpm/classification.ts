/** From the values of a snapshot to the condition of a device, by rules that the vendor edits per device type. */
import type { Comparator, Scalar } from './expression.ts';
import { compare } from './expression.ts';

export type Classification = 'normal' | 'abnormal' | 'overdue';

export interface Comparison {
  readonly channel: string;
  readonly is: Comparator;
  /** A fixed limit, or the value of another channel of the same snapshot. */
  readonly limit: Scalar | { readonly channel: string };
}

/** Holds when every comparison holds. */
export interface Rule {
  readonly all: readonly Comparison[];
  /** What it means, for the people who read it; the values stand behind it. */
  readonly because: string | undefined;
}

/** How the life of a component is read off a channel, for the gauges of the device page. */
export interface Gauge {
  readonly label: string;
  readonly channel: string;
  /** The channel's value at full life, and at none. */
  readonly full: number;
  readonly empty: number;
  /** What to order when little is left. */
  readonly part?: string | undefined;
}

export interface DeviceTypeRules {
  readonly deviceType: string;
  readonly title: string;
  /** How many consecutive snapshots must say the same before the condition changes. */
  readonly hold: Readonly<Record<Classification, number>>;
  readonly abnormal: readonly Rule[];
  readonly overdue: readonly Rule[];
  readonly gauges: readonly Gauge[];
  /** What heads the device page, such as operating hours. */
  readonly figures: readonly { readonly label: string; readonly channel: string }[];
}

export interface Classified {
  readonly classification: Classification;
  /** For people: which rule held with which values. */
  readonly reason: string;
}

/** A snapshot is abnormal before it is overdue before it is normal. A channel that it lacks decides nothing. */
export function classify(rules: DeviceTypeRules, values: ReadonlyMap<string, Scalar>): Classified {
  for (const classification of ['abnormal', 'overdue'] as const) {
    const rule = rules[classification].find((candidate) => holds(candidate, values));
    if (rule !== undefined) return { classification, reason: reasonOf(rule, values) };
  }
  return { classification: 'normal', reason: 'no limit is exceeded' };
}

export interface DeviceCondition {
  readonly condition: Classification | 'unknown';
  /** What the latest snapshots say instead, and how many of them in a row. */
  readonly candidate: Classification | null;
  readonly candidateCount: number;
}

export const unknownCondition: DeviceCondition = { condition: 'unknown', candidate: null, candidateCount: 0 };

/**
 * Follows a device's condition: it changes when `hold` consecutive snapshots say the same other thing.
 * A device of which nothing is known becomes normal with its first normal snapshot.
 *
 * @returns the new state, and whether the condition itself changed
 */
export function observeClassification(
  before: DeviceCondition,
  classification: Classification,
  hold: Readonly<Record<Classification, number>>,
): { readonly after: DeviceCondition; readonly changed: boolean } {
  if (classification === before.condition) {
    return { after: { condition: before.condition, candidate: null, candidateCount: 0 }, changed: false };
  }
  const candidateCount = before.candidate === classification ? before.candidateCount + 1 : 1;
  const needed = before.condition === 'unknown' && classification === 'normal' ? 1 : hold[classification];
  if (candidateCount < needed) {
    return {
      after: { condition: before.condition, candidate: classification, candidateCount },
      changed: false,
    };
  }
  return { after: { condition: classification, candidate: null, candidateCount: 0 }, changed: true };
}

function holds(rule: Rule, values: ReadonlyMap<string, Scalar>): boolean {
  return rule.all.every(({ channel, is, limit }) => {
    const value = values.get(channel);
    const bound = typeof limit === 'object' ? values.get(limit.channel) : limit;
    // Compared with another type nothing but "unlike" would hold, and that says nothing about a machine.
    if (value === undefined || bound === undefined || typeof value !== typeof bound) return false;
    return compare(value, is, bound);
  });
}

const reasonLengthMax = 500;

function reasonOf(rule: Rule, values: ReadonlyMap<string, Scalar>): string {
  const facts = rule.all.map(({ channel, is, limit }) => {
    const bound =
      typeof limit === 'object' ? `${limit.channel} ${textOf(values.get(limit.channel))}` : textOf(limit);
    return `${channel} ${textOf(values.get(channel))} ${is} ${bound}`;
  });
  const text = facts.join(' and ');
  return (rule.because === undefined ? text : `${rule.because} (${text})`).slice(0, reasonLengthMax);
}

function textOf(value: Scalar | undefined): string {
  return typeof value === 'number' ? String(Number(value.toPrecision(6))) : String(value);
}
