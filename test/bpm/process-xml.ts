/** A BPMN file around the given elements, for tests. */
export function processXml(elements: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:plombe="urn:plombe:bpmn:1" id="D" targetNamespace="urn:test">
  <process id="p" isExecutable="true">${elements}</process>
</definitions>`;
}
