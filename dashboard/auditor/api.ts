/** The HTTP API of the auditor, as its pages call it. */
import type { AlarmItem, Departed, EnvelopeView, HeldList, LedgerState } from '../../domain/audit-view.ts';
import { get, post, query } from '../http.ts';

export const auditor = {
  today: () => get<Departed>('/api/today'),
  held: () => get<HeldList>('/api/held'),
  envelope: (id: number) => get<EnvelopeView>(`/api/held/${id}/envelope`),
  decide: (id: number, outcome: 'released' | 'denied') => post(`/api/held/${id}/decision`, { outcome }),
  ledger: () => get<LedgerState>('/api/ledger'),
  verify: () => post('/api/ledger/verification', {}),
  alarms: () => get<AlarmItem[]>('/api/alarms'),
  /** Where the entries of a device are as a file. */
  entriesUrl: (device: string) => `/api/entries?${query({ device })}`,
};
