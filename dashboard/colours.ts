/** The style sheet's colours, for what is painted by others than the style sheet. */

/**
 * A canvas knows no `light-dark()`, so the browser is asked what a colour is here and now.
 *
 * @param name - a custom property, for example `--accent`
 * @returns for example `rgb(15, 95, 125)`
 */
export function colourOf(host: HTMLElement, name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  host.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
