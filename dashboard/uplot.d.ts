/** The little of uPlot that we call, at the address of its ES module; the package's own types describe its CommonJS one. */
declare module 'uplot/dist/uPlot.esm.js' {
  export interface Axis {
    stroke?: string;
    grid?: { stroke: string; width: number };
    ticks?: { stroke: string; width: number };
    font?: string;
    size?: number;
    /** Along the axis. */
    label?: string;
    labelFont?: string;
    labelSize?: number;
    /** Least distance of two labels, in pixels. */
    space?: number;
    /**
     * A row for each least distance of two ticks in seconds: the label, then what stands below it where a year, month,
     * day, hour, minute or second begins, and 1 for "in addition".
     */
    values?: (string | number | null)[][];
  }
  export interface Series {
    label?: string;
    stroke?: string;
    width?: number;
    points?: { show: boolean; size?: number };
    value?: string | ((plot: unknown, value: number | null) => string);
  }
  export interface PlotOptions {
    width: number;
    height: number;
    /** In pixels: top, right, bottom, left. */
    padding?: [number, number, number, number];
    scales?: Record<
      string,
      { time?: boolean; range?: (plot: unknown, min: number, max: number) => [number, number] }
    >;
    axes?: Axis[];
    series: Series[];
    bands?: { series: [number, number]; fill: string }[];
    cursor?: { drag?: { x: boolean; y: boolean; setScale: boolean }; points?: { size: number } };
    legend?: { live: boolean };
    hooks?: { setSelect?: ((plot: Plot) => void)[] };
  }
  export type PlotData = (readonly (number | null)[])[];
  class Plot {
    constructor(options: PlotOptions, data: PlotData, target: HTMLElement);
    readonly select: { left: number; width: number };
    posToVal(position: number, scale: string): number;
    setData(data: PlotData): void;
    setSize(size: { width: number; height: number }): void;
    setSelect(select: { left: number; top: number; width: number; height: number }, fire?: boolean): void;
    destroy(): void;
  }
  export { Plot as default };
}
