/** Who a message goes to, and by what way. */
import type { NotificationChannel } from '../domain/view.ts';
import type { Message } from './engine.ts';

export interface Recipients {
  /** The channels that have a way out. */
  readonly channels: readonly NotificationChannel[];
  /** Mail addresses. */
  readonly list: readonly string[];
  /** An address for service tasks. */
  readonly webhook: string | undefined;
  readonly technician: { readonly mail: string | undefined; readonly phone: string | undefined };
}

/** @returns addresses or numbers joined by commas, or an empty text if none is configured */
export function recipientsOf(message: Message, { list, technician, webhook }: Recipients): string {
  if (message.channel === 'webhook') return webhook ?? '';
  // There is no list of telephone numbers: a text message is for the technician in charge.
  if (message.channel === 'sms') return technician.phone ?? '';
  return message.recipients === 'technician' ? (technician.mail ?? '') : list.join(',');
}
