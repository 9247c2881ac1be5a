// A few commands of the Redis protocol, one line each: AUTH, PING, SET, GET, ROLE. Keys are kept in /data.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';

const { CACHE_PASSWORD, POD_NAME, CACHE_PORT } = process.env;
const most = Number(/^maxkeys (\d+)$/m.exec(readFileSync('/etc/cache/cache.conf', 'utf8'))[1]);
const file = '/data/keys.json';
const keys = new Map(existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []);
const commands = {
  PING: () => '+PONG',
  ROLE: () => (POD_NAME.endsWith('-0') ? '+primary' : '+replica'),
  SET: (key, value) => {
    if (keys.size >= most && !keys.has(key)) return '-OOM';
    keys.set(key, value);
    writeFileSync(file, JSON.stringify([...keys]));
    return '+OK';
  },
  GET: (key) => `+${keys.get(key) ?? ''}`,
};

createServer((socket) => {
  let known = false;
  let rest = '';
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const [command, ...words] = line.trim().split(' ');
      if (command === 'AUTH') {
        known = words[0] === CACHE_PASSWORD;
        socket.write(known ? '+OK\n' : '-WRONGPASS\n');
      } else if (!known) socket.write('-NOAUTH\n');
      else socket.write(`${commands[command]?.(...words) ?? '-ERR'}\n`);
    }
  });
}).listen(CACHE_PORT, () => console.log(`ready for at most ${most} keys`));
process.on('SIGTERM', () => process.exit(0));
