/** The HTTP API of the auditor, as its pages call it. */
import type { DeviceItem, DeviceView, EnvelopeItem, PolicyList } from '../../domain/audit-device-view.ts';
import type {
  AlarmItem,
  Completeness,
  Departed,
  EnvelopeView,
  HeldList,
  LedgerState,
} from '../../domain/audit-view.ts';
import { get, post, query } from '../http.ts';

/** What was received from a time on and before another (RFC 3339); undefined: no bound. */
export interface Part {
  readonly from: string | undefined;
  readonly until: string | undefined;
}

export const auditor = {
  today: () => get<Departed>('/api/today'),
  held: () => get<HeldList>('/api/held'),
  envelope: (id: number) => get<EnvelopeView>(`/api/held/${id}/envelope`),
  decide: (id: number, outcome: 'released' | 'denied') => post(`/api/held/${id}/decision`, { outcome }),
  ledger: () => get<LedgerState>('/api/ledger'),
  verify: () => post('/api/ledger/verification', {}),
  alarms: () => get<AlarmItem[]>('/api/alarms'),
  completeness: () => get<Completeness>('/api/completeness'),
  /** Of one device. */
  completenessOf: (device: string) => get<Completeness>(`/api/completeness?${query({ device })}`),
  policies: () => get<PolicyList>('/api/policies'),
  devices: () => get<DeviceItem[]>('/api/devices'),
  device: (device: string) => get<DeviceView>(`/api/device?${query({ device })}`),
  /** Of a device, those that are kept. */
  newest: (device: string) => get<EnvelopeItem[]>(`/api/envelopes?${query({ device })}`),
  archived: (number: number) => get<EnvelopeView>(`/api/envelopes/${number}`),
  /** Where a table about a device is as a file, such as `entries`. */
  tableUrl: (device: string, table: string, format: 'csv' | 'parquet', part: Part) =>
    `/api/export/${table}.${format}?${query({ device, ...given(part) })}`,
  everythingUrl: (device: string, part: Part) =>
    `/api/export/everything.json?${query({ device, ...given(part) })}`,
  sheetUrl: (device: string, format: 'html' | 'md') => `/api/data-sheet.${format}?${query({ device })}`,
};

function given({ from, until }: Part): Record<string, string> {
  return { ...(from !== undefined && { from }), ...(until !== undefined && { until }) };
}
