/** The demo's screen: a table that refreshes in place on a terminal, or a line now and then elsewhere. */
import type { DeviceTally } from './tally.ts';

export interface Picture {
  readonly seconds: number;
  readonly devices: readonly DeviceTally[];
  /** Newest last. */
  readonly notices: readonly string[];
  readonly refused: number;
  readonly restarts: number;
}

const columns = ['device', 'sealed', 'delivered', 'stored', 'held', 'last value', 'state'] as const;
const lastCount = 4;
const noticesShown = 6;
const colours: Readonly<Record<string, string>> = {
  normal: '\x1b[32m',
  abnormal: '\x1b[31m',
  overdue: '\x1b[33m',
  disconnected: '\x1b[35m',
};
const reset = '\x1b[0m';

/** @returns the lines of the table, none wider than `width`, at most `height` of them */
export function drawPicture(picture: Picture, width: number, height: number): string[] {
  const notices = picture.notices.slice(-noticesShown).map((notice) => `  ${notice}`);
  const room = Math.max(1, height - notices.length - 6);
  const rows = picture.devices
    .slice(0, room)
    .map((device) => [
      device.path,
      String(device.sealed),
      String(device.delivered),
      String(device.stored),
      String(device.held),
      device.lastValue,
      device.state,
    ]);
  const widths = columns.map((name, index) =>
    Math.max(name.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) =>
        index >= 1 && index <= lastCount
          ? cell.padStart(widths[index] ?? 0)
          : cell.padEnd(widths[index] ?? 0),
      )
      .join('  ')
      .trimEnd();
  const hidden = picture.devices.length - rows.length;
  return [
    line(columns),
    ...rows.map((row) => coloured(line(row).slice(0, width), row.at(-1) ?? '')),
    ...(hidden > 0 ? [`… and ${hidden} more devices`] : []),
    totalsText(picture).slice(0, width),
    ...(notices.length > 0 ? ['', ...notices.map((notice) => notice.slice(0, width))] : []),
  ];
}

/** @returns one line that says it all */
export function totalsText({ seconds, devices, refused, restarts }: Picture): string {
  const sum = (pick: (device: DeviceTally) => number): number =>
    devices.reduce((total, one) => total + pick(one), 0);
  return `${Math.round(seconds)} s: ${devices.length} devices, ${sum((one) => one.sealed)} sealed, ${sum(
    (one) => one.delivered,
  )} delivered, ${sum((one) => one.stored)} stored, ${sum((one) => one.held)} held, ${refused} refused${restarts > 0 ? `, ${restarts} restarts` : ''}`;
}

function coloured(line: string, state: string): string {
  const colour = colours[state];
  return colour === undefined || !line.endsWith(state)
    ? line
    : `${line.slice(0, -state.length)}${colour}${state}${reset}`;
}

/** Draws over what it drew before. */
export class TerminalTable {
  readonly #out: NodeJS.WriteStream;
  #drawn = 0;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  draw(picture: Picture): void {
    const lines = drawPicture(picture, this.#out.columns, this.#out.rows);
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : '';
    this.#out.write(`${up}\r\x1b[J${lines.join('\n')}\n`);
    this.#drawn = lines.length;
  }
}
