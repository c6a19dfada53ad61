/** Random trees and histories: who connects, subscribes, publishes, is lost and comes back, under which rights. */
import * as fc from 'fast-check';
import type { RoleOverride } from '../../../broker/access/roles.ts';
import type { Qos } from './access-model.ts';

/** Names that begin alike, so that a rule that compares text is found out. */
const masterAccounts = ['m', 'm-1', 'm-10'];
const accounts = ['a', 'a-1'];
const devices = ['d', 'd-1'];
const services = ['MRO-Admin', 'vendor-snapshot-service', 'vendor-x-service'];

const namespacePath = fc
  .tuple(
    fc.constantFrom(...masterAccounts),
    fc.constantFrom(undefined, ...accounts),
    fc.constantFrom(undefined, ...devices),
  )
  .map(([master, account, device]) =>
    [master, account, account === undefined ? undefined : device]
      .filter((level) => level !== undefined)
      .join('/'),
  );

/** What certificates are called. */
const identity = fc.oneof(
  { weight: 2, arbitrary: namespacePath },
  { weight: 1, arbitrary: fc.constantFrom(...services) },
);

const mostly = fc.nat(4).map((number) => number > 0);
const suffix = fc.constantFrom('', '/snapshots', '/commands', '/x/snapshots', '/status');

/** In the subtree of who does it, or of anybody. */
export const place = fc.record({ own: mostly, path: namespacePath, suffix });
export type Place = typeof place extends fc.Arbitrary<infer Value> ? Value : never;

export function topicOf(place: Place, identity: string): string {
  const isPath = identity.startsWith('m');
  return `${place.own && isPath ? identity : place.path}${place.suffix}`;
}

/** Made of a topic: each level may become `+`, and the end `#`; alone or shared. */
const filterShape = fc.record({
  place,
  isSubtree: fc.boolean(),
  plus: fc.nat(31),
  hashAt: fc.option(fc.nat(4), { freq: 2 }),
  share: fc.option(fc.constantFrom('g', 'h'), { freq: 3 }),
});
export type FilterShape = typeof filterShape extends fc.Arbitrary<infer Value> ? Value : never;

export function filterOf(
  { place: at, isSubtree, plus, hashAt, share }: FilterShape,
  identity: string,
): string {
  const prefix = share === null ? '' : `$share/${share}/`;
  if (isSubtree) return `${prefix}${topicOf({ ...at, suffix: '' }, identity)}/#`;
  const levels = topicOf(at, identity)
    .split('/')
    .map((level, index) => ((plus >> index) & 1 & (plus >> 4) ? '+' : level));
  const cut = hashAt === null ? levels : [...levels.slice(0, hashAt), '#'];
  return `${prefix}${cut.join('/')}`;
}

export const malformedFilters = [
  'm/a#',
  'm/#/x',
  'm+',
  '$share/g',
  '$share//m',
  '$share/+/m',
  '$share/#/m',
  'm/\0',
];

const qos = fc.constantFrom<Qos>(0, 1, 2);
const who = fc.nat(5);

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('subscribe' as const),
      who,
      filters: fc.array(filterShape, { minLength: 1, maxLength: 3 }),
      qos,
    }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      who,
      place,
      qos,
      retain: fc.boolean(),
      alias: fc.option(fc.constantFrom(1, 2)),
      useAlias: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('connect' as const),
      who,
      will: fc.option(fc.record({ place, isDelayed: fc.boolean() })),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('subscribe malformed' as const),
      who,
      filter: fc.constantFrom(...malformedFilters),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('lose' as const), who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('change rights' as const),
      table: fc.nat(2),
      how: fc.constantFrom('reload' as const, 'restart' as const),
    }),
  },
);
export type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

const everything: FilterShape = {
  place: { own: false, path: 'm', suffix: '' },
  isSubtree: false,
  plus: 0,
  hashAt: 0,
  share: null,
};
/** `+/+/+/snapshots` */
const everySnapshot: FilterShape = {
  place: { own: false, path: 'm/a/d', suffix: '/snapshots' },
  isSubtree: false,
  plus: 0b10111,
  hashAt: null,
  share: null,
};

/** Somebody asks for all that he may have, a device publishes while he is away, and then he may have less, or more. */
const absence = fc
  .record({
    who: fc.nat(3),
    shape: filterShape,
    qos: fc.constantFrom<Qos>(1, 2),
    share: fc.option(fc.constant('g'), { freq: 1 }),
    table: fc.nat(2),
    how: fc.constantFrom('reload' as const, 'restart' as const),
  })
  .map(({ who: absent, shape, qos: at, share, table, how }): Step[] => [
    {
      kind: 'subscribe',
      who: absent,
      filters: [everything, everySnapshot, shape].map((one) => ({ ...one, share })),
      qos: at,
    },
    { kind: 'lose', who: absent },
    {
      kind: 'publish',
      who: 2,
      place: { own: true, path: 'm', suffix: '/snapshots' },
      qos: at,
      retain: false,
      alias: null,
      useAlias: false,
    },
    { kind: 'change rights', table, how },
    { kind: 'connect', who: absent, will: null },
  ]);

export const history = fc
  .array(fc.oneof({ weight: 8, arbitrary: step.map((one) => [one]) }, { weight: 1, arbitrary: absence }), {
    minLength: 10,
    maxLength: 40,
    size: 'max',
  })
  .map((parts) => parts.flat());

/** Rows beside the default ones: from one table to the next somebody gains, and somebody loses. */
export const roleTables: readonly Readonly<Record<string, RoleOverride>>[] = [
  { 'vendor-x-service': { subscribe: ['#'], publish: ['#'] } },
  {
    'vendor-x-service': { subscribe: ['m/#', '+/+/+/status'], publish: ['+/+/+/commands', 'm-1/a'] },
    'vendor-snapshot-service': { subscribe: ['m-1/+/+/snapshots'] },
    'm/a': { subscribe: ['m-10/a/#'] },
  },
  { 'MRO-Admin': { subscribe: ['m/#'] }, 'vendor-x-service': {} },
];

const clientId = fc.constantFrom('one', 'two');
const version = fc.constantFrom(4 as const, 5 as const);
const partyOf = (name: fc.Arbitrary<string>) => fc.record({ identity: name, clientId, version });

/** Who takes part: a device and all above it, a service, and others; the client identifiers are few, so that they collide. */
export const cast = fc
  .tuple(
    fc.tuple(fc.constantFrom(...masterAccounts), fc.constantFrom(...accounts), fc.constantFrom(...devices)),
    fc.array(fc.record({ clientId, version }), { minLength: 3, maxLength: 3 }),
    partyOf(fc.constantFrom(...services)),
    fc.array(partyOf(identity), { minLength: 2, maxLength: 2 }),
  )
  .map(([levels, above, service, others]) => [
    ...above.map((one, index) => ({ identity: levels.slice(0, index + 1).join('/'), ...one })),
    service,
    ...others,
  ])
  .filter((all) => new Set(all.map((one) => `${one.identity} ${one.clientId}`)).size === all.length);
export type Cast = typeof cast extends fc.Arbitrary<infer Value> ? Value : never;
