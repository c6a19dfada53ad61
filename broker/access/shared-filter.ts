/** Filters of shared subscriptions, `$share/{name}/{filter}` (MQTT 5 §4.8.2), which clients of 3.1.1 may use too. */
import type { RoleTable } from './roles.ts';
import type { Decision } from './tacs.ts';
import { decide } from './tacs.ts';

const prefix = '$share/';
/** In characters; nobody's name is longer. */
const shareNameLengthMax = 64;

/** @returns whether a filter is one, well-formed or not */
export function isShared(filter: string): boolean {
  return filter.startsWith(prefix);
}

/** @returns the filter within, or undefined if the name or the filter is missing or the name has a wildcard */
export function innerFilter(filter: string): string | undefined {
  const slash = filter.indexOf('/', prefix.length);
  const name = filter.slice(prefix.length, slash);
  // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
  if (slash < 0 || name === '' || name.length > shareNameLengthMax || /[+#]/.test(name)) return undefined;
  return filter.slice(slash + 1);
}

/** Who may share a subscription is who may have it alone: the name grants nothing and takes nothing. */
export function decideFilter(identity: string, filter: string, roles: RoleTable): Decision {
  const asked = isShared(filter) ? innerFilter(filter) : filter;
  return asked === undefined
    ? { allowed: false, reason: 'malformed' }
    : decide(identity, 'subscribe', asked, roles);
}
