/** The topic access control system (DESIGN §4): who may publish to and subscribe to what. Pure. */
import type { NamespacePath } from '../../domain/namespace.ts';
import { isServiceName, ownersOf, parseNamespacePath } from '../../domain/namespace.ts';
import {
  filterCovers,
  isTopicFilterWithin,
  isTopicWithin,
  mqttBounds,
  parseEnrolmentTopic,
  policyTopic,
} from '../../domain/topic.ts';
import type { RoleTable } from './roles.ts';
import { everyoneReads } from './roles.ts';

export type Action = 'publish' | 'subscribe';

export type DenialReason =
  | 'malformed' // not a topic name, or not a topic filter
  | 'unknown_identity' // neither a namespace path nor a service
  | 'reserved' // nobody publishes to what begins with `$`
  | 'no_right'; // outside the subtree and the role

export type Decision =
  { readonly allowed: true } | { readonly allowed: false; readonly reason: DenialReason };

const allowed: Decision = { allowed: true };

/**
 * @param identity - common name of a verified certificate (a namespace path or a service name), or an enrolment topic
 * @param topicOrFilter - a topic name to publish to, or a topic filter to subscribe to
 * @returns whether every topic that it can match is granted
 */
export function isAllowed(
  identity: string,
  action: Action,
  topicOrFilter: string,
  roles: RoleTable,
): boolean {
  return decide(identity, action, topicOrFilter, roles).allowed;
}

/** Like `isAllowed`, with the reason of a denial. */
export function decide(identity: string, action: Action, topicOrFilter: string, roles: RoleTable): Decision {
  // How long and how deep is no question of rights: the connection asks that first, with its configured bounds.
  const isWithin = action === 'publish' ? isTopicWithin : isTopicFilterWithin;
  if (!isWithin(topicOrFilter, mqttBounds)) return { allowed: false, reason: 'malformed' };
  // MQTT 3.1.1 §4.7.2: such topics are the server's own.
  if (action === 'publish' && topicOrFilter.startsWith('$')) return { allowed: false, reason: 'reserved' };
  const rights = rightsOf(identity, action, roles);
  if (rights === undefined) return { allowed: false, reason: 'unknown_identity' };
  return areCovered(rights, topicOrFilter) ? allowed : { allowed: false, reason: 'no_right' };
}

/**
 * @returns the filters whose union is all that the identity may publish to or read,
 *   or undefined for a name that no certificate of the tree has
 */
export function rightsOf(identity: string, action: Action, roles: RoleTable): readonly string[] | undefined {
  const path = parseNamespacePath(identity);
  if (path === undefined && !isServiceName(identity)) return enrolmentRights(identity, action);
  return [
    ...ownTopics(path),
    ...(action === 'subscribe' ? [...everyoneReads, ...policiesAbove(path)] : []),
    ...(roles.get(identity)?.[action] ?? []),
  ];
}

/**
 * Whether a topic is an identity's own to read, by its path or its role, and not only one that many may read: whoever
 * publishes it waits for that reader.
 */
export function isOwnTopic(identity: string, topic: string, roles: RoleTable): boolean {
  const own = [...ownTopics(parseNamespacePath(identity)), ...(roles.get(identity)?.subscribe ?? [])];
  return own.some((filter) => filterCovers(filter, topic));
}

/** The `/` before `#` keeps `ms-acc-1` out of `ms-acc-10`; `#` includes the parent level (§4.7.1.2). */
function ownTopics(path: NamespacePath | undefined): string[] {
  return path === undefined ? [] : [`${path}/#`];
}

/** A device obeys the policies of its account and its master account too, so it may read these, each alone. */
function policiesAbove(path: NamespacePath | undefined): readonly string[] {
  if (path === undefined) return [];
  return ownersOf(path).map((owner) => policyTopic(owner));
}

/** Who may only be enrolled has the topic where it asks for an identity, and is answered below it; no role adds to that. */
function enrolmentRights(identity: string, action: Action): readonly string[] | undefined {
  if (parseEnrolmentTopic(identity)?.part !== 'request') return undefined;
  return [action === 'publish' ? identity : `${identity}/reply`];
}

/** Whether every topic that `filter` can match is matched by one of `rights`. */
export function areCovered(rights: readonly string[], filter: string): boolean {
  if (rights.some((right) => filterCovers(right, filter))) return true;
  // Only a wildcard can be covered by several rights together and by none alone, as `a/#` by `a` and `a/+/#`.
  if (!/[+#]/.test(filter)) return false;
  const candidates = rights
    // [MQTT-4.7.2-1]: a leading wildcard never matches a topic that begins with `$`.
    .filter((right) => !(filter.startsWith('$') && /^[+#]/.test(right)))
    .map((right) => right.split('/'));
  return cover(candidates, filter.split('/'), 0);
}

/** Walks one level at a time; `rights` are those that match everything walked so far. */
function cover(rights: readonly (readonly string[])[], filter: readonly string[], depth: number): boolean {
  if (rights.length === 0) return false;
  if (rights.some((levels) => levels[depth] === '#')) return true;
  const level = filter[depth];
  const endsHere = rights.some((levels) => levels.length === depth);
  if (level === undefined) return endsHere;
  if (level === '#') {
    // `#` stands for nothing (at the top level it must stand for something) and for any number of levels.
    if (depth > 0 && !endsHere) return false;
    return cover(
      rights.filter((levels) => levels[depth] === '+'),
      [...filter.slice(0, depth), '+', '#'],
      depth + 1,
    );
  }
  // `+` includes a level that no right names, and whatever matches that one matches every other too.
  return cover(
    rights.filter((levels) => levels[depth] === '+' || (level !== '+' && levels[depth] === level)),
    filter,
    depth + 1,
  );
}
