/** The HTTP API of the backend, as the pages call it. */
import type { Service, ServiceIntervals } from '../domain/service.ts';
import type {
  BrokerRow,
  ConditionItem,
  DayOfWork,
  DeviceTypeItem,
  Exceeding,
  FleetRow,
  Gap,
  Kin,
  LatestValue,
  Notification,
  Series,
  Task,
  Totals,
  Workflow,
} from '../domain/view.ts';
import { get, post, query, request } from './http.ts';

export interface Alarm {
  readonly path: string;
  readonly kind: string;
  readonly sequence: number;
  readonly openedMs: number;
  /** Null while nobody has closed it. */
  readonly closedMs: number | null;
}

export interface CertificateItem {
  readonly kind: string;
  readonly subject: string;
  readonly notAfterMs: number;
  readonly sha256: string;
}

export interface Device extends FleetRow {
  readonly latest: readonly LatestValue[];
  readonly gaps: readonly Gap[];
  readonly certificates: readonly CertificateItem[];
  readonly alarms: readonly Alarm[];
}

/** What people say of a device. */
export interface Metadata extends ServiceIntervals {
  readonly owner: string;
  readonly labels: readonly string[];
  readonly technician: string;
}

export interface Change {
  readonly changedMs: number;
  /** Empty where a device did it. */
  readonly changedBy: string;
  readonly field: string;
  /** As JSON where people maintain it, as it is where devices say it. */
  readonly oldValue: string;
  readonly newValue: string;
}

export interface DeviceRecord extends Metadata {
  readonly revision: number;
  /** The newest first. */
  readonly changes: readonly Change[];
  readonly services: readonly Service[];
  /** Null also where the scope of who asks does not reach. */
  readonly former: Kin | null;
  readonly later: Kin | null;
}

export interface ChannelItem {
  readonly name: string;
  readonly unit: string | null;
  readonly kind: string;
  readonly createdMs: number;
  /** The oldest first. */
  readonly changes: readonly Change[];
  readonly formerNames: readonly string[];
}

export interface ExceedingQuestion {
  readonly deviceType: string;
  readonly channel: string;
  readonly direction: 'above' | 'below';
  readonly value: number;
  readonly when: 'now' | 'ever' | 'within';
  /** With `within`. */
  readonly fromMs?: number;
  readonly toMs?: number;
}

interface WorkQuestion {
  readonly path: string;
  readonly channel: string;
  readonly kind: 'state' | 'counter';
  readonly fromMs: number;
  readonly days: number;
}

export interface CommandItem {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly issuedMs: number;
  readonly issuedBy: string;
  readonly detail: string;
}

export interface DeadLetter {
  readonly topic: string;
  readonly reason: string;
  readonly detail: string;
  readonly receivedMs: number;
}

export interface WorkflowCounts {
  readonly normal: number;
  readonly abnormal: number;
  readonly overdue: number;
}

export interface GaugeRule {
  readonly label: string;
  readonly channel: string;
  readonly full: number;
  readonly empty: number;
  readonly part?: string;
}

export interface DeviceTypeRules {
  readonly deviceType: string;
  readonly title: string;
  readonly gauges: readonly GaugeRule[];
  readonly figures: readonly { readonly label: string; readonly channel: string }[];
}

/** @returns where everything that a device sent is to be had as a file */
export function exportUrl(path: string, range: { fromMs?: number; toMs?: number } = {}): string {
  return `/api/export?${query({ path, ...range })}`;
}

export const api = {
  totals: () => get<Totals>('/api/totals'),
  brokers: () => get<BrokerRow[]>('/api/brokers'),
  fleet: () => get<FleetRow[]>('/api/fleet'),
  device: (path: string) => get<Device>(`/api/device?${query({ path })}`),
  series: (parameters: { path: string; channel: string; fromMs: number; toMs: number; points: number }) =>
    get<Series>(`/api/series?${query(parameters)}`),
  metadata: (path: string) => get<DeviceRecord>(`/api/metadata?${query({ path })}`),
  changeMetadata: (change: { path: string; revision: number } & Metadata) => post('/api/metadata', change),
  noteService: (service: { path: string; servicedMs: number; hours: number | null; remark: string }) =>
    post('/api/services', service),
  withdrawService: (path: string, id: number) => post('/api/services/withdraw', { path, id }),
  setFormer: (path: string, former: string | null) => post('/api/former', { path, former }),
  deviceTypes: () => get<DeviceTypeItem[]>('/api/device-types'),
  channels: (deviceType: string) => get<ChannelItem[]>(`/api/channels?${query({ deviceType })}`),
  renameChannel: (deviceType: string, from: string, to: string) =>
    post('/api/channels/rename', { deviceType, from, to }),
  exceeding: (question: ExceedingQuestion) => get<Exceeding[]>(`/api/exceeding?${query({ ...question })}`),
  work: (question: WorkQuestion) => get<DayOfWork[]>(`/api/work?${query({ ...question })}`),
  commands: (path: string) => get<CommandItem[]>(`/api/commands?${query({ path })}`),
  sendCommand: (path: string, name: string) => post('/api/commands', { path, name }),
  deadLetters: () => get<DeadLetter[]>('/api/dead-letters'),
  alarms: () => get<Alarm[]>('/api/alarms'),
  tasks: () => get<Task[]>('/api/tasks'),
  completeTask: (id: string, comment: string) =>
    post(`/api/tasks/${encodeURIComponent(id)}/complete`, { comment }),
  notifications: () => get<Notification[]>('/api/notifications'),
  workflows: (select: { path?: string; id?: string } = {}) =>
    get<Workflow[]>(`/api/workflows?${query(select)}`),
  workflowCounts: () => get<WorkflowCounts>('/api/workflows/counts'),
  deviceTypeRules: (type: string) =>
    get<DeviceTypeRules>(`/api/device-types/${encodeURIComponent(type || 'default')}`),
  condition: (path: string) => get<ConditionItem>(`/api/condition?${query({ path })}`),
  definition: async (name: string, digest: string) =>
    (await request(`/api/definitions/${encodeURIComponent(name)}?${query({ digest })}`, {})).text(),
};
