/** Where the picture of the seal is: beside this module, wherever the server has it. */
export const sealUrl = new URL('./seal.svg', import.meta.url).href;
