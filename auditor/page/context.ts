/** What every route of the page gets. */
import type { FastifyRequest } from 'fastify';
import type { Opener } from '../../cms/open.ts';
import type { Originator } from '../../cms/originator.ts';
import type { Clock } from '../../domain/clock.ts';
import type { PolicyPublishing } from '../../domain/audit-device-view.ts';
import type { NamespacePath } from '../../domain/namespace.ts';
import type { Certificate } from '../../pki/certificate.ts';
import type { KeyPair } from '../../pki/identity.ts';
import type { Policies } from '../../policy/policies.ts';
import type { Log } from '../../runtime/log.ts';
import { ApiError } from '../../web/api-error.ts';
import type { Sessions } from '../../web/session.ts';
import type { Archive } from '../archive.ts';
import type { Departures } from '../departures.ts';
import type { Exports } from '../exports.ts';
import type { Gate } from '../gate.ts';
import type { SignedFor } from '../heads.ts';
import type { PolicyCheck } from '../policy-check.ts';
import type { PolicyHistory } from '../policy-history.ts';
import type { EgressRecord } from '../record.ts';
import type { Person } from './accounts.ts';
import type { LedgerCheck } from './ledger-check.ts';

/** What the page shows of the auditor. */
export interface PageSource {
  readonly scope: NamespacePath;
  /** Of the ledger and what is beside it. */
  readonly directory: string;
  readonly record: EgressRecord;
  /** Undefined for an auditor that only looks on. */
  readonly gate: Gate | undefined;
  readonly opener: Opener;
  readonly check: PolicyCheck;
  readonly policies: Policies;
  readonly policyHistory: PolicyHistory;
  /** Where whoever signs a policy publishes it. */
  readonly publishing: PolicyPublishing;
  /** Undefined: no envelope is kept. */
  readonly archive: Archive | undefined;
  /** Whose keys open envelopes. */
  readonly recipient: KeyPair;
  /** Whose commands are recorded. */
  readonly issuers: readonly Originator[];
  /** Of the E2E PKI. */
  readonly roots: readonly Certificate[];
  /** What the ledger was signed for last, in this run, and by the vendor. */
  readonly heads: () => PageHeads;
  readonly connected: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export interface PageHeads {
  readonly signed: SignedFor | undefined;
  /** Leaves. */
  readonly countersigned: number;
}

export interface PageContext extends PageSource, Sessions<Person> {
  readonly departures: Departures;
  readonly ledgerCheck: LedgerCheck;
  readonly exports: Exports;
}

/** @throws ApiError `api.unauthenticated`, `api.forbidden` */
export function requireReleaser(context: PageContext, request: FastifyRequest): Person {
  const person = context.requireUser(request);
  if (person.role === 'releaser') return person;
  throw new ApiError('api.forbidden', `a ${person.role} may not decide`);
}

/** @throws ApiError `api.unavailable` */
export function requireGate({ gate }: PageContext): Gate {
  if (gate !== undefined) return gate;
  throw new ApiError('api.unavailable', 'this auditor only looks on, so nothing is held');
}
