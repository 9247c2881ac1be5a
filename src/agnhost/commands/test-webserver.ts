/** `test-webserver`: the files of the container over HTTP. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { integer, parseFlags } from '../flags.ts';
import { plainError, serveHttp } from '../http.ts';

export function run(args: readonly string[]): void {
  const { port } = parseFlags({ port: integer(80) }, args).values;
  serveHttp(port, {
    '/': async ({ path }, response) => {
      try {
        const file = normalize(join('/', decodeURIComponent(path)));
        if (!(await stat(file)).isDirectory()) response.end(await readFile(file));
        else {
          const entries = (await readdir(file, { withFileTypes: true })).map((entry) =>
            entry.isDirectory() ? `${entry.name}/` : entry.name,
          );
          const links = entries.sort().map((name) => `<a href="${encodeURI(name)}">${escapeHtml(name)}</a>\n`);
          response.setHeader('Content-Type', 'text/html; charset=utf-8');
          response.end(`<pre>\n${links.join('')}</pre>\n`);
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EACCES') plainError(response, 403, '403 Forbidden');
        else plainError(response, 404, '404 page not found');
      }
    },
  });
}

const escapeHtml = (text: string): string =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;' })[c]!);
