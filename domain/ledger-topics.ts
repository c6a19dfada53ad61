/** Where an auditor shows the vendor the head of its ledger, and where the vendor answers. */
import type { NamespacePath } from './namespace.ts';
import { levelOf, parseNamespacePath } from './namespace.ts';
import type { Topic } from './topic.ts';

const headEnd = '/ledger/head';

/** @param owner - a master account or an account: whose auditor it is */
export function ledgerHeadTopic(owner: NamespacePath): Topic {
  return `${owner}${headEnd}` as Topic;
}

export function ledgerCountersignedTopic(owner: NamespacePath): Topic {
  return `${owner}/ledger/countersigned` as Topic;
}

/** @returns whose ledger a head is of, or undefined for any other topic */
export function parseLedgerHeadTopic(topic: string): NamespacePath | undefined {
  if (!topic.endsWith(headEnd)) return undefined;
  const owner = parseNamespacePath(topic.slice(0, -headEnd.length));
  return owner === undefined || levelOf(owner) === 'device' ? undefined : owner;
}
