/** The ends between which the page can send a packet, from the topology. Pure. */
import type { Topology } from './protocol.ts';

/** One end of the packet's form. */
export interface EndChoice {
  readonly value: string;
  readonly label: string;
  readonly group: 'pods' | 'services' | 'nodes' | 'outside';
  /** For receivers: where the packet goes. */
  readonly ip: string;
  /** Ports that it has, the first as default. */
  readonly ports: readonly number[];
  readonly protocol: string;
}

const end = (choice: Omit<EndChoice, 'ports' | 'protocol'> & Partial<EndChoice>): EndChoice => ({
  ports: [],
  protocol: 'tcp',
  ...choice,
});

export function senders({ pods, nodes }: Topology, outside: string): EndChoice[] {
  return [
    ...pods
      .filter(({ ip }) => ip !== '')
      .map(({ ip, namespace, name }) => end({ value: ip, label: `${namespace}/${name}`, group: 'pods', ip })),
    end({ value: 'outside', label: outside, group: 'outside', ip: '' }),
    ...nodes.map(({ name, ip }) => end({ value: `node/${name}`, label: name, group: 'nodes', ip })),
  ];
}

/** Services by their address; by a NodePort of the first node too, which is what a client outside uses. */
export function receivers({ pods, services, nodes }: Topology): EndChoice[] {
  const [first] = nodes;
  return [
    ...services
      .filter(({ ip }) => ip.includes('.'))
      .map(({ id, ip, namespace, name, ports }) =>
        end({
          value: id,
          label: `${namespace}/${name} (${ip})`,
          group: 'services',
          ip,
          ports: ports.map(({ port }) => port),
          protocol: (ports[0]?.protocol ?? 'TCP').toLowerCase(),
        }),
      ),
    ...services.flatMap(({ id, namespace, name, ports }) =>
      ports
        .filter(({ nodePort }) => nodePort !== 0 && first !== undefined)
        .map(({ nodePort, protocol }) =>
          end({
            value: `${id} ${nodePort}`,
            label: `${namespace}/${name} NodePort (${first!.ip}:${nodePort})`,
            group: 'services',
            ip: first!.ip,
            ports: [nodePort],
            protocol: protocol.toLowerCase(),
          }),
        ),
    ),
    ...pods
      .filter(({ ip }) => ip !== '')
      .map(({ id, ip, namespace, name, ports }) =>
        end({
          value: id,
          label: `${namespace}/${name} (${ip})`,
          group: 'pods',
          ip,
          ports: ports.map((text) => Number.parseInt(text, 10)),
          protocol: ports[0]?.endsWith('/UDP') ? 'udp' : 'tcp',
        }),
      ),
    ...nodes.map(({ name, ip }) => end({ value: `node/${name}`, label: `${name} (${ip})`, group: 'nodes', ip })),
  ];
}
