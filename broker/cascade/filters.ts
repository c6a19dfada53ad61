/** What a cascade carries, checked against the rights of its certificate. */
import type { NamespacePath } from '../../domain/namespace.ts';
import { levelOf, parseNamespacePath } from '../../domain/namespace.ts';
import { arrivedTopic, releasedTopic } from '../../domain/release-topics.ts';
import type { RoleTable } from '../access/roles.ts';
import { everyoneReads } from '../access/roles.ts';
import { areCovered, rightsOf } from '../access/tacs.ts';
import { BrokerError } from '../errors.ts';
import type { CarriedTopics } from './cascade-config.ts';
import type { Mapping } from './topic-map.ts';
import { conflictOf, mismatchOf } from './topic-map.ts';

export interface CascadeFilters {
  readonly up: readonly Mapping[];
  readonly down: readonly Mapping[];
  /** Of what comes down, by its topic here: what is kept as retained if the upstream cannot say that it was. */
  readonly retainDown: readonly string[];
}

interface ConfiguredFilters {
  /** `released`: of what is sealed, only what the owner's auditor has released. */
  readonly forward?: 'all' | 'released' | undefined;
  /** `released`: commands reach a device only through the owner's auditor. */
  readonly deliver?: 'all' | 'released' | undefined;
  readonly up?: readonly CarriedTopics[] | undefined;
  readonly down?: readonly CarriedTopics[] | undefined;
  readonly retainDown?: readonly string[] | undefined;
}

/** What devices seal, and an auditor can release. */
const sealedNames = ['snapshots', 'shared/+/snapshots', 'commands/result'];
const upNames = ['status', 'certificates', 'firmware/progress', 'enrolment', 'enrolment/approval'];
/** What an auditor can let through to a device. */
const gatedNames = ['commands'];
const downNames = ['firmware', 'policy', 'enrolment/reply'];

/**
 * What a cascade carries unless the configuration says otherwise: the device topics of the broker's own subtree, and
 * what everyone may read.
 *
 * @throws BrokerError `broker.cascade_denied` if the certificate may not publish or read some of it upstream,
 *   `broker.cascade_mapping` if it would not be clear under which topic something arrives
 */
export function cascadeFilters(
  identity: string,
  configured: ConfiguredFilters,
  roles: RoleTable,
): CascadeFilters {
  const path = parseNamespacePath(identity);
  const below = path === undefined ? undefined : devicesBelow(path);
  const own = (names: readonly string[]): string[] =>
    below === undefined ? [] : names.map((name) => `${below}/${name}`);
  const sealed = own(sealedNames).map((remote) =>
    path !== undefined && configured.forward === 'released'
      ? { local: releasedTopic(path, remote), remote, isGate: true as const }
      : remote,
  );
  const gated = own(gatedNames).map((remote) =>
    path !== undefined && configured.deliver === 'released'
      ? { local: arrivedTopic(path, remote), remote, isGate: true as const }
      : remote,
  );
  const ledgers = path === undefined ? [] : ownersBelow(path);
  const filters = {
    up: (
      configured.up ?? [...sealed, ...own(upNames), ...ledgers.map((owner) => `${owner}/ledger/head`)]
    ).map(mappingOf),
    down: (
      configured.down ?? [
        ...gated,
        ...own(downNames),
        ...ledgers.map((owner) => `${owner}/ledger/countersigned`),
        ...everyoneReads,
      ]
    ).map(mappingOf),
    retainDown: configured.retainDown ?? [...own(['policy', 'enrolment/reply']), ...everyoneReads],
  };
  requireClear(filters);
  requireRights(identity, 'publish', filters.up, roles);
  requireRights(identity, 'subscribe', filters.down, roles);
  return filters;
}

function mappingOf(carried: CarriedTopics): Mapping {
  return typeof carried === 'string' ? { local: carried, remote: carried } : carried;
}

function requireClear({ up, down }: CascadeFilters): void {
  for (const mapping of [...up, ...down]) {
    const why = mismatchOf(mapping);
    if (why !== undefined) {
      throw mappingError(`cannot carry ${mapping.local} as ${mapping.remote}: ${why}`);
    }
  }
  const conflict = conflictOf(up, down);
  if (conflict !== undefined) throw mappingError(conflict);
}

function mappingError(message: string): BrokerError {
  return new BrokerError('broker.cascade_mapping', message);
}

function requireRights(
  identity: string,
  action: 'publish' | 'subscribe',
  mappings: readonly Mapping[],
  roles: RoleTable,
): void {
  const rights = rightsOf(identity, action, roles) ?? [];
  const denied = mappings.find(({ remote }) => !areCovered(rights, remote));
  if (denied === undefined) return;
  throw new BrokerError(
    'broker.cascade_denied',
    `cannot cascade ${denied.remote}: ${identity} may not ${action} it upstream`,
  );
}

/** @returns for example `ms-acc-1/+/+` */
function devicesBelow(path: NamespacePath): string {
  const missing = { 'master-account': '/+/+', account: '/+', device: '' }[levelOf(path)];
  return `${path}${missing}`;
}

/** @returns who may have an auditor: the path itself, and of a master account its accounts */
function ownersBelow(path: NamespacePath): string[] {
  return { 'master-account': [path, `${path}/+`], account: [path], device: [] }[levelOf(path)];
}
