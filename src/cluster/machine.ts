/** Can this machine run a cluster at all? Checked before anything is changed. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { ClusterError } from './errors.ts';

/** Bits of CapEff (linux/capability.h). */
const CAPABILITIES = [
  ['CAP_SYS_ADMIN', 21n],
  ['CAP_NET_ADMIN', 12n],
] as const;

/** @throws ClusterError MACHINE that names what is missing */
export function checkMachine(): void {
  needProgram('ip', 'iproute2');
  if (!existsSync('/proc/self/ns/net')) {
    throw new ClusterError('MACHINE', 'this kernel has no network namespaces', 'CONFIG_NET_NS is needed');
  }
  if (!existsSync('/dev/net/tun')) {
    const container = existsSync('/.dockerenv') || existsSync('/run/.containerenv');
    throw new ClusterError(
      'MACHINE',
      '/dev/net/tun is missing',
      container ? 'run the container with --device /dev/net/tun --privileged' : '`modprobe tun` makes it',
    );
  }
  const capabilities = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  for (const [name, bit] of CAPABILITIES) {
    if ((capabilities & (1n << bit)) !== 0n) continue;
    const advice = 'run it on the machine itself, or the container with --privileged';
    throw new ClusterError('MACHINE', `root here lacks ${name}`, advice);
  }
}

function needProgram(name: string, debianPackage: string): void {
  const found = `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`.split(':').some((directory) => {
    try {
      accessSync(`${directory}/${name}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (!found) throw new ClusterError('MACHINE', `the program \`${name}\` is missing`, `apt install ${debianPackage}`);
}
