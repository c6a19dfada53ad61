/** Draws a BPMN file with bpmn-js, and on it the way that an instance took. */
import { colourOf } from './colours.ts';

interface Canvas {
  zoom(): number;
  zoom(level: 'fit-viewport' | number, center: 'auto'): number;
  addMarker(elementId: string, marker: string): void;
}

interface Viewer {
  importXML(xml: string): Promise<unknown>;
  get(service: 'canvas'): Canvas;
  get(service: 'elementRegistry'): { get(elementId: string): unknown };
  destroy(): void;
}

type ViewerClass = new (options: {
  container: HTMLElement;
  bpmnRenderer: { defaultFillColor: string; defaultStrokeColor: string; defaultLabelColor: string };
}) => Viewer;

declare global {
  interface Window {
    /** The one global that bpmn-js's browser build defines. */
    BpmnJS?: ViewerClass;
  }
}

const script = '/vendor/bpmn-js/dist/bpmn-navigated-viewer.production.min.js';
/** So that nothing touches the frame. */
const marginFactor = 0.94;
let loading: Promise<ViewerClass> | undefined;

export interface Diagram {
  destroy(): void;
}

/**
 * @param visited - ids of elements and flows that were passed
 * @param waitingAt - ids of elements where the instance waits now
 */
export async function drawDiagram(
  container: HTMLElement,
  xml: string,
  visited: readonly string[],
  waitingAt: readonly string[],
): Promise<Diagram> {
  const Viewer = await loadViewer();
  const colour = (name: string): string => colourOf(container, name);
  const viewer = new Viewer({
    container,
    bpmnRenderer: {
      defaultFillColor: colour('--surface'),
      defaultStrokeColor: colour('--muted'),
      defaultLabelColor: colour('--text'),
    },
  });
  await viewer.importXML(xml);
  const canvas = viewer.get('canvas');
  const elements = viewer.get('elementRegistry');
  const mark = (ids: readonly string[], marker: string): void => {
    for (const id of ids) if (elements.get(id) !== undefined) canvas.addMarker(id, marker);
  };
  mark(visited, 'visited');
  mark(waitingAt, 'waiting');
  canvas.zoom('fit-viewport', 'auto');
  canvas.zoom(canvas.zoom() * marginFactor, 'auto');
  return { destroy: () => viewer.destroy() };
}

/** bpmn-js is large, and only this page needs it. */
function loadViewer(): Promise<ViewerClass> {
  loading ??= new Promise((resolve, reject) => {
    const element = document.createElement('script');
    element.src = script;
    element.addEventListener('load', () => {
      if (window.BpmnJS === undefined) reject(new Error('bpmn-js did not load.'));
      else resolve(window.BpmnJS);
    });
    element.addEventListener('error', () => {
      loading = undefined;
      reject(new Error('bpmn-js could not be loaded.'));
    });
    document.head.append(element);
  });
  return loading;
}
