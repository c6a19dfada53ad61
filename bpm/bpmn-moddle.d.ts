/** The little of `bpmn-moddle` that we call; the package ships no declaration for its entry. */
declare module 'bpmn-moddle' {
  export class BpmnModdle {
    /** Rejects if `xml` is not XML, or its root is not `bpmn:Definitions`. */
    fromXML(xml: string): Promise<{ rootElement: unknown; warnings: readonly { message: string }[] }>;
  }
}
