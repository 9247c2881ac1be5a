/**
 * `no-snat-test`: asks other pods which address they see (`/whoami`), and checks that it is this pod's own (`/checknosnat`).
 * `no-snat-test-proxy`: passes `/checknosnat` on to a pod, for a caller that cannot reach it.
 */
import { isIP } from 'node:net';
import { parseFlags, text } from '../flags.ts';
import { fetchText, remoteAddress, serveHttp } from '../http.ts';

const TIMEOUT_MS = 30_000;

export function run(args: readonly string[]): void {
  const { port } = parseFlags({ port: text('8080') }, args).values;
  const podIP = addressOf('POD_IP');
  const nodeIP = addressOf('NODE_IP');
  serveHttp(port, {
    '/whoami': ({ socket }, response) => {
      response.end(remoteAddress(socket));
    },
    '/checknosnat': async ({ form }, response) => {
      const problems: string[] = [];
      for (const ip of (form.get('ips') ?? '').split(',')) {
        const problem = await check(ip, podIP, nodeIP).catch((error: Error) => error.message);
        if (problem !== undefined) problems.push(problem);
      }
      response.writeHead(problems.length > 0 ? 500 : 200).end(problems.join(', '));
    },
  });
}

export function runProxy(args: readonly string[]): void {
  const { port } = parseFlags({ port: text('31235') }, args).values;
  serveHttp(port, {
    '/checknosnat': async ({ form }, response) => {
      const url = `http://${form.get('target')}/checknosnat?ips=${form.get('ips')}`;
      try {
        const { status, text: body } = await fetchText(url, TIMEOUT_MS);
        response.writeHead(status).end(body);
      } catch (error) {
        response.writeHead(500).end(`error querying ${url}: ${(error as Error).message}`);
      }
    },
  });
}

function addressOf(variable: string): string {
  const value = process.env[variable];
  if (value !== undefined && isIP(value) !== 0) return value;
  const problem =
    value === undefined
      ? 'env var was not present in the environment'
      : `env var contained ${JSON.stringify(value)}, which is not an IP address`;
  process.stderr.write(`${variable} ${problem}\n`);
  process.exit(1);
}

async function check(target: string, podIP: string, nodeIP: string): Promise<string | undefined> {
  const { text: seen } = await fetchText(`http://${target}/whoami`, TIMEOUT_MS);
  const ip = seen.split(':')[0]!;
  if (ip === podIP) return undefined;
  if (ip === nodeIP) return `Returned ip "${ip}" != my Pod ip "${podIP}", == my Node ip "${nodeIP}" - SNAT`;
  return (
    `Returned ip "${ip}" != my Pod ip "${podIP}" or my Node ip "${nodeIP}" - SNAT to unexpected ip ` +
    '(possible SNAT through unexpected interface on the way into another node)'
  );
}
