/** What the vendor's services may do beyond an own subtree (DESIGN §4), and what everyone may read. */
import { administratorName } from '../../domain/namespace.ts';

/** Topic filters that one identity may publish to and subscribe to. */
export interface Role {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** A row of the configuration; what it leaves out is not granted. */
export interface RoleOverride {
  readonly publish?: readonly string[] | undefined;
  readonly subscribe?: readonly string[] | undefined;
}

/** By identity: the common name of the certificate. */
export type RoleTable = ReadonlyMap<string, Role>;

/** Whoever has a certificate of the tree may read these. */
export const everyoneReads: readonly string[] = [
  'vendor/crl/tls',
  'vendor/crl/e2e',
  'vendor/recipients',
  'vendor/firmware/#',
];

/** A vendor broker has no row: it reads and writes nothing by itself unless the configuration says so. */
export const defaultRoles: RoleTable = new Map<string, Role>([
  // [MQTT-4.7.2-1]: `#` does not match what begins with `$`, so the administrator has both.
  [administratorName, { publish: ['#'], subscribe: ['#', '$SYS/#'] }],
  [
    'vendor-snapshot-service',
    {
      publish: ['+/ledger/countersigned', '+/+/ledger/countersigned'],
      subscribe: [
        '+/+/+/snapshots',
        '+/+/+/status',
        '+/+/+/certificates',
        '+/broker/status',
        '+/ledger/head',
        '+/+/ledger/head',
      ],
    },
  ],
  [
    'vendor-command-service',
    { publish: ['+/+/+/commands'], subscribe: ['+/+/+/commands/result', '+/+/+/certificates'] },
  ],
  [
    'vendor-firmware-service',
    { publish: ['+/+/+/firmware', 'vendor/firmware/#'], subscribe: ['+/+/+/firmware/progress'] },
  ],
  ['vendor-crl-service', { publish: ['vendor/crl/tls', 'vendor/crl/e2e'], subscribe: [] }],
  ['vendor-recipient-service', { publish: ['vendor/recipients'], subscribe: [] }],
  ['vendor-policy-service', { publish: ['+/+/+/policy'], subscribe: [] }],
  [
    'vendor-enrolment-service',
    {
      publish: ['+/+/+/enrolment/reply', 'vendor/enrolment/+/reply'],
      subscribe: [
        '+/+/+/enrolment',
        '+/+/+/enrolment/approval',
        'vendor/enrolment/+',
        'vendor/enrolment/+/approval',
      ],
    },
  ],
]);

/** The defaults, with whole rows replaced or added by the configuration. */
export function rolesWith(rows: Readonly<Record<string, RoleOverride>>): RoleTable {
  const table = new Map(defaultRoles);
  for (const [identity, { publish = [], subscribe = [] }] of Object.entries(rows)) {
    table.set(identity, { publish, subscribe });
  }
  return table;
}
