/**
 * Imports a module that is not part of the bundle. A bundled program is a script, from which V8 cannot import; it gets
 * `importOutside` from the module that started it (start.ts).
 */
declare const importOutside: ((url: string) => Promise<unknown>) | undefined;

export const importFile = (url: string): Promise<unknown> =>
  typeof importOutside === 'undefined' ? import(url) : importOutside(url);
