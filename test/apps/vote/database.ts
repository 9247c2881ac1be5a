/** Statements for PostgreSQL, run by psql: PGHOST, PGUSER, PGPASSWORD and PGDATABASE name the database. */
import { spawn } from 'node:child_process';

/** Rows as texts. @param variables are quoted by psql where the statement has :'NAME' */
export function query(statement: string, variables: Readonly<Record<string, string>> = {}): Promise<string[][]> {
  const set = Object.entries(variables).flatMap(([name, value]) => ['-v', `${name}=${value}`]);
  const args = ['-X', '-q', '-A', '-t', '-F', '\t', '-v', 'ON_ERROR_STOP=1', ...set, '-f', '-'];
  return new Promise((resolve, reject) => {
    const child = spawn('psql', args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PGCONNECT_TIMEOUT: '3', ...process.env },
    });
    const text = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        text[name] += chunk;
      });
    }
    child.once('error', reject);
    child.once('close', (code) => {
      if (code !== 0) reject(new Error(text.stderr.trim() || `psql: status ${code}`));
      else
        resolve(
          text.stdout
            .split('\n')
            .filter((line) => line !== '')
            .map((line) => line.split('\t')),
        );
    });
    child.stdin.end(statement);
  });
}
